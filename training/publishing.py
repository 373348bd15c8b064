"""Publishing: a model scores all series, and servers are pointed to the snapshot. No training code.

Series pass through from the store to the snapshot, some at a time, so that memory does not grow with them but
for what is small: keys, labels, sums of groups, summaries.
"""

from __future__ import annotations

import numpy as np

from forecast.demand.events.calendars import load_events
from forecast.demand.panel_build import load_shards
from forecast.home import Home
from forecast.model.sharded import forecaster
from forecast.settings import load_settings
from forecast.snapshot.pointer import move_pointer
from forecast.snapshot.writer import stream_snapshot
from training.devices import tell_device
from training.features import check_events, check_known, tell_new
from training.registry import find, follow_rollback, load_bundle, version_of


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
    kind that it does not know.
    """
    if bundle_id is None:
        follow_rollback(home)
        champion = find(home)
        bundle_id, version = champion.bundle_id, champion.version
    else:
        version = version_of(home, bundle_id)
    bundle = load_bundle(home, bundle_id)
    horizon = bundle.config.horizon
    shards = load_shards(home, cutoff=cutoff, horizon=horizon)
    outline = shards.outline
    check_events(outline, bundle.schema.events, horizon)
    tell_device(device)
    model = forecaster(bundle, device, devices)
    found = model.survey(shards, horizon, lambda seen: check_known(bundle.schema, seen, horizon))
    tell_new(outline.keys, found.no_history_S)
    first, last = (outline.time(i).astype("M8[D]").item() for i in (0, outline.events.intensity_GLE.shape[1]))
    snapshot = stream_snapshot(
        home,
        outline,
        model.parts(found),
        bundle_id=bundle_id,
        model_version=version,
        events=load_events(home, load_settings(home), first, last),
    )
    move_pointer(home, snapshot)
    return snapshot
