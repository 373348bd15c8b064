"""Publishing: a model scores all series, and servers are pointed to the snapshot. No training code.

Series pass through from the store to the snapshot, some at a time, so that memory does not grow with them but
for what is small: keys, labels, sums of groups, summaries.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np

from forecast.demand.events.calendars import load_events
from forecast.demand.panel_build import load_shards
from forecast.home import Home
from forecast.model.sharded import forecaster
from forecast.settings import load_settings
from forecast.snapshot.pointer import move_pointer, remove_unserved
from forecast.snapshot.writer import stream_snapshot
from training.devices import tell_device
from training.features import check_events, check_known, tell_new
from training.registry import bundle_folder, find, follow_rollback, load_bundle, version_of
from training.retraining.lock import job_lock


def publish(
    home: Home,
    *,
    bundle_id: str | None,
    cutoff: np.datetime64 | None,
    device: str,
    devices: int | None = None,
) -> str:
    """Score all series with a bundle (the champion's when None) and put the snapshot in place; its id.

    Raises NotFoundError without a champion, a bundle or demand; InputError for a cutoff outside of it, and
    where known features that the model was trained with do not reach over the horizon or an event is like a
    kind that it does not know; BusyError while another job is at work.
    """
    if bundle_id is None:  # before the lock makes a folder where there is nothing to publish
        find(home)
    elif not bundle_folder(home, bundle_id).is_dir():
        load_bundle(home, bundle_id)
    with job_lock(home, what="publish"):
        if bundle_id is None:
            follow_rollback(home)
            champion = find(home)
            chosen = Chosen(champion.bundle_id, champion.version, cutoff)
        else:
            chosen = Chosen(bundle_id, version_of(home, bundle_id), cutoff)
        with served_or_removed(home):
            snapshot = write_forecasts(home, chosen, device=device, devices=devices)
            move_pointer(home, snapshot)
    return snapshot


@contextmanager
def served_or_removed(home: Home) -> Iterator[None]:
    """Where this fails, remove the snapshots that were made within it: they were never published. The caller
    holds the lock of jobs, so nobody else makes any."""

    def names() -> set[str]:
        return {path.name for path in home.snapshots_dir.glob("[!.]*")}

    before = names()
    try:
        yield
    except BaseException:
        for name in names() - before:
            remove_unserved(home, name)
        raise


class Chosen(NamedTuple):
    """A bundle and the version that it is registered as, empty for none; the cutoff, the last demand when
    None; the version of the demand, the newest when None."""

    bundle_id: str
    version: str
    cutoff: np.datetime64 | None
    data_version: str | None = None


def write_forecasts(home: Home, chosen: Chosen, *, device: str, devices: int | None) -> str:
    """Score all series and write the snapshot, which nothing serves yet; its id. Raises as `publish`."""
    bundle = load_bundle(home, chosen.bundle_id)
    horizon = bundle.config.horizon
    shards = load_shards(home, cutoff=chosen.cutoff, horizon=horizon, version=chosen.data_version)
    outline = shards.outline
    check_events(outline, bundle.schema.events, horizon)
    tell_device(device)
    model = forecaster(bundle, device, devices)
    found = model.survey(shards, horizon, lambda seen: check_known(bundle.schema, seen, horizon))
    tell_new(outline.keys, found.no_history_S)
    first, last = (outline.time(i).astype("M8[D]").item() for i in (0, outline.events.intensity_GLE.shape[1]))
    return stream_snapshot(
        home,
        outline,
        model.parts(found),
        bundle_id=chosen.bundle_id,
        model_version=chosen.version,
        events=load_events(home, load_settings(home), first, last),
    )
