"""Clearing away: old versions with their bundles, bundles of no version, old snapshots.

Kept are the newest versions, all that have an alias (champion, previous, challenger ...), what serves and
what served before it, and what a job that is not finished needs; with a version its twin and its newest
snapshot. Of snapshots, the newest stay, too. Runs stay in MLflow with all but their copy of the bundle.

Killed in the middle, no half bundle or snapshot stays behind. A version goes after its bundle: where that
cannot be removed nothing is lost.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from forecast.errors import NotFoundError
from forecast.home import Home
from forecast.snapshot.folders import remove, remove_left
from forecast.snapshot.pointer import Pointer, remove_unserved
from forecast.snapshot.rollback import open_rollback
from training.models.inventory import Inventory, bundle_copy, take_inventory
from training.monitoring.table import overall, read_scores
from training.registry import MODEL, Version, bundle_folder, folder_bytes, follow_rollback
from training.retraining.ledger import ledgers
from training.retraining.lock import job_lock
from training.tracking import connect

KEEP: Final = 5


@dataclass(frozen=True, kw_only=True)
class Clearing:
    """What is cleared away, or would be: versions, ids of bundles and of snapshots; bytes: what they and the
    copies of bundles take on disk. kept: version -> why it stays. unscored: of the snapshots, those that
    `surgecast monitor` has not scored over their whole horizon."""

    versions: tuple[str, ...]
    bundles: tuple[str, ...]
    snapshots: tuple[str, ...]
    bytes: int
    kept: dict[str, str]
    unscored: tuple[str, ...]


def prune(home: Home, *, keep: int = KEEP, dry_run: bool = False) -> Clearing:
    """Clear away all but the newest `keep` versions and what is needed; with `dry_run` only say what.

    What is needed must be known: raises NotFoundError where there are bundles and MLflow's database is gone,
    IntegrityError where the pointer to what serves is damaged; BusyError where another job is at work.
    """
    if dry_run or not home.root.is_dir():
        return _plan(home, keep)[0]
    with job_lock(home, what="models prune") as beat:
        if open_rollback(home) is not None:
            follow_rollback(home)
        for parent in (home.bundles_dir, home.snapshots_dir, *home.mlflow_artifacts.glob("*/artifacts/")):
            remove_left(parent)
        clearing, versions = _plan(home, keep)
        beat.step("bundles")
        for name in clearing.bundles:
            remove(bundle_folder(home, name))
        beat.step("versions")
        client = connect(home) if versions else None
        for one in versions:
            assert client is not None
            client.delete_model_version(MODEL, one.version)
            remove(bundle_copy(home, one))
        beat.step("snapshots")
        for name in clearing.snapshots:
            remove_unserved(home, name)
    return clearing


def _plan(home: Home, keep: int) -> tuple[Clearing, list[Version]]:
    inventory = take_inventory(home)
    _check_known(home, inventory)
    needed = _needed_bundles(home, inventory)
    newest = {one.version for one in inventory.versions[max(len(inventory.versions) - keep, 0) :]}
    kept: dict[str, str] = {}
    for one in inventory.versions:
        why = ", ".join(one.aliases) or needed.get(one.bundle_id, "")
        if why or one.version in newest:
            kept[one.version] = why or "new"
    going = [one for one in inventory.versions if one.version not in kept]
    staying = [one for one in inventory.versions if one.version in kept]
    wanted = {name for one in staying for name in (one.bundle_id, one.twin_id)} | set(needed)
    bundles = [name for name in inventory.bundles if name not in wanted]
    snapshots = _old_snapshots(inventory, staying, keep)
    folders = [
        *(bundle_folder(home, name) for name in bundles),
        *(bundle_copy(home, one) for one in going),
        *(home.snapshots_dir / name for name in snapshots),
    ]
    clearing = Clearing(
        versions=tuple(one.version for one in going),
        bundles=tuple(bundles),
        snapshots=tuple(snapshots),
        bytes=sum(folder_bytes(folder) for folder in folders),
        kept=kept,
        unscored=_unscored(home, inventory, snapshots),
    )
    return clearing, going


def _check_known(home: Home, inventory: Inventory) -> None:
    """Raise where nobody can tell what is needed."""
    if inventory.bundles and not home.mlflow_db.is_file():
        expected = f"MLflow's database, which says what the {len(inventory.bundles)} bundles are for"
        raise NotFoundError(str(home.mlflow_db), expected=expected, found="no such file: put it back")
    if home.pointer_file.exists():
        Pointer.read(home)


def _needed_bundles(home: Home, inventory: Inventory) -> dict[str, str]:
    """Bundle -> why it must stay, whatever version it is."""
    needed: dict[str, str] = {}
    pointer = inventory.pointer
    for name, why in ((pointer.previous, "served before"), (pointer.snapshot, "serves")) if pointer else ():
        found = inventory.snapshot(name)
        if found is not None:
            needed[found.bundle_id] = why
    for one in ledgers(home)[0]:
        if one.open:
            made = [(one.result(step) or {}).get("bundle_id", "") for step in ("twin", "challenger")]
            needed |= {str(name): f"job {one.key}" for name in (one.fact("champion"), *made) if name}
    twins = {one.bundle_id: one.twin_id for one in inventory.versions if one.twin_id}
    return {twins[name]: why for name, why in needed.items() if name in twins} | needed


def _unscored(home: Home, inventory: Inventory, snapshots: Iterable[str]) -> tuple[str, ...]:
    scores, _ = read_scores(home)
    scored = dict(overall(scores).select("snapshot", "periods").iter_rows())
    horizons = {one.id: one.horizon for one in inventory.snapshots}
    return tuple(name for name in snapshots if scored.get(name, 0) < horizons[name])


def _old_snapshots(inventory: Inventory, staying: Iterable[Version], keep: int) -> list[str]:
    """Those that nothing needs. One that cannot be read may be of another release: it stays."""
    pointer = inventory.pointer
    wanted = {pointer.snapshot, pointer.previous} if pointer else set()
    wanted |= {one.id for one in inventory.snapshots[max(len(inventory.snapshots) - keep, 0) :]}
    wanted |= {found.id for one in staying if (found := inventory.newest(one.bundle_id)) is not None}
    return [one.id for one in inventory.snapshots if one.id not in wanted]
