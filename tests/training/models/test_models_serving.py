"""Deciding which version serves, and clearing away: `models promote`, `rollback`, `prune`."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from forecast.cli.main import run
from forecast.errors import BusyError
from forecast.home import Home
from forecast.snapshot.pointer import Pointer, manifest_of
from forecast.snapshot.reader import Snapshot
from forecast.snapshot.rollback import open_rollback, read_rollbacks, roll_back
from training.models import promoting
from training.registry import aliases_of, bundle_folder, find, promote, version_of, versions
from training.retraining.ledger import Ledger
from training.retraining.lock import job_lock

# MLflow's own use of SQLAlchemy; nothing that we could change.
pytestmark = pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SADeprecationWarning")

Capture = pytest.CaptureFixture[str]
NOW = ("--cutoff", "2023-04-20", "--device", "cpu")


def asked(home: Home, capsys: Capture, *words: str) -> dict[str, Any]:
    capsys.readouterr()
    status = run(["models", *words, "--home", str(home.root), "--json"])
    shown = capsys.readouterr()
    assert status == 0, shown.err
    found: dict[str, Any] = json.loads(shown.out)
    return found


def refused(home: Home, capsys: Capture, *words: str, status: int = 1) -> str:
    before = serving(home)
    capsys.readouterr()
    assert run(["models", *words, "--home", str(home.root)]) == status
    shown = capsys.readouterr()
    assert (shown.out, serving(home)) == ("", before)
    return shown.err.splitlines()[-1]


def serving(home: Home) -> tuple[str, str]:
    """The champion's version, and the version of the snapshot that servers are pointed to."""
    return find(home).version, manifest_of(home, Pointer.read(home).snapshot).model_version


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_promote_publishes_and_moves_alias_and_pointer(home: Home, capsys: Capture) -> None:
    done = asked(home, capsys, "promote", "1", *NOW)
    assert (done["version"], done["before"], done["changed"]) == ("1", "2", True)
    assert serving(home) == ("1", "1")
    assert Snapshot.open(home.snapshots_dir / done["snapshot"]).manifest.bundle_id == done["bundle_id"]
    assert aliases_of(home) == {"champion": "1", "previous": "2", "challenger": "3"}
    assert versions(home)[0].tags["promoted_why"] == ""
    snapshots, pointer = names(home.snapshots_dir), Pointer.read(home)
    again = asked(home, capsys, "promote", "1", *NOW)
    assert (again["changed"], again["snapshot"]) == (False, done["snapshot"])
    assert (names(home.snapshots_dir), Pointer.read(home)) == (snapshots, pointer)
    earlier = asked(home, capsys, "promote", "1", "--cutoff", "2023-04-19", "--device", "cpu")
    assert (earlier["changed"], Pointer.read(home).snapshot) == (True, earlier["snapshot"])
    assert str(manifest_of(home, earlier["snapshot"]).origin).startswith("2023-04-19")


def test_what_the_gate_kept_back_is_promoted_with_a_reason_alone(home: Home, capsys: Capture) -> None:
    line = refused(home, capsys, "promote", "challenger", *NOW, status=2)
    assert line.startswith("error: --reason: expected why version 3 is promoted although it was kept back")
    assert "peaks, peak: expected not surely more than 2 % worse" in line
    assert "printable" in refused(home, capsys, "promote", "3", *NOW, "--reason", " ")
    asked(home, capsys, "promote", "3", *NOW, "--reason", "double-12 is near")
    assert serving(home) == ("3", "3")
    assert aliases_of(home) == {"champion": "3", "previous": "2"}
    assert asked(home, capsys, "show", "3")["why"] == "double-12 is near"


