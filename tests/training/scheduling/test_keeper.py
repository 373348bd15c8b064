"""The program that keeps to the plan: real APScheduler, real store, real processes; the clock is ours."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from forecast.errors import BusyError, IntegrityError
from forecast.home import Home
from forecast.snapshot.pointer import Pointer, write_pointer
from training.alone import alone
from training.retraining.lock import job_lock
from training.scheduling.history import History, RunRecord
from training.scheduling.keeper import Keeper, run

STAND_IN = str(Path(__file__).parents[2] / "support" / "stand_in.py")
PROGRAM = (sys.executable, "-S", "-E", STAND_IN)
SETTINGS = '[events]\ncalendars = ["china"]\n\n[demand]\ntimezone = "Asia/Shanghai"\n\n[schedule]\n'


class World:
    """A home, a clock that stands in a file, and what the stand-in for `surgecast` does."""

    def __init__(self, root: Path) -> None:
        self.home = Home(root)
        self.settings('every = "day"')
        self.set("2026-05-04T00:00")  # 08:00 in Shanghai, a Monday
        self.behave()

    def settings(self, text: str) -> None:
        self.home.settings_file.write_text(SETTINGS + text + "\n")

    def set(self, text: str) -> None:
        (self.home.root / "clock").write_text(text)

    def now(self) -> datetime:
        return datetime.fromisoformat((self.home.root / "clock").read_text()).replace(tzinfo=UTC)

    def behave(self, **actions: dict[str, Any]) -> None:
        (self.home.root / "stand-in.json").write_text(json.dumps(actions))

    def called(self) -> list[str]:
        path = self.home.root / "called"
        return path.read_text().split() if path.exists() else []

    def runs(self) -> list[RunRecord]:
        return History(self.home.jobs_dir / "history.jsonl").runs()


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    made = World(tmp_path)

    class Clock(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> datetime:
            return made.now().astimezone(tz)

    monkeypatch.setattr("apscheduler.schedulers.base.datetime", Clock)
    return made


@pytest.fixture
def keepers(world: World) -> Iterator[Any]:
    """Makes programs on the world's home; all of them end with the test."""
    made: list[Keeper] = []

    def make() -> Keeper:
        made.append(Keeper(world.home, clock=world.now, program=PROGRAM))
        return made[-1]

    yield make
    for keeper in made:
        keeper.close()


def test_a_job_runs_at_its_time_and_is_written_down(world: World, keepers: Any) -> None:
    world.behave(
        retrain={"exit": 0, "say": ["training"], "print": {"status": "promoted", "reason": "better"}}
    )
    keeper = keepers()
    assert keeper.turn() == 30.0
    assert world.called() == []
    world.set("2026-05-04T19:00:01")  # 03:00 in Shanghai
    keeper.turn()
    assert world.called() == ["retrain"]
    (run_,) = world.runs()
    assert (run_.action, run_.why, run_.outcome, run_.exit) == ("retrain", "daily", "promoted", 0)
    assert (run_.reason, run_.lines, run_.result["status"]) == ("better", ("training",), "promoted")
    assert run_.planned == "2026-05-04T19:00:00.000+00:00"
    keeper.turn()
    assert world.called() == ["retrain"]


def test_after_a_time_off_one_run_is_made_up_for(world: World, keepers: Any) -> None:
    keepers().close()
    world.set("2026-05-08T02:00")  # four runs were missed
    keeper = keepers()
    keeper.turn()
    keeper.turn()
    (run_,) = world.runs()
    assert run_.planned == "2026-05-07T19:00:00.000+00:00"
    assert run_.why == "daily, 7.0 hours late"
    assert keeper.next().at == datetime(2026, 5, 8, 19, tzinfo=UTC)


def test_what_was_missed_for_too_long_is_told_and_not_made_up_for(world: World, keepers: Any) -> None:
    world.settings('every = "week"\ncatch_up_hours = 24')
    keepers().close()
    world.set("2026-05-13T00:00")  # the Monday's run is more than a day ago
    keepers().turn()
    (run_,) = world.runs()
    assert (run_.outcome, world.called()) == ("missed", [])
    assert run_.reason == "2.2 days late, more than catch_up_hours in [schedule] allows"


