"""What if something known ahead were different: other plans for features, other days or strengths of events.

The changed rows are what publishing would read were the plan and the calendar changed for these series alone:
a price moves its usual level as far as the horizon counts in it, a moved event takes with it the memory of
the one before. Only where an event no longer is, its memory is left out, since nothing else would tell the
model that the surge of a year before had a reason which is gone.

Letters: R rows, P periods with known features, H horizon, L periods of the event grid, E event channels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from forecast.demand.panel import EventGrid, Floats
from forecast.planning.live import Calendar, LiveModel
from forecast.planning.prices import LIMIT
from forecast.planning.rows import AskedRows, join

MOST = 1e12
"""Of a feature's value after all changes."""
LEAST_LIFT = 0.01
"""Of an event that is made many times as strong and lowers demand."""


@dataclass(frozen=True, kw_only=True)
class FeatureChange:
    """A known feature in the steps `first` to `stop` (exclusive) of the horizon: `value` in place of it, or
    with `multiply` times it; what is unknown stays so when multiplied."""

    name: str
    first: int
    stop: int
    value: float
    multiply: bool = False


@dataclass(frozen=True, kw_only=True)
class EventChange:
    """All that lies ahead of a kind of event, `move` periods later (earlier where negative) and `strength`
    times as strong; 0 takes it away. What would fall before the horizon is left out; a phase that is on at
    the origin goes on until its moved end."""

    kind: str
    move: int = 0
    strength: float = 1.0


Change = FeatureChange | EventChange


def kinds_ahead(live: LiveModel, series_R: Sequence[int]) -> set[str]:
    """The kinds of events that lie ahead of some of the series, within the calendar that is known."""
    events = live.outline.events
    groups = np.unique(events.group_S[list(series_R)])
    ahead_GLE = events.intensity_GLE[groups, live.outline.n_periods :]
    return {_kind(name) for e, name in enumerate(events.names) if (ahead_GLE[:, :, e] > 0).any()}


def what_if(live: LiveModel, series_R: Sequence[int], changes: Sequence[Change]) -> AskedRows:
    """Rows of the panel as they are, and after them the same rows with the changes, each acting on what those
    before it left."""
    rows = live.rows(series_R)
    changed = rows
    features = [change for change in changes if isinstance(change, FeatureChange)]
    if features:
        changed = _with_features(live, changed, series_R, features)
    events = [change for change in changes if isinstance(change, EventChange)]
    if events:
        changed = _with_events(live, changed, series_R, events)
    return join([rows, changed])


def _with_features(
    live: LiveModel, rows: AskedRows, series_R: Sequence[int], changes: Sequence[FeatureChange]
) -> AskedRows:
    panel = live.outline.select(np.asarray(series_R, dtype=np.intp))
    first, n = panel.n_periods, panel.n_periods + live.horizon
    known = {name: values[:, :n].copy() for name, values in panel.known.items()}
    for change in changes:
        ahead_RH = known[change.name][:, first + change.first : first + change.stop]
        ahead_RH[:] = ahead_RH * change.value if change.multiply else change.value
        np.clip(ahead_RH, -MOST, MOST, out=ahead_RH)
    after = replace(panel, known=known)
    half_RPF = torch.from_numpy(live.schema.standardise(after, live.horizon)).to(rows.known_RPF)
    level_RA = rows.price_level_RA.clone()
    prices = [live.schema.mean_prices(one, live.horizon).tolist() for one in (panel, after)]
    for r, (before_A, after_A) in enumerate(zip(*prices, strict=True)):
        for a, name in enumerate(live.prices.names):
            if np.isfinite(before_A[a]):
                level = float(level_RA[r, a]) + after_A[a] - before_A[a]
                level_RA[r, a] = min(max(level, -LIMIT), LIMIT)
            else:
                level_RA[r, a] = live.prices.of_new(name, live.department(series_R[r]), after_A[a])
    return replace(rows, known_RPF=half_RPF, price_level_RA=level_RA)


