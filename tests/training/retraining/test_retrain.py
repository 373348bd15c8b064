"""`surgecast retrain` from outside: what it makes, when there is nothing to do, and what stops it."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from retraining import CUTOFFS, Backup, finish, has_begun, job, kill_when, ledgers_of, line, make_home, state

from forecast.cli.main import run
from forecast.home import Home
from forecast.model.bundle import Bundle
from forecast.settings import load_settings
from forecast.snapshot.pointer import Pointer, manifest_of
from forecast.snapshot.rollback import read_rollbacks, roll_back
from training.retraining.champion import Champion, champion_of
from training.retraining.decision import decide
from training.retraining.ledger import Ledger
from training.retraining.request import RetrainRequest
from training.warm import GENERATION

# MLflow's own use of SQLAlchemy; nothing that we could change.
pytestmark = pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SADeprecationWarning")
LATER = "2023-04-18"
WEAK = "[retrain]\nsteps = 1\nwarm = false\n"


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    return make_home(tmp_path_factory.mktemp("retrain"))


@pytest.fixture(scope="module")
def said(home: Home) -> Path:
    return home.root.with_name("said.txt")


@pytest.fixture(scope="module")
def backup(home: Home, said: Path) -> Backup:
    """With two champions one after the other."""
    for cutoff in CUTOFFS:
        assert finish(line(home, cutoff), said) == 0, said.read_text()
    return Backup(home)


@pytest.fixture(autouse=True)
def as_it_was(backup: Backup) -> None:
    backup.restore()


def outcome(said: Path) -> dict[str, Any]:
    """What a job said with --json, between what it told people."""
    text = said.read_text()
    found: dict[str, Any] = json.loads(text[text.index("{") : text.rindex("}") + 1])
    return found


def champion(home: Home) -> Champion:
    """Read without mlflow, which would hold on to a database that a test has replaced."""
    found = champion_of(home)
    assert found is not None
    return found


def version(home: Home) -> str:
    return champion(home).version


@contextmanager
def stopped_at(step: str, arguments: list[str], said: Path, home: Home) -> Iterator[Any]:
    """A job that is held up as soon as it has begun a step."""
    with job(arguments, said) as process:
        begun = has_begun(home, step)
        while process.is_alive() and not begun():
            pass
        os.kill(process.pid or 0, signal.SIGSTOP)
        assert process.is_alive(), said.read_text()
        yield process


def test_a_job_leaves_a_champion_that_serves_and_a_story(home: Home, said: Path) -> None:
    found = champion(home)
    assert (found.version, Pointer.read(home).moves) == ("2", 2)
    manifest = manifest_of(home, Pointer.read(home).snapshot)
    assert (manifest.bundle_id, manifest.model_version) == (found.bundle_id, "2")
    assert Bundle.load(home.bundles_dir / found.bundle_id).facts["origin"] == f"{CUTOFFS[1]}T00:00:00"
    last = ledgers_of(home)[-1]
    assert (found.tags["job"], found.tags["cutoff"]) == (last["key"], last["cutoff"])
    assert found.tags["purpose"] == "retrain"
    twin = Bundle.load(home.bundles_dir / found.twin_id)
    assert twin.facts["origin"] == "2023-04-09T00:00:00"  # a horizon and a stride before
    runs = [(f"retrain {cutoff}", "FINISHED") for cutoff in CUTOFFS]
    assert set(runs) < set(state(home)["runs"])  # type: ignore[call-overload]


def test_after_so_many_warm_starts_a_job_trains_from_scratch(home: Home, said: Path, tmp_path: Path) -> None:
    assert Bundle.load(home.bundles_dir / champion(home).bundle_id).facts[GENERATION] == 1
    settings = tmp_path / "once.toml"
    settings.write_text("[retrain]\nwarm_in_a_row = 1\n")
    assert finish(line(home, LATER, "--config", str(settings)), said) == 0, said.read_text()
    assert "from scratch: 1 warm start in a row is the most" in said.read_text()
    made = Bundle.load(home.bundles_dir / champion(home).bundle_id)
    assert (made.facts["origin"], made.facts.get(GENERATION)) == (f"{LATER}T00:00:00", None)


def test_the_second_time_there_is_nothing_to_do_and_nothing_heavy_is_imported(home: Home) -> None:
    before = state(home)
    code = (
        "import sys; from forecast.cli.main import run\n"
        f"status = run({line(home, CUTOFFS[1], '--json')!r})\n"
        "heavy = {'torch', 'mlflow', 'lightning', 'matplotlib'} & set(sys.modules)\n"
        "print(*sorted(heavy), file=sys.stderr); sys.exit(status)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr.strip()) == (0, "")
    found = json.loads(done.stdout)
    assert found["status"] == "nothing"
    assert found["reason"] == f"the champion, version 2, has seen the demand up to {CUTOFFS[1]}"
    assert state(home) == before


def test_other_settings_are_another_job_on_the_same_demand(home: Home, said: Path, tmp_path: Path) -> None:
    settings = tmp_path / "tuned.toml"
    settings.write_text("[training]\nlearning_rate = 0.0007\n")
    tuned = line(home, CUTOFFS[1], "--config", str(settings), "--json")
    assert finish(tuned, said) == 0
    assert (outcome(said)["status"], version(home)) == ("promoted", "3")
    assert finish(tuned, said) == 0
    assert (outcome(said)["status"], version(home)) == ("nothing", "3")


def test_demand_that_has_not_come_for_long_stops_a_job_and_the_champion_goes_on(
    home: Home, said: Path
) -> None:
    before = state(home)
    command = ["retrain", "--home", str(home.root), "--json"]  # up to the last demand, which is old
    for _ in range(2):  # asked again, for who is told may have brought some
        assert finish(command, said) == 1
        failed = outcome(said)
        assert failed["status"] == "failed"
        assert failed["reason"].startswith("data gate: freshness")
        assert said.read_text().splitlines()[-1] == f"error: {failed['reason']}"
        after = state(home)
        assert after["runs"] == sorted([*before["runs"], ("retrain 2023-04-30", "FAILED")])  # type: ignore[misc]
        assert all(after[name] == before[name] for name in ("champion", "pointer", "files", "versions"))


def test_a_challenger_that_is_no_better_stays_back_until_somebody_takes_the_blame(
    home: Home, said: Path, tmp_path: Path
) -> None:
    config = tmp_path / "weak.toml"
    config.write_text(WEAK)
    command = ["retrain", "--home", str(home.root), "--cutoff", LATER, "--config", str(config), "--json"]
    assert finish(command, said) == 3
    kept = outcome(said)
    assert (kept["status"], kept["version"], kept["snapshot"]) == ("kept", "3", "")
    assert kept["reason"].startswith("promotion gate: ")
    assert (version(home), Pointer.read(home).moves) == ("2", 2)
    assert finish(command, said) == 0
    assert outcome(said)["status"] == "nothing"
    assert finish([*command, "--promote-anyway", "--reason", "11.11 is near"], said) == 0
    promoted = outcome(said)
    assert (promoted["status"], promoted["version"]) == ("promoted", "3")
    assert promoted["reason"] == "in spite of the promotion gate: 11.11 is near"
    assert set(promoted["seconds"]) == {"snapshot", "promotion"}  # nothing was trained again
    assert (version(home), manifest_of(home, Pointer.read(home).snapshot).model_version) == ("3", "3")


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_who_comes_second_is_told_who_is_at_work_and_a_signal_ends_a_job_cleanly(
    home: Home,
    said: Path,
    tmp_path: Path,
    number: signal.Signals,
    status: int,
) -> None:
    refused = tmp_path / "refused.txt"
    config = tmp_path / "long.toml"
    config.write_text("[retrain]\nsteps = 100000\n")
    others = (
        line(home, LATER),
        ["publish", "--home", str(home.root), "--cutoff", LATER],
        ["train", "--home", str(home.root), "--horizon", "7", "--steps", "1", "--backtest-origins", "0"],
    )
    with job(line(home, LATER, "--config", str(config)), said) as process:
        while not any(path.stat().st_size for path in home.jobs_dir.glob(f"{LATER}*/twin.jsonl")):
            assert process.is_alive(), said.read_text()
        for other in others:
            assert finish(other, refused) == 1
            errors = refused.read_text()
            assert f"found retrain (step twin), process {process.pid} on" in errors
            assert errors.splitlines()[-1].startswith("error: job: expected no other at work in")
        os.kill(process.pid or 0, number)
        process.join()
        assert process.exitcode == status
    last = ledgers_of(home)[-1]
    assert (last["status"], last["reason"]) == ("failed", "interrupted")
    assert "Traceback" not in said.read_text()
    assert sorted(path.name for path in home.jobs_dir.iterdir() if path.is_file()) == ["lock"]


def test_a_rollback_at_a_server_meanwhile_is_not_lost(home: Home, said: Path) -> None:
    command = line(home, LATER, "--json")
    with stopped_at("record", command, said, home) as process:
        back = roll_back(home, None, who="olga", why="too high", check=lambda _snapshot: None)
        os.kill(process.pid, signal.SIGCONT)
        process.join()
        assert process.exitcode == 3, said.read_text()
    assert outcome(said)["reason"] == f"rolled back to {back.snapshot} by olga meanwhile (too high)"
    assert Pointer.read(home).snapshot == back.snapshot
    assert (version(home), read_rollbacks(home)[-1].reconciled is not None) == ("1", True)
    request = RetrainRequest(settings=load_settings(home), cutoff=np.datetime64(LATER))
    wanted = decide(home, request).do  # from the model that was gone back to
    assert isinstance(wanted, Ledger)
    assert wanted.fact("champion_version") == "1"


def test_a_rollback_after_a_job_was_killed_is_not_lost(home: Home, said: Path) -> None:
    command = line(home, LATER)
    moved = Pointer.read(home).moves + 1
    assert kill_when(command, said, lambda: Pointer.read(home).moves == moved)
    roll_back(home, None, who="olga", why="too low", check=lambda _snapshot: None)
    finish(command, said)
    assert version(home) == manifest_of(home, Pointer.read(home).snapshot).model_version == "2"


def test_mlflow_that_goes_away_ends_the_job_clearly_and_nothing_is_lost(home: Home, said: Path) -> None:
    command = line(home, LATER, "--json")
    away = home.mlflow_db.with_name("away.db")
    with stopped_at("judgement", command, said, home) as process:
        home.mlflow_db.rename(away)
        os.kill(process.pid, signal.SIGCONT)
        process.join()
        assert process.exitcode == 1
    failed = outcome(said)
    assert failed["status"] == "failed"
    assert "MLflow's database, found no such file" in failed["reason"]
    assert said.read_text().splitlines()[-1] == f"error: {failed['reason']}"
    assert Bundle.load(ledger_folder(home) / "challenger").bundle_id == failed["bundle_id"]
    assert finish(command, said) == 1
    assert f"{home.mlflow_db}: expected MLflow's database, for version 2 serves" in said.read_text()
    assert not home.mlflow_db.exists()
    away.rename(home.mlflow_db)
    assert finish(command, said) == 0
    again = outcome(said)
    assert (again["status"], again["bundle_id"]) == ("promoted", failed["bundle_id"])
    assert set(again["seconds"]) == {"record", "snapshot", "promotion"}


def ledger_folder(home: Home) -> Path:
    return home.jobs_dir / str(ledgers_of(home)[-1]["key"])


def test_a_damaged_ledger_and_a_job_given_up_leave_nothing(home: Home, said: Path, tmp_path: Path) -> None:
    command = line(home, LATER)
    assert kill_when(command, said, has_begun(home, "judgement"))
    path = ledger_folder(home) / "job.json"
    path.write_text(path.read_text()[:100])
    config = tmp_path / "other.toml"
    config.write_text("[training]\nseed = 1\n")
    assert kill_when([*command, "--config", str(config)], said, has_begun(home, "judgement"))
    other = ledger_folder(home)
    assert {"twin", "challenger"} < {path.name for path in other.iterdir()}
    assert finish(command, said) == 0
    assert f"{path}: expected the ledger of a job" in said.read_text()
    assert "begins anew" in said.read_text()
    assert f"job {other.name} was not finished and is given up" in said.read_text()
    assert not {"twin", "challenger"} & {path.name for path in other.iterdir()}
    assert sorted(one["status"] for one in ledgers_of(home)) == ["promoted"] * 3 + ["superseded"]
    found = champion(home)
    assert found.version == "3"
    assert all((home.bundles_dir / name).is_dir() for name in (found.bundle_id, found.twin_id))


def test_a_champion_whose_bundle_is_gone_or_newer_is_named(home: Home, said: Path) -> None:
    folder = home.bundles_dir / champion(home).bundle_id
    manifest = json.loads((folder / "bundle.json").read_text())
    (folder / "bundle.json").write_text(json.dumps({**manifest, "format": 99}))
    assert finish(line(home, LATER), said) == 1
    assert "champion, version 2: bundle.json format: expected 2, found 99" in said.read_text()
    shutil.rmtree(folder)
    assert finish(line(home, LATER), said) == 1
    assert "champion, version 2: bundle: expected one of" in said.read_text()


@pytest.mark.parametrize(
    ("options", "config", "status", "message"),
    [
        (
            ["--cutoff", "2031-01-01"],
            "",
            1,
            "cutoff: expected a time from 2023-01-01 to 2023-04-30, the last",
        ),
        (["--cutoff", "1999-01-01"], "", 1, "cutoff: expected a time from 2023-01-01"),
        (["--cutoff", "soon"], "", 2, "cutoff: expected a time such as"),
        (["--promote-anyway"], "", 2, "--promote-anyway: expected --reason beside it"),
        (["--promote-anyway", "--reason", " "], "", 2, "--promote-anyway: expected --reason beside it"),
        (["--reason", "why not"], "", 2, "--reason: expected --promote-anyway beside it"),
        (["--config", "nowhere.toml"], "", 2, "nowhere.toml: expected a file of settings, found none"),
        ([], "[retrain]\nstepps = 3\n", 2, "config.toml, line 2: retrain.stepps: expected a key of"),
        ([], "[retrain]\nstepps = 3\n", 2, "did you mean steps?"),
        ([], "[retraining]\nsteps = 3\n", 2, "did you mean training?"),
        (["--cutoff", LATER], "[retrain]\nstride = 1000\n", 1, "history: expected at least"),
        ([], "[retrain]\nsteps = -1\n", 2, "retrain.steps: expected greater than or equal to 0"),
    ],
)
def test_wrong_wishes_are_refused(
    home: Home,
    options: list[str],
    config: str,
    status: int,
    message: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    before = state(home)["pointer"]
    if config:
        (tmp_path / "config.toml").write_text(config)
        options = [*options, "--config", str(tmp_path / "config.toml")]
    assert run(["retrain", "--home", str(home.root), *options]) == status
    errors = capsys.readouterr().err
    assert message in errors
    assert errors.splitlines()[-1].startswith("error: ")
    assert state(home)["pointer"] == before


def test_a_home_without_demand_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for root in (tmp_path, tmp_path / "none"):
        assert run(["retrain", "--home", str(root)]) == 1
        assert "imported demand" in capsys.readouterr().err
    assert not (tmp_path / "none").exists()
