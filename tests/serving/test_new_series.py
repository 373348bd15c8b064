"""A series without any demand is served like the others, and labelled; snapshots of old say nothing of it."""

import json
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest

from forecast.cli.main import run
from forecast.home import Home
from forecast.snapshot import Snapshot, move_pointer
from forecast.snapshot.format import MANIFEST, SERIES, file_entry, manifest_text, read_manifest
from serving.client import Client
from tests.serving.conftest import publish

NEW = ("SKU-001", "Hangzhou", "Tmall")
FLAGS = ["--item", NEW[0], "--location", NEW[1], "--platform", NEW[2]]


@pytest.fixture(scope="module")
def publication(make_publication):
    """The seventh series has no demand at all."""
    made = make_publication()
    demand = made.panel.demand_ST.copy()
    demand[6] = np.nan
    return made._replace(panel=replace(made.panel, demand_ST=demand))


def test_the_client_tells_new_series_from_others(client, publication):
    answer = client.forecast(item=NEW[0], location=NEW[1], platform=NEW[2])
    assert answer.no_history
    assert np.array_equal(answer.mean, publication.forecasts.mean_SH[6])
    assert np.isnan(answer.history).all()
    keys = [tuple(getattr(publication.panel.keys, name)[row] for name in ("item", "location", "platform"))
            for row in range(12)]  # fmt: skip
    assert [one.no_history for one in client.forecasts(keys)] == [row == 6 for row in range(12)]
    assert [series.key for series in client.list_series() if series.no_history] == [NEW]


def test_what_is_new_does_not_lead_the_list_of_surges(client, publication):
    mean_H = publication.forecasts.mean_SH[6]
    (found,) = (series for series in client.list_series() if series.no_history)
    assert found.peak_ratio == pytest.approx(mean_H.max() / np.median(mean_H), rel=1e-5)


def test_query_says_so(server, capsys):
    assert run(["query", *FLAGS, "--address", server.address]) == 0
    assert "history: none; forecast from its item elsewhere" in capsys.readouterr().out
    assert run(["query", *FLAGS, "--address", server.address, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["no_history"] is True
    other = [*FLAGS[:-1], "in-store"]
    assert run(["query", *other, "--address", server.address]) == 0
    assert "history: none" not in capsys.readouterr().out


def test_the_list_says_so_where_there_is_one(server, capsys):
    line = ["series", "list", "--address", server.address]
    assert run([*line, "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)["series"]
    assert [(row["item"], row["location"], row["platform"]) for row in rows if row["no_history"]] == [NEW]
    assert run(line) == 0
    assert "none" in capsys.readouterr().out
    assert run([*line, "--platform", "in-store"]) == 0
    assert "history" not in capsys.readouterr().out


def as_of_old(folder):
    """Make a snapshot what a release wrote that did not know of the label."""
    with pa.memory_map(str(folder / SERIES)) as source:
        table = pa.ipc.open_file(source).read_all().drop_columns(["no_history"])
        with pa.OSFile(str(folder / "new"), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
            writer.write_table(table)
    (folder / "new").replace(folder / SERIES)
    manifest = read_manifest(folder / MANIFEST)
    files = manifest.files | {SERIES: file_entry(folder / SERIES)}
    (folder / MANIFEST).write_text(manifest_text(replace(manifest, files=files)))


def test_a_snapshot_of_old_is_served(tmp_path, publication, spawn):
    home = Home(tmp_path)
    snapshot = publish(home, publication)
    assert Snapshot.open(home.snapshots_dir / snapshot).no_history_S.sum() == 1
    as_of_old(home.snapshots_dir / snapshot)
    move_pointer(home, snapshot)
    assert not Snapshot.open(home.snapshots_dir / snapshot).no_history_S.any()
    with Client(spawn(home).address) as client:
        answer = client.forecast(item=NEW[0], location=NEW[1], platform=NEW[2])
        assert not answer.no_history
        assert np.array_equal(answer.mean, publication.forecasts.mean_SH[6])