def _with_events(
    live: LiveModel, rows: AskedRows, series_R: Sequence[int], changes: Sequence[EventChange]
) -> AskedRows:
    group_R = live.outline.events.group_S[list(series_R)]
    groups, place_R = np.unique(group_R, return_inverse=True)
    calendars = [_changed_calendar(live, int(group), changes) for group in groups]
    place = torch.from_numpy(place_R).to(live.tensors.device)

    def of_rows(name: str) -> torch.Tensor:
        return torch.cat([getattr(one.calendar, name) for one in calendars])[place]

    forgotten_GH = torch.from_numpy(np.stack([one.forgotten_H for one in calendars])).to(place.device)
    return replace(
        rows,
        events_RDE=of_rows("events_GDE"),
        analog_RL=of_rows("analog_GL"),
        lift_RH=of_rows("lift_GH"),
        forgotten_RH=forgotten_GH[place],
    )


class _Changed(NamedTuple):
    """The calendar of one group, and where it is not to be remembered."""

    calendar: Calendar
    forgotten_H: NDArray[np.bool_]


def _changed_calendar(live: LiveModel, group: int, changes: Sequence[EventChange]) -> _Changed:
    grid = live.outline.events
    lift_GLE = grid.lift_GLE
    one = replace(
        grid,
        intensity_GLE=grid.intensity_GLE[group : group + 1].copy(),
        lift_GLE=None if lift_GLE is None else lift_GLE[group : group + 1].copy(),
        group_S=np.zeros(1, np.int32),
    )
    moved_E = np.zeros(len(live.schema.events), np.int64)
    for change in changes:
        _apply(one, change, live.outline.n_periods)
        moved_E += change.move * np.array(
            [_kind(name) == change.kind for name in live.schema.events], np.int64
        )
    calendar = live.calendar(one, moved_E)
    kinds = {change.kind for change in changes}
    before_H = _remembering(live, grid.intensity_GLE[group], live.base.analog_GL[group], kinds)
    after_H = _remembering(live, one.intensity_GLE[0], calendar.analog_GL[0], kinds)
    return _Changed(calendar, after_H & ~before_H)


def _apply(grid: EventGrid, change: EventChange, first: int) -> None:
    """Change a calendar of one group in place, from period `first` on."""
    for e, name in enumerate(grid.names):
        if _kind(name) != change.kind:
            continue
        strength_L = grid.intensity_GLE[0, :, e]
        going_on = first > 0 and bool((strength_L[first - 1 : first + 1] > 0).all())
        strength_L[first:] = _shifted(strength_L[first:], change.move, 0.0, going_on) * change.strength
        if grid.lift_GLE is not None:
            lift_L = grid.lift_GLE[0, :, e]
            moved_L = _shifted(lift_L[first:], change.move, np.nan, going_on)
            lift_L[first:] = np.maximum(1 + (moved_L - 1) * change.strength, LEAST_LIFT)


def _shifted(ahead_L: Floats, by: int, nothing: float, going_on: bool) -> Floats:
    """The values moved; `nothing` comes in from the ends, from the near one the first value where it goes
    on."""
    result, n = np.full_like(ahead_L, nothing), len(ahead_L)
    if by < 0:
        result[: max(n + by, 0)] = ahead_L[-by:]
        return result
    result[by:] = ahead_L[: max(n - by, 0)]
    if going_on:
        result[:by] = ahead_L[0]
    return result


def _remembering(
    live: LiveModel, strength_LE: Floats, analog_L: torch.Tensor, kinds: set[str]
) -> NDArray[np.bool_]:
    """(H,) the periods of the horizon whose analog lies at an event of these kinds, when now no event is on
    near them."""
    n, reach = live.outline.n_periods, live.config.patch // 2
    ahead = slice(n, n + live.horizon)
    analog_H = analog_L[ahead].cpu().numpy()
    now_H = _near(strength_LE, reach)[ahead]
    result = np.zeros(live.horizon, np.bool_)
    for kind in kinds:
        of_its = [e for e, name in enumerate(live.outline.events.names) if _kind(name) == kind]
        then_L = _near(strength_LE[:, of_its], reach)
        result |= (analog_H >= 0) & then_L[np.maximum(analog_H, 0)] & ~now_H
    return result


def _near(strength_LE: Floats, reach: int) -> NDArray[np.bool_]:
    """(L,) where an event is on within `reach` periods before or after."""
    running = np.concatenate([[0], np.cumsum(np.any(strength_LE > 0, axis=1))])
    place = np.arange(len(strength_LE))
    first, stop = np.maximum(place - reach, 0), np.minimum(place + reach + 1, len(place))
    near_L: NDArray[np.bool_] = running[stop] > running[first]
    return near_L


def _kind(name: str) -> str:
    return name.partition("/")[0]