def test_rollback_takes_registry_and_servers_back_together(home: Home, capsys: Capture) -> None:
    assert run(["models", "rollback", "--reason", "too high", "--home", str(home.root)]) == 0
    assert capsys.readouterr().out.startswith(
        "version 1 is the champion instead of version 2; servers serve "
    )
    assert serving(home) == ("1", "1")
    (record,) = read_rollbacks(home)
    assert (record.why, open_rollback(home)) == ("too high", None)
    assert record.reconciled
    shown = asked(home, capsys, "show", "2")
    assert shown["rolled_back"].endswith(": too high")
    line = refused(home, capsys, "rollback")
    assert line.startswith("error: previous: expected a champion before this one, found none")
    asked(home, capsys, "promote", "2", *NOW)
    assert asked(home, capsys, "show", "2")["rolled_back"] == ""
    assert asked(home, capsys, "rollback")["version"] == "1"


def test_a_rollback_never_goes_to_what_was_gone_back_from(home: Home, capsys: Capture) -> None:
    asked(home, capsys, "promote", "3", *NOW, "--reason", "try")
    assert asked(home, capsys, "rollback", "--reason", "worse")["version"] == "2"
    assert asked(home, capsys, "rollback", "--reason", "worse still")["version"] == "1"
    assert serving(home) == ("1", "1")


def test_after_a_rollback_at_the_server_the_registry_only_follows(home: Home, capsys: Capture) -> None:
    former = Pointer.read(home).previous
    roll_back(home, None, who="olga", why="bad", check=lambda _snapshot: None)
    done = asked(home, capsys, "rollback", "--reason", "the same")
    assert (done["version"], done["snapshot"]) == ("1", former)
    assert len(read_rollbacks(home)) == 1
    assert serving(home) == ("1", "1")


def test_a_rollback_to_a_damaged_or_missing_snapshot_changes_nothing(home: Home, capsys: Capture) -> None:
    folder = home.snapshots_dir / (Pointer.read(home).previous or "")
    with (folder / "mean.npy").open("r+b") as file:
        file.seek(-1, 2)
        file.write(b"\x7f")
    assert "SHA-256" in refused(home, capsys, "rollback")
    shutil.rmtree(folder)
    line = refused(home, capsys, "rollback")
    assert "found none; `surgecast models promote 1` makes one" in line
    assert read_rollbacks(home) == []


