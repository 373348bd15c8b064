"""The ledger of a job: what is done stays done, what is damaged is not trusted."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from forecast.errors import IntegrityError
from forecast.home import Home
from training.retraining.ledger import NAME, Ledger, ledgers


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return Home(tmp_path).jobs_dir / "2024-06-18-0123456789ab"


def test_steps_are_started_and_done(folder: Path) -> None:
    ledger = Ledger.begin(folder, {"basis": "b", "champion": ""})
    ledger.go_on("")
    ledger.start("data")
    ledger.finish("data", {"rows": 3})
    ledger.start("twin")
    found = Ledger.read(folder)
    assert (found.status, found.open, found.runs, found.done) == ("running", True, 1, ["data"])
    assert found.result("data") == {"rows": 3}
    assert found.started("twin")
    assert found.result("twin") is None
    assert not found.started("challenger")
    assert (found.fact("basis"), found.fact("unknown")) == ("b", "")


def test_a_job_that_has_ended_says_why(folder: Path) -> None:
    ledger = Ledger.begin(folder, {})
    ledger.end("kept", "no better")
    found = Ledger.read(folder)
    assert (found.status, found.reason, found.open) == ("kept", "no better", False)
    found.go_on("the boss says so")
    assert Ledger.read(folder).open
    assert Ledger.read(folder).fact("promote_anyway") == "the boss says so"
    found.go_on("")
    assert Ledger.read(folder).fact("promote_anyway") == "the boss says so"


@pytest.mark.parametrize("failed", [True, False])
def test_a_job_that_nobody_goes_on_with_is_over(folder: Path, failed: bool) -> None:
    ledger = Ledger.begin(folder, {})
    if failed:
        ledger.end("failed", "stale demand")
    ledger.close("another one")
    found = Ledger.read(folder)
    assert not found.open
    assert (found.status, found.reason) == (
        ("failed", "stale demand") if failed else ("superseded", "another one")
    )


def test_beginning_anew_leaves_nothing_of_before(folder: Path) -> None:
    Ledger.begin(folder, {}).start("data")
    (folder / "challenger").mkdir()
    assert not Ledger.begin(folder, {}).started("data")
    assert [path.name for path in folder.iterdir()] == [NAME]


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text[: len(text) // 2],
        lambda text: "[]",
        lambda text: "null",
        lambda text: text.replace('"running"', '"dancing"'),
        lambda text: text.replace('"started"', '"begun"'),
        lambda text: text.replace('"steps"', '"step"'),
        lambda text: text.replace('"runs": 0', '"runs": "0"'),
        lambda text: text.replace('"result": {}', '"result": 1'),
        lambda text: text.replace('"format": 1', '"format": 2'),
    ],
)
def test_a_damaged_ledger_is_named(folder: Path, change) -> None:  # type: ignore[no-untyped-def]
    Ledger.begin(folder, {}).start("data")
    path = folder / NAME
    path.write_text(change(path.read_text()))
    with pytest.raises(IntegrityError, match=NAME):
        Ledger.read(folder)


def test_ledgers_of_a_home_come_by_age_and_damaged_ones_apart(tmp_path: Path) -> None:
    home = Home(tmp_path)
    for name in ("b", "a", "damaged"):
        Ledger.begin(home.jobs_dir / name, {})
    content = json.loads((home.jobs_dir / "b" / NAME).read_text())
    (home.jobs_dir / "b" / NAME).write_text(json.dumps({**content, "began": "2020-01-01"}))
    (home.jobs_dir / "damaged" / NAME).write_bytes(b"\xff")
    (home.jobs_dir / "empty").mkdir()
    found, damaged = ledgers(home)
    assert [one.key for one in found] == ["b", "a"]
    assert len(damaged) == 1
    assert "damaged" in damaged[0]
