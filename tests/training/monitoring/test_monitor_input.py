"""What monitoring cannot score: named, skipped, told."""

from __future__ import annotations

import json
import shutil
import socket
from pathlib import Path

import numpy as np
import pytest
from monitored_home import (
    FIRST,
    HORIZON,
    import_days,
    make_home,
    make_monitored,
    make_table,
    monitor,
    publish_at,
)
from panels import make_panel, random_forecasts

from forecast.home import Home
from forecast.snapshot import write_snapshot

CaptureFixture = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Home, str, str]:
    home, _, first, second = make_monitored(tmp_path_factory.mktemp("monitor"))
    return home, first, second


@pytest.fixture
def home(made: tuple[Home, str, str], tmp_path: Path) -> Home:
    shutil.copytree(made[0].root, tmp_path / "home")
    return Home(tmp_path / "home")


def test_no_demand_and_no_snapshot(tmp_path: Path, capsys: CaptureFixture) -> None:
    home = make_home(tmp_path)
    assert monitor(home) == 1
    assert "demand store: expected imported demand" in capsys.readouterr().err
    import_days(home, make_table(tmp_path), FIRST)
    assert monitor(home) == 1
    assert "snapshot: expected a published one" in capsys.readouterr().err


def test_nothing_came_true_yet_says_from_which_day_on(tmp_path: Path, capsys: CaptureFixture) -> None:
    home, table = make_home(tmp_path), make_table(tmp_path)
    import_days(home, table, FIRST)
    name = publish_at(home, FIRST)
    capsys.readouterr()
    assert monitor(home) == 1
    expected = f"expected some of 2023-11-04 or later, which {name} forecast, found none after 2023-11-03"
    assert capsys.readouterr().err.strip() == f"error: demand: {expected}"


def test_a_snapshot_that_waits_is_told_beside_those_that_are_scored(
    home: Home, capsys: CaptureFixture
) -> None:
    name = publish_at(home, np.datetime64("2023-11-19"))
    assert monitor(home, "--json", "--no-log") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["waiting"] == [{"snapshot": name, "from": "2023-11-20T00:00:00"}]
    assert len(found["snapshots"]) == 2


@pytest.mark.parametrize("file", ["manifest.json", "quantiles.npy", "series.arrow", "events.json"])
def test_a_damaged_snapshot_is_named_and_skipped(
    home: Home, made: tuple[Home, str, str], file: str, capsys: CaptureFixture
) -> None:
    path = home.snapshots_dir / made[1] / file
    path.chmod(0o644)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)
    assert monitor(home, "--json", "--no-log") == 0
    found = json.loads(capsys.readouterr().out)
    assert [one["snapshot"] for one in found["snapshots"]] == [made[2]]
    assert [one["snapshot"] for one in found["skipped"]] == [made[1]]
    assert file in found["skipped"][0]["reason"]
    assert monitor(home, "--no-log") == 0
    assert f"skipped {made[1]}: " in capsys.readouterr().err


def test_nothing_but_damaged_snapshots(
    home: Home, made: tuple[Home, str, str], capsys: CaptureFixture
) -> None:
    for name in made[1:]:
        (home.snapshots_dir / name / "manifest.json").write_text("{}")
    assert monitor(home, "--no-log") == 1
    error = capsys.readouterr().err
    assert "snapshot: expected one that can be scored" in error
    assert all(name in error for name in made[1:])


@pytest.mark.parametrize(
    ("period", "reason"),
    [
        ("hour", "period: expected that of the store, day, found hour"),
        ("week", "period: expected that of the store, day, found week"),
        (
            "day",
            "origin: expected 2023-08-01T00:00:00 or later, the store's demand, found 2022-01-10T00:00:00",
        ),
    ],
)
def test_forecasts_that_do_not_fit_the_store(
    home: Home, period: str, reason: str, capsys: CaptureFixture
) -> None:
    from dataclasses import replace

    panel = make_panel(np.ones((2, 10)), period=period)  # type: ignore[arg-type]
    panel = replace(panel, start=np.datetime64("2022-01-01", "s"))
    forecasts = random_forecasts(panel, HORIZON)
    name = write_snapshot(home, forecasts, panel, bundle_id="b", model_version="1")
    assert monitor(home, "--json", "--no-log") == 0
    assert json.loads(capsys.readouterr().out)["skipped"] == [{"snapshot": name, "reason": reason}]


def test_one_series_without_anything_known_is_no_number(tmp_path: Path, capsys: CaptureFixture) -> None:
    """All that came true is missing: periods are counted, nothing is scored, nothing is divided by zero."""
    home, table = make_home(tmp_path), make_table(tmp_path)
    import_days(home, table, FIRST)
    publish_at(home, FIRST)
    later = table.filter(table["time"] == (FIRST + 3).astype("M8[us]").item()).head(1)
    import_days(home, later.with_columns(stocked_out=1.0), FIRST + 3)
    capsys.readouterr()
    assert monitor(home, "--json", "--no-log") == 0
    (found,) = json.loads(capsys.readouterr().out)["snapshots"]
    assert (found["periods"], found["scored"], found["wql"], found["fva"]) == (3, 0, None, None)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--since", "someday"], "--since: expected a day such as 2024-06-18, found 'someday'"),
        (["--since", "2023-11-05T00:00Z"], "--since: expected a day without a zone"),
        (["--every", "1", "--json"], "--json: expected a single round"),
        (["--metrics-port", "9465", "--check"], "--check: expected a single round"),
        (["--metrics-file", "metrics.txt"], "--metrics-file: expected a name ending in .prom"),
        (["--metrics-file", "nowhere/m.prom"], "--metrics-file: expected a file in a folder"),
    ],
)
def test_wrong_usage(home: Home, arguments: list[str], message: str, capsys: CaptureFixture) -> None:
    assert monitor(home, *arguments) == 2
    assert message in capsys.readouterr().err


def test_a_port_that_is_taken(home: Home, capsys: CaptureFixture) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        assert monitor(home, "--metrics-port", str(taken.getsockname()[1])) == 1
    assert "metrics port: expected to listen on 127.0.0.1" in capsys.readouterr().err
