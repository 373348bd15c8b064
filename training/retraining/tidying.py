"""What killed jobs left behind: half-written files, and jobs that nobody will go on with."""

from __future__ import annotations

import shutil
from pathlib import Path

from forecast.cli.output import say
from forecast.home import Home
from forecast.snapshot.folders import locked
from forecast.snapshot.pointer import move_pointer
from forecast.snapshot.rollback import read_rollbacks
from training.retraining.ledger import NAME, Ledger, ledgers


def tidy(home: Home) -> None:
    """Remove half-written files and folders; the caller holds the lock, so nobody is writing them."""
    for folder in (home.jobs_dir, *home.jobs_dir.glob("*/"), home.bundles_dir):
        for left in folder.glob(".*"):
            _remove(left)
    with locked(home.root):  # who writes these, holds this
        for file in (home.pointer_file, home.rollbacks_file):
            for left in home.root.glob(f".{file.name}-*"):
                _remove(left)


def forget(home: Home, keep: int) -> None:
    """Remove the records of all finished jobs but the last ones."""
    found, _ = ledgers(home)
    finished = [one for one in found if not one.open]
    for one in finished[: max(len(finished) - keep, 0)]:
        shutil.rmtree(one.folder, ignore_errors=True)
    for folder in home.jobs_dir.glob("*/"):
        if not (folder / NAME).exists():  # killed before its first word
            shutil.rmtree(folder, ignore_errors=True)


def complete(home: Home, ledger: Ledger) -> None:
    """End a job that was killed after its challenger became champion: servers get to its snapshot."""
    snapshot = str((ledger.result("snapshot") or {}).get("snapshot", ""))
    if snapshot and not any(one.former == snapshot for one in read_rollbacks(home)):
        move_pointer(home, snapshot)
    ledger.end("promoted", "finished by a later job")
    say(f"job {ledger.key} was killed on its last step, which is done now")


def abandon(home: Home, ledger: Ledger) -> None:
    """End a job that another one has taken the place of, and take away what it made but did not register."""
    say(f"job {ledger.key} was not finished and is given up: another one takes its place")
    keep = _keep_registered(home, ledger.key) if ledger.started("record") else set()
    for name in ("twin", "challenger"):
        shutil.rmtree(ledger.folder / name, ignore_errors=True)
        bundle_id = str((ledger.result(name) or {}).get("bundle_id", ""))
        if ledger.started("record") and bundle_id and bundle_id not in keep:
            shutil.rmtree(home.bundles_dir / bundle_id, ignore_errors=True)
    ledger.close("another job took its place")


def _keep_registered(home: Home, key: str) -> set[str]:
    """Bundles of all versions; the job's runs end, those without a version are taken away."""
    from training.registry import MODEL
    from training.retraining.recording import remove_runs, runs_of
    from training.tracking import connect

    client = connect(home)
    versions = client.search_model_versions(f"name = '{MODEL}'", max_results=10_000)
    runs = runs_of(home, key)
    with_version = {str(version.run_id) for version in versions}
    remove_runs(home, [run for run in runs if run.info.run_id not in with_version])
    for run in runs:
        if run.info.run_id in with_version and run.info.status == "RUNNING":
            client.set_terminated(run.info.run_id, "KILLED")
    return {version.tags.get(name, "") for version in versions for name in ("bundle_id", "twin_id")}


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
