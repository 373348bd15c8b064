"""Sums, surges, events and exports through the program and the clients, from a real server process."""

import json

import numpy as np
import polars as pl
import pytest

from forecast.cli.main import run
from serving.client import Client, SeriesFilter


@pytest.fixture
def ask_server(server, capsys):
    def asked(*line):
        assert run([*map(str, line), "--address", server.address, "--json"]) == 0
        return json.loads(capsys.readouterr().out)

    return asked


def test_groups_sum_to_the_total(ask_server, publication):
    total = ask_server("aggregate", "--period", "total")["groups"][0]
    groups = ask_server("aggregate", "--by", "location", "--by", "platform", "--period", "total")["groups"]
    assert len(groups) == 4
    assert sum(group["series"] for group in groups) == total["series"] == 12
    assert total["mean"][0] == pytest.approx(publication.forecasts.mean_SH.sum(), rel=1e-5)
    assert sum(group["mean"][0] for group in groups) == pytest.approx(total["mean"][0], rel=1e-5)


def test_days_are_those_named(ask_server):
    answer = ask_server("aggregate", "--from", "2026-11-10", "--to", "2026-11-12")
    assert answer["times"] == [f"2026-11-{day}T00:00:00" for day in (10, 11, 12)]


def test_the_strongest_surge_comes_first(ask_server):
    found = ask_server("surges", "--limit", "3")["surges"]
    assert {surge["platform"] for surge in found} == {"Tmall"}
    assert found[0]["peak_at"] == "2026-11-11T00:00:00"
    assert found[0]["driver_kind"] == "double-11"
    extra = [surge["extra"] for surge in found]
    assert extra == sorted(extra, reverse=True)


def test_where_nothing_surges_nothing_is_drawn(ask_server, tmp_path):
    assert ask_server("surges", "--multiple", "1000000", "--png", tmp_path / "none.png")["surges"] == []
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("suffix", [".parquet", ".arrow", ".csv"])
def test_exports_hold_the_forecasts(ask_server, publication, tmp_path, suffix):
    path = tmp_path / f"all{suffix}"
    assert ask_server("export", path, "--levels", "0.1,0.9")["rows"] == 12 * 14
    frame = {".parquet": pl.read_parquet, ".arrow": pl.read_ipc, ".csv": pl.read_csv}[suffix](path)
    mean_SH = frame["mean"].to_numpy().reshape(12, 14)
    np.testing.assert_allclose(mean_SH, publication.forecasts.mean_SH, rtol=1e-6)
    assert (frame["q0.1"] <= frame["q0.9"]).all()


def test_events_touch_the_platform_that_they_are_of(server):
    with Client(server.address) as client:
        phases = [(event.span.phase, event.n_series) for event in client.events()]
        assert phases == [("warm-up", 6), ("day", 6)]
        assert not list(client.events(where=SeriesFilter(platform="in-store")))