def test_a_rollback_while_a_version_is_scored_wins(
    home: Home, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = promoting.write_forecasts

    def slowly(*args: Any, **kwargs: Any) -> str:
        made = real(*args, **kwargs)
        roll_back(home, None, who="olga", why="bad", check=lambda _snapshot: None)
        return made

    published = names(home.snapshots_dir)
    monkeypatch.setattr(promoting, "write_forecasts", slowly)
    assert run(["models", "promote", "3", "--reason", "try", "--home", str(home.root), *NOW]) == 1
    assert "somebody moved it" in capsys.readouterr().err
    assert names(home.snapshots_dir) == published, "what was never published is not to be scored later"
    assert serving(home) == ("1", "1")


def test_a_promotion_that_was_killed_goes_on(home: Home, capsys: Capture) -> None:
    promote(home, "1", reason="by hand")  # and then the process is gone: the pointer still names version 2
    assert serving(home) == ("1", "2")
    done = asked(home, capsys, "promote", "1", *NOW, "--reason", "by hand")
    assert (serving(home), done["changed"]) == (("1", "1"), True)
    assert aliases_of(home)["previous"] == "2"


def test_one_at_a_time(home: Home, capsys: Capture) -> None:
    with job_lock(home, what="retrain"):
        for words in (("promote", "1", *NOW), ("rollback",), ("prune",)):
            line = refused(home, capsys, *words)
            assert line.startswith("error: job: expected no other at work in")
            assert "found retrain" in line
        assert asked(home, capsys, "prune", "--dry-run", "--keep", "1")["dry_run"]
    with job_lock(home, what="models promote"), pytest.raises(BusyError), job_lock(home, what="x"):
        pass


def test_prune_keeps_what_serves_or_may_have_to(home: Home, capsys: Capture) -> None:
    found = asked(home, capsys, "prune", "--keep", "1", "--dry-run")
    orphans = asked(home, capsys, "list")["bundles_without_version"]
    assert (found["versions"], found["bundles"], found["snapshots"]) == ([], orphans, [])
    assert found["kept"] == {"1": "previous", "2": "champion", "3": "challenger"}
    assert set(orphans) < names(home.bundles_dir)
    freed = asked(home, capsys, "prune", "--keep", "1")["bytes"]
    assert freed == found["bytes"] > 10_000
    assert not set(orphans) & names(home.bundles_dir)
    assert asked(home, capsys, "prune", "--keep", "1")["bytes"] == 0
    assert serving(home) == ("2", "2")


def test_prune_takes_version_bundle_copy_and_snapshots_together(home: Home, capsys: Capture) -> None:
    asked(home, capsys, "promote", "3", *NOW, "--reason", "try")
    first, second, _ = versions(home)
    left = home.bundles_dir / ".going-killed"  # by a prune that was killed
    left.mkdir()
    gone = asked(home, capsys, "prune", "--keep", "1")
    assert gone["versions"] == ["1"]
    assert gone["unscored"] == gone["snapshots"] != [], "nothing was monitored"
    assert first.bundle_id in gone["bundles"]
    assert [one.version for one in versions(home)] == ["2", "3"]
    assert version_of(home, first.bundle_id) == ""
    files = home.mlflow_artifacts / first.run_id / "artifacts"
    assert not (files / "bundle").exists()
    assert (files / "model-card.md").exists(), "the run stays to be browsed"
    assert (home.mlflow_artifacts / second.run_id / "artifacts" / "bundle").is_dir()
    assert names(home.bundles_dir) == {one.bundle_id for one in versions(home)}
    kept = {manifest_of(home, name).bundle_id for name in names(home.snapshots_dir)}
    assert kept == names(home.bundles_dir)
    assert asked(home, capsys, "rollback")["version"] == "2"


def test_prune_keeps_what_an_unfinished_job_and_its_twin_need(home: Home, capsys: Capture) -> None:
    asked(home, capsys, "promote", "3", *NOW, "--reason", "try")
    first, second, _ = versions(home)
    orphan = asked(home, capsys, "list")["bundles_without_version"][0]
    ledger = Ledger.begin(home.jobs_dir / "k1", {"champion": first.bundle_id})
    ledger.start("challenger")
    ledger.finish("challenger", {"bundle_id": orphan})
    found = asked(home, capsys, "prune", "--keep", "1")
    assert (found["versions"], found["bundles"]) == ([], [])
    assert found["kept"]["1"] == "job k1"
    ledger.end("kept", "done")
    assert asked(home, capsys, "prune", "--keep", "1")["versions"] == ["1"]
    assert bundle_folder(home, second.bundle_id).is_dir()


def test_prune_takes_nothing_where_it_cannot_tell_what_is_needed(home: Home, capsys: Capture) -> None:
    def left() -> tuple[set[str], set[str]]:
        return names(home.bundles_dir), names(home.snapshots_dir)

    before, away = left(), home.root / "away"
    for file, said in (
        (home.mlflow_db, "expected MLflow's database, for version 2 serves, found no such file"),
        (home.pointer_file, "expected a pointer in JSON"),
    ):
        file.rename(away)
        if file == home.pointer_file:
            file.write_text("{broken")
        for more in ([], ["--dry-run"]):
            assert run(["models", "prune", "--keep", "1", "--home", str(home.root), *more]) == 1
            assert said in capsys.readouterr().err
        away.replace(file)
    home.pointer_file.unlink()  # nothing serves, and yet there are bundles
    home.mlflow_db.rename(away)
    assert run(["models", "prune", "--home", str(home.root)]) == 1
    assert "which says what the" in capsys.readouterr().err
    assert left() == before


def test_prune_leaves_snapshots_that_it_cannot_read(home: Home, capsys: Capture) -> None:
    strange = home.snapshots_dir / "2030-01-01-of-another-release"
    strange.mkdir()
    (strange / "manifest.json").write_text('{"format": 9}')
    asked(home, capsys, "prune", "--keep", "1")
    assert strange.is_dir()