def test_a_run_is_not_done_again_by_the_next_program(world: World, keepers: Any) -> None:
    first = keepers()
    world.set("2026-05-04T19:00:01")
    first.turn()
    first.close()
    keepers().turn()
    assert world.called() == ["retrain"]


def test_a_long_run_is_alone_and_what_it_covers_is_done_once(world: World, keepers: Any) -> None:
    world.settings('every = "never"\nevents = { double-11 = { days_before = 0 } }')
    world.set("2026-11-10T15:59")
    keeper = keepers()
    world.set("2026-11-10T16:00")  # 11.11, midnight in Shanghai
    world.behave(publish={"clock": "2026-11-10T19:30", "print": {"snapshot": "s"}})
    keeper.turn()
    world.behave()
    keeper.turn()
    keeper.turn()
    assert [run_.why for run_ in world.runs()] == [
        "hour 0 of Singles' Day 2026",
        "hour 3 of Singles' Day 2026, 30 minutes late",
    ]
    assert [run_.outcome for run_ in world.runs()] == ["published", "published"]


def test_a_run_that_finds_the_lock_held_is_told_and_skipped(
    world: World, keepers: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    held = "error: job: expected no other at work in /h, found train on step twin, process 7"
    world.behave(retrain={"exit": 1, "say": [held]})
    keeper = keepers()
    world.set("2026-05-04T19:00")
    keeper.turn()
    (run_,) = world.runs()
    assert (run_.outcome, run_.reason) == ("skipped", held.removeprefix("error: "))
    assert "retrain: skipped: job: expected no other at work" in capsys.readouterr().err


def test_the_true_command_finds_the_lock_of_a_job_held(world: World) -> None:
    keeper = Keeper(world.home, clock=world.now)
    world.set("2026-05-04T19:00")
    with job_lock(world.home, what="train"):
        keeper.turn()
    keeper.close()
    (run_,) = world.runs()
    assert (run_.outcome, run_.exit) == ("skipped", 1)
    assert re.search(r"^job: expected no other at work in .*, found train", run_.reason)


def test_a_champion_that_is_kept_forecasts_anew(world: World, keepers: Any) -> None:
    world.behave(
        retrain={"exit": 3, "print": {"status": "kept", "reason": "peaks are worse"}},
        publish={"print": {"snapshot": "2026-05-04-abc"}},
    )
    keeper = keepers()
    world.set("2026-05-04T19:00")
    keeper.turn()
    assert [one.outcome for one in world.runs()] == ["kept"]  # nothing is served yet
    pointer = Pointer(snapshot="s-1", previous=None, moved="2026-05-01T00:00:00+00:00", moves=1)
    write_pointer(world.home, pointer)
    world.set("2026-05-05T19:00")
    keeper.turn()
    assert [(one.outcome, one.reason) for one in world.runs()[1:]] == [
        ("kept", "peaks are worse"),
        ("published", "2026-05-04-abc"),
    ]


def test_failures_are_written_down_and_the_schedule_goes_on(world: World, keepers: Any) -> None:
    world.behave(retrain={"exit": 1, "say": ["note", "error: data gate: sales: all zeros"]})
    keeper = keepers()
    for day in (4, 5):
        world.set(f"2026-05-0{day}T19:00")
        keeper.turn()
    assert [one.reason for one in world.runs()] == ["data gate: sales: all zeros"] * 2
    assert {one.outcome for one in world.runs()} == {"failed"}


def test_changed_settings_and_calendars_count_at_once_and_wrong_ones_do_not(
    world: World, keepers: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    keeper = keepers()
    world.settings('every = "day"\nat = "05:00"')
    keeper.turn()
    assert keeper.next().at == datetime(2026, 5, 4, 21, tzinfo=UTC)
    world.settings('every = "dya"')
    keeper.turn()
    assert "expected 'week', 'day' or 'never', found 'dya'; the schedule goes on" in capsys.readouterr().err
    assert keeper.next().at == datetime(2026, 5, 4, 21, tzinfo=UTC)
    world.settings('every = "never"\nevents = { sale = {} }\n')
    world.home.events_dir.mkdir()
    (world.home.events_dir / "own.csv").write_text("kind,start\nsale,2026-05-06\n")
    keeper.turn()
    assert keeper.next().why == "1 day before sale 2026"
    world.set("2026-05-04T21:00")
    keeper.turn()
    assert world.called() == ["retrain"]  # the one of 03:00 in Shanghai, not the one of 05:00


def test_a_store_or_a_record_that_is_damaged(world: World, keepers: Any) -> None:
    world.home.jobs_dir.mkdir()
    (world.home.jobs_dir / "history.jsonl").write_text('{"id": 1}\n{"half')
    (world.home.jobs_dir / "schedule.db").write_text("no database at all" * 100)
    with pytest.raises(IntegrityError, match=r"schedule\.db: expected the schedule's SQLite database"):
        keepers()
    (world.home.jobs_dir / "schedule.db").unlink()
    keeper = keepers()
    world.set("2026-05-04T19:00")
    keeper.turn()
    assert [one.outcome for one in world.runs()] == ["promoted"]


def test_nothing_is_pickled(world: World, keepers: Any) -> None:
    keepers()
    content = (world.home.jobs_dir / "schedule.db").read_bytes()
    assert b'{"id": "retrain", "next": "2026-05-04T19:00:00+00:00"}' in content
    assert b"\x80\x04\x95" not in content
    assert b"\x80\x05\x95" not in content


def test_the_record_does_not_grow_for_ever(tmp_path: Path) -> None:
    history = History(tmp_path / "history.jsonl")
    for n in range(40):
        one = RunRecord(id=str(n), action="publish", why="", planned="", started="")
        history.add(one)
        history.forget(10)
    assert 10 <= len(history.runs()) <= 15
    assert history.runs()[-1].id == "39"


# The program as a process, on the true clock: a run of yesterday is made up for at once.

CODE = (
    "import sys; from pathlib import Path; from forecast.home import Home\n"
    "from training.scheduling import keeper\n"
    "keeper.run(Home(Path(sys.argv[1])), program=tuple(sys.argv[2:]))"
)


@pytest.fixture
def overdue(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    """A home whose schedule has a run of the day before to make up for."""
    made = World(tmp_path)
    made.behave(retrain={"wait": True})
    yesterday = datetime.now(UTC).timestamp() - 86_400
    Keeper(made.home, clock=lambda: datetime.fromtimestamp(yesterday, UTC), program=PROGRAM).close()
    return made


def started(world: World) -> tuple[subprocess.Popen[str], int]:
    """The program, with its child at work, whose process id is the second."""
    process = subprocess.Popen(
        [sys.executable, "-c", CODE, str(world.home.root), *PROGRAM], stderr=subprocess.PIPE, text=True
    )
    assert process.stderr is not None
    said = next(said for said in process.stderr if said.startswith("retrain: waiting "))
    return process, int(said.split()[-1])


def test_sigterm_ends_the_child_first_and_then_the_program(overdue: World) -> None:
    process, _ = started(overdue)
    with process:
        with pytest.raises(BusyError, match=f"schedule: expected no other on .*found process {process.pid}"):
            run(overdue.home)
        process.send_signal(signal.SIGTERM)
        _, said = process.communicate(timeout=20)
    assert process.returncode == 0
    assert said.splitlines()[-1] == "schedule: stopped"
    (run_,) = overdue.runs()
    assert (run_.outcome, run_.exit, run_.reason) == ("interrupted", 130, "the schedule was stopped")
    assert "late" in run_.why


def test_a_run_that_was_cut_off_by_a_kill_is_done_again(overdue: World) -> None:
    process, child = started(overdue)
    with process:
        process.kill()
        process.communicate(timeout=20)
    os.kill(child, signal.SIGTERM)  # it lives on by itself
    (cut,) = overdue.runs()
    assert cut.outcome == "running"
    overdue.behave(retrain={"print": {"status": "promoted"}})
    with alone(overdue.home.jobs_dir / "schedule.lock", "schedule"):
        keeper = Keeper(overdue.home, program=PROGRAM)
        keeper.turn()
        keeper.close()
    assert [(one.planned, one.outcome) for one in overdue.runs()] == [
        (cut.planned, "cut off"),
        (cut.planned, "promoted"),
    ]
