"""Deciding by hand which version serves: to any version, or back to the one before."""

from __future__ import annotations

import getpass
from dataclasses import dataclass
from typing import Final

import numpy as np

from forecast.errors import BusyError, NotFoundError, UsageError
from forecast.home import Home
from forecast.snapshot.pointer import move_pointer, readable_pointer
from forecast.snapshot.reader import Snapshot
from forecast.snapshot.rollback import check_reason, open_rollback, roll_back
from training.models.choosing import choose, fetch_bundle
from training.models.inventory import take_inventory
from training.models.story import kept_back
from training.publishing import Chosen, served_or_removed, write_forecasts
from training.registry import CHAMPION, PREVIOUS, Version, aliases_of, find, follow_rollback, promote
from training.retraining.champion import expect_no_versions
from training.retraining.lock import job_lock

NO_REASON: Final = "no reason given"


@dataclass(frozen=True, kw_only=True)
class Change:
    """What serves now. before: the version that was champion, empty for none. changed: whether it is another
    version or another snapshot."""

    version: str
    bundle_id: str
    snapshot: str
    before: str
    changed: bool


def promote_version(
    home: Home,
    wanted: str,
    *,
    reason: str | None,
    cutoff: np.datetime64 | None,
    device: str,
    devices: int | None,
) -> Change:
    """Score all series with a version, make it champion and let servers serve that snapshot.

    Where it is champion and serves already, from that cutoff if one is given, nothing happens. Killed
    anywhere, the same call goes on; servers go on with what they have until the end.
    Raises NotFoundError where there is no such version or its bundle is nowhere, IntegrityError where that is
    of a newer format, UsageError without a reason where the promotion gate had kept it back or its training
    was given up, BusyError where another job is at work or somebody rolled back meanwhile, and as `publish`.
    """
    if reason is not None:
        check_reason(reason)
    _may_serve(home, choose(home, wanted), reason)
    with job_lock(home, what="models promote") as beat:
        follow_rollback(home)
        version = choose(home, wanted)
        before = aliases_of(home).get(CHAMPION, "")
        serving = take_inventory(home).serving
        serves = serving is not None and serving.bundle_id == version.bundle_id
        as_asked = serving is not None and (cutoff is None or serving.origin == cutoff)
        if before == version.version and serving is not None and serves and as_asked:
            return _change(version, serving.id, before, changed=False)
        fetch_bundle(home, version)
        beat.step("snapshot")
        pointer = readable_pointer(home)
        chosen = Chosen(version.bundle_id, version.version, cutoff)
        with served_or_removed(home):
            snapshot = write_forecasts(home, chosen, device=device, devices=devices)
            beat.step("promotion")
            promote(home, version.version, reason=reason)
            try:
                move_pointer(home, snapshot, moves=pointer.moves if pointer else 0)
            except BusyError:  # jobs are kept out: somebody rolled back at a server
                follow_rollback(home)
                raise
    return _change(version, snapshot, before, changed=True)


def roll_back_version(home: Home, *, reason: str | None) -> Change:
    """Let servers serve the newest snapshot of the champion before this one, which becomes champion again.

    It is a rollback like any other: `surgecast rollback` knows of it. Where somebody had rolled back at a
    server and the registry did not know yet, it follows, and that is all.
    Raises NotFoundError where there is no such champion or no snapshot of it, IntegrityError where that is
    damaged, BusyError where another job is at work.
    """
    why = NO_REASON if reason is None else reason
    check_reason(why)
    if not home.mlflow_db.is_file():
        expect_no_versions(home)
        find(home)
    with job_lock(home, what="models rollback"):
        before = aliases_of(home).get(CHAMPION, "")
        if open_rollback(home) is None:
            roll_back(home, _former(home), who=_who(), why=why, check=lambda name: _check(home, name))
        follow_rollback(home)
        version = choose(home, CHAMPION)
        pointer = readable_pointer(home)
    return _change(version, pointer.snapshot if pointer else "", before, changed=version.version != before)


def _may_serve(home: Home, version: Version, reason: str | None) -> None:
    why = kept_back(home, version)
    if why and reason is None and CHAMPION not in version.aliases:
        wanted = f"why version {version.version} is promoted although it was kept back"
        raise UsageError(f"--reason: expected {wanted}, found none ({why})")


def _former(home: Home) -> str:
    """The snapshot to go back to."""
    if PREVIOUS not in aliases_of(home):
        ways = "none; `surgecast models promote VERSION` takes any"
        raise NotFoundError(PREVIOUS, expected="a champion before this one", found=ways)
    version = choose(home, PREVIOUS)
    snapshot = take_inventory(home).newest(version.bundle_id)
    if snapshot is None:
        ways = f"none; `surgecast models promote {version.version}` makes one and lets it serve"
        raise NotFoundError("snapshot", expected=f"one of version {version.version}", found=ways)
    return snapshot.id


def _check(home: Home, snapshot: str) -> None:
    """Raise IntegrityError where a snapshot's bytes are not what was written."""
    Snapshot.open(home.snapshots_dir / snapshot)


def _change(version: Version, snapshot: str, before: str, *, changed: bool) -> Change:
    return Change(
        version=version.version,
        bundle_id=version.bundle_id,
        snapshot=snapshot,
        before=before,
        changed=changed,
    )


def _who() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a user without a name, as in some containers
        return "unknown"
