"""What a question to the live model may hold. Each check raises InputError that names the field."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

import numpy as np
from surgecast.v1 import forecast_pb2

from forecast.demand.panel import STEP
from forecast.errors import InputError
from forecast.planning import MAX_MOVE
from serving.answers.periods import starts, step
from serving.checks import MAX_LABELS, check_key, check_name, check_range
from serving.live.engine import Live
from serving.near import unknown

if TYPE_CHECKING:
    from forecast.planning.newseries import NewSeries
    from forecast.planning.whatif import Change, EventChange, FeatureChange

MAX_SERIES: Final = 100
MAX_CHANGES: Final = 32
MAX_PLANS: Final = 64
MAX_VALUE: Final = 1e9
"""Of a known feature."""
MAX_STRENGTH: Final = 100


def checked_series(request: forecast_pb2.SimulateScenarioRequest, live: Live) -> list[int]:
    """The rows of the series that are asked about; NotFoundError for one that the snapshot does not hold."""
    if not 1 <= len(request.keys) <= MAX_SERIES:
        raise InputError("keys", expected=f"1..{MAX_SERIES} keys", found=str(len(request.keys)))
    snapshot, rows = live.served.snapshot, []
    for n, key in enumerate(request.keys):
        names = check_key(key, f"keys[{n}]")
        if names not in snapshot.index:
            raise unknown(snapshot, live.served.items, names, f"keys[{n}]")
        rows.append(snapshot.index[names])
    return rows


def checked_changes(
    request: forecast_pb2.SimulateScenarioRequest, live: Live, series: Sequence[int]
) -> list[Change]:
    """The changes, as the model takes them."""
    if not 1 <= len(request.changes) <= MAX_CHANGES:
        raise InputError("changes", expected=f"1..{MAX_CHANGES} changes", found=str(len(request.changes)))
    found: list[Change] = []
    for n, change in enumerate(request.changes):
        if change.HasField("feature"):
            found.append(_feature_change(change.feature, live, f"changes[{n}].feature"))
        elif change.HasField("event"):
            found.append(_event_change(change.event, live, series, f"changes[{n}].event"))
        else:
            raise InputError(f"changes[{n}]", expected="a feature or an event", found="neither")
    return found


def checked_new_series(request: forecast_pb2.ForecastNewSeriesRequest, live: Live, horizon: int) -> NewSeries:
    """The series that is planned."""
    from forecast.planning.newseries import NewSeries

    item, location, platform = key = check_key(request.key, "key")
    row = live.served.snapshot.index.get(key)
    if row is not None and not live.served.snapshot.no_history_S[row]:
        expected = "a series without history"
        raise InputError("key", expected=expected, found="one with history; GetForecast has its forecast")
    if len(request.labels) > MAX_LABELS:
        raise InputError("labels", expected=f"at most {MAX_LABELS}", found=str(len(request.labels)))
    statics = live.served.snapshot.statics
    for name, value in request.labels.items():
        if name not in statics:
            expected = f"names among {', '.join(statics) or 'no label at all'}"
            raise InputError("labels", expected=expected, found=ascii(name[:40]))
        check_name(value, f"labels[{name}]")
    plans = _plans(request.features, live, horizon)
    return NewSeries(
        item=item, location=location, platform=platform, labels=dict(request.labels), plans=plans
    )


def _plans(
    plans: Sequence[forecast_pb2.FeaturePlan], live: Live, horizon: int
) -> dict[str, np.ndarray[tuple[int], np.dtype[np.float32]]]:
    """(H,) values of each planned feature over the model's horizon; NaN beyond those that were given."""
    if len(plans) > MAX_PLANS:
        raise InputError("features", expected=f"at most {MAX_PLANS}", found=str(len(plans)))
    found = {}
    for n, plan in enumerate(plans):
        field = f"features[{n}]"
        _check_feature(plan.name, live, f"{field}.name")
        if plan.name in found:
            raise InputError(f"{field}.name", expected="each feature once", found=f"{plan.name!r} again")
        if len(plan.values) not in (1, horizon):
            expected = f"1 value or {horizon}"
            raise InputError(f"{field}.values", expected=expected, found=str(len(plan.values)))
        for value in plan.values:
            _check_value(value, plan.name, live, f"{field}.values")
        values = np.full(live.model.horizon, np.nan, np.float32)
        values[: horizon if len(plan.values) > 1 else None] = plan.values
        found[plan.name] = values
    return found


def _feature_change(change: forecast_pb2.FeatureChange, live: Live, field: str) -> FeatureChange:
    from forecast.planning.whatif import FeatureChange

    _check_feature(change.name, live, f"{field}.name")
    how = change.WhichOneof("change")
    if how is None:
        raise InputError(field, expected="set or multiply", found="neither")
    value = change.set if how == "set" else change.multiply
    _check_value(value, change.name, live, f"{field}.{how}")
    first, stop = check_range(change.range, starts(live.served), step(live.served), f"{field}.range")
    return FeatureChange(name=change.name, first=first, stop=stop, value=value, multiply=how == "multiply")


def _event_change(
    change: forecast_pb2.EventChange, live: Live, series: Sequence[int], field: str
) -> EventChange:
    from forecast.planning.whatif import EventChange, kinds_ahead

    check_name(change.kind, f"{field}.kind")
    ahead = kinds_ahead(live.model, series)
    if change.kind not in ahead:
        expected = f"a kind of event ahead of these series ({', '.join(sorted(ahead)) or 'there is none'})"
        raise InputError(f"{field}.kind", expected=expected, found=ascii(change.kind[:40]))
    if not -MAX_MOVE <= change.move_days <= MAX_MOVE:
        expected = f"-{MAX_MOVE}..{MAX_MOVE} days"
        raise InputError(f"{field}.move_days", expected=expected, found=str(change.move_days))
    strength = change.multiply_intensity if change.HasField("multiply_intensity") else 1.0
    if not 0 <= strength <= MAX_STRENGTH:
        expected = f"a number of 0 to {MAX_STRENGTH}"
        raise InputError(f"{field}.multiply_intensity", expected=expected, found=str(strength))
    if change.move_days == 0 and strength == 1:
        raise InputError(field, expected="move_days or multiply_intensity", found="no change")
    days, period = np.timedelta64(change.move_days, "D"), STEP[live.served.snapshot.manifest.period]
    if days % period:
        expected = "whole weeks: the snapshot is by week"
        raise InputError(f"{field}.move_days", expected=expected, found=f"{change.move_days} days")
    return EventChange(kind=change.kind, move=int(days // period), strength=strength)


def _check_feature(name: str, live: Live, field: str) -> None:
    names = [feature.name for feature in live.model.schema.known]
    if name not in names:
        expected = f"one of {', '.join(names)}" if names else "none: the model was trained without features"
        raise InputError(field, expected=expected, found=ascii(name[:40]))


def _check_value(value: float, name: str, live: Live, field: str) -> None:
    if not math.isfinite(value) or abs(value) > MAX_VALUE:
        raise InputError(field, expected=f"a number of -{MAX_VALUE:g} to {MAX_VALUE:g}", found=str(value))
    if value <= 0 and name in live.model.prices.names:
        raise InputError(field, expected="more than 0, as of a price", found=str(value))
