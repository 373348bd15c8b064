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
from forecast.planning.prices import LIMIT, mean_log
from forecast.planning.rows import AskedRows, join


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
    known_RPF = live.schema.standardise(replace(panel, known=known), live.horizon)
    level_RA = rows.price_level_RA.clone()
    for a, name in enumerate(live.prices.names):
        if any(change.name == name for change in changes):
            before_R, after_R = mean_log(panel.known[name][:, :n]), mean_log(known[name])
            for r, (before, after) in enumerate(zip(before_R.tolist(), after_R.tolist(), strict=True)):
                if np.isfinite(before):
                    level = float(level_RA[r, a]) + after - before
                    level_RA[r, a] = min(max(level, -LIMIT), LIMIT)
                else:
                    level_RA[r, a] = live.prices.of_new(name, live.department(series_R[r]), after)
    device = live.tensors.device
    half_RPF = torch.from_numpy(known_RPF).to(device=device, dtype=rows.known_RPF.dtype)
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
        strength_L[first:] = _shifted(strength_L, first, change.move, 0.0) * change.strength
        if grid.lift_GLE is not None:
            lift_L = grid.lift_GLE[0, :, e]
            lift_L[first:] = 1 + (_shifted(lift_L, first, change.move, 1.0) - 1) * change.strength
            np.maximum(lift_L, 1e-3, out=lift_L)


def _shifted(values_L: Floats, first: int, by: int, nothing: float) -> Floats:
    """The values from `first` on, moved; `nothing` comes in from the far end, and from the near one what is
    on at both sides of the origin, else `nothing`."""
    ahead_L = values_L[first:]
    result = np.full_like(ahead_L, nothing)
    n = len(ahead_L)
    if by >= 0:
        result[by:] = ahead_L[: max(n - by, 0)]
        if n and first and values_L[first - 1] != nothing and ahead_L[0] != nothing:
            result[:by] = ahead_L[0]
    else:
        result[: max(n + by, 0)] = ahead_L[-by:]
    return result


def _remembering(
    live: LiveModel, strength_LE: Floats, analog_L: torch.Tensor, kinds: set[str]
) -> NDArray[np.bool_]:
    """(H,) the periods of the horizon whose analog lies at an event of these kinds, when now no event is on
    near them."""
    n, reach = live.outline.n_periods, live.config.patch // 2
    ahead = slice(n, n + live.horizon)
    analog_H = analog_L[ahead].cpu().numpy()
    now_H = _near((strength_LE > 0).any(axis=1), reach)[ahead]
    result = np.zeros(live.horizon, np.bool_)
    for kind in kinds:
        of_its = [e for e, name in enumerate(live.outline.events.names) if _kind(name) == kind]
        then_L = _near((strength_LE[:, of_its] > 0).any(axis=1), reach)
        result |= (analog_H >= 0) & then_L[np.maximum(analog_H, 0)] & ~now_H
    return result


def _near(on_L: NDArray[np.bool_], reach: int) -> NDArray[np.bool_]:
    """Where it is on within `reach` periods before or after."""
    running = np.concatenate([[0], np.cumsum(on_L)])
    place = np.arange(len(on_L))
    first, stop = np.maximum(place - reach, 0), np.minimum(place + reach + 1, len(on_L))
    near_L: NDArray[np.bool_] = running[stop] > running[first]
    return near_L


def _kind(name: str) -> str:
    return name.partition("/")[0]
