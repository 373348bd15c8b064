"""Events as numbers on a grid of periods, shared by all series of the same platform and location.

Letters: S series, U distinct pairs of platform and location, C distinct scopes of events, G groups,
L periods, E channels.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from forecast.demand.events.model import Event, Phase
from forecast.demand.events.priors import kinds_alike, with_borrowed
from forecast.demand.panel import STEP, EventGrid, Period, SeriesKeys

Scope = tuple[tuple[str, ...], tuple[str, ...]]
_DAY = np.timedelta64(1, "D")


def event_grid(
    events: Sequence[Event], keys: SeriesKeys, period: Period, start: np.datetime64, n_periods: int
) -> EventGrid:
    """The events on `n_periods` periods from `start` on, for the series of `keys`.

    A period has a phase's intensity when they share any time: all hours of its days, the week that holds one
    of them. Where phases of one kind overlap, the strongest counts. Channels are the kinds and phases that
    touch the grid and a series; series that the same events touch share a group. Events that are like another
    kind borrow from it (`priors`). A lift counts for the share of a period that its spell covers: a day of 4
    in a week makes the week 1 + 3 / 7; of overlapping ones of a kind and phase the one farther from 1 counts.

    Raises InputError where events of one kind disagree on what it is like.
    """
    like, events = kinds_alike(events), with_borrowed(events)
    spells = [(event, spell) for event in events for spell in event.spells]
    first_day = np.array([spell.start for _, spell in spells], dtype="datetime64[D]")
    last_day = np.array([spell.end for _, spell in spells], dtype="datetime64[D]")
    origin = start.astype("datetime64[s]")
    first = (first_day.astype("datetime64[s]") - origin) // STEP[period]
    last = ((last_day + _DAY).astype("datetime64[s]") - origin - 1) // STEP[period]
    first, last = np.maximum(first, 0), np.minimum(last, n_periods - 1)

    scopes: dict[Scope, int] = {}
    for event in events:
        scopes.setdefault((event.platforms, event.locations), len(scopes))
    group_S, touched_GC = _groups(keys, list(scopes))
    kept = [
        (f"{event.kind}/{spell.name}", scopes[event.platforms, event.locations], spell, a, b)
        for (event, spell), a, b in zip(spells, first.tolist(), last.tolist(), strict=True)
        if a <= b and touched_GC[:, scopes[event.platforms, event.locations]].any()
    ]
    names = tuple(sorted({channel for channel, *_ in kept}))
    index = {name: e for e, name in enumerate(names)}
    intensity_GLE = np.zeros((len(touched_GC), n_periods, len(names)), dtype=np.float32)
    lifted = any(spell.lift is not None for _, _, spell, _, _ in kept)
    lift_GLE = np.full_like(intensity_GLE, np.nan) if lifted else None
    for channel, scope, spell, a, b in kept:
        window = (touched_GC[:, scope], slice(a, b + 1), index[channel])
        intensity_GLE[window] = np.maximum(intensity_GLE[window], spell.intensity)
        if lift_GLE is not None and spell.lift is not None:
            begin = origin + np.arange(a, b + 1) * STEP[period]
            lift_L = 1 + (spell.lift - 1) * _covered(spell, begin, STEP[period])
            lift_GLE[window] = _farther(lift_GLE[window], lift_L)
    alike = {kind: other for kind, other in like.items() if any(n.startswith(f"{kind}/") for n in names)}
    return EventGrid(names=names, intensity_GLE=intensity_GLE, group_S=group_S, like=alike, lift_GLE=lift_GLE)


def _covered(spell: Phase, begin_L: NDArray[np.datetime64], step: np.timedelta64) -> NDArray[np.float64]:
    """The share of each period that the days of a spell cover."""
    first = np.datetime64(spell.start, "s")
    last = np.datetime64(spell.end, "D") + _DAY
    overlap_L = np.minimum(begin_L + step, last.astype("datetime64[s]")) - np.maximum(begin_L, first)
    return np.clip(overlap_L / step, 0, 1)


def _farther(one: NDArray[np.float32], other: NDArray[np.float64]) -> NDArray[np.float64]:
    """Of two multiples the one farther from 1; the other where nothing was said before."""
    return np.where(np.isnan(one) | (np.abs(np.log(other)) > np.abs(np.log(one))), other, one)


def _groups(keys: SeriesKeys, scopes: list[Scope]) -> tuple[NDArray[np.int32], NDArray[np.bool_]]:
    """The group of each series, and which scopes touch each group."""
    platforms, platform_S = np.unique(keys.platform, return_inverse=True)
    locations, location_S = np.unique(keys.location, return_inverse=True)
    pair_S = platform_S * max(len(locations), 1) + location_S
    pairs, pair_of_S = np.unique(pair_S, return_inverse=True)
    platform_U, location_U = np.divmod(pairs, max(len(locations), 1))
    touched_UC = np.zeros((len(pairs), len(scopes)), dtype=np.bool_)
    for column, (on_platforms, at_locations) in enumerate(scopes):
        by_platform = _matches(platforms, on_platforms)[platform_U]
        touched_UC[:, column] = by_platform & _matches(locations, at_locations)[location_U]
    touched_GC, group_U = np.unique(touched_UC, axis=0, return_inverse=True)
    return group_U.reshape(-1)[pair_of_S].astype(np.int32), touched_GC


def _matches(names: NDArray[np.str_], patterns: tuple[str, ...]) -> NDArray[np.bool_]:
    """Which names match any of the glob patterns; all when there are none."""
    if not patterns:
        return np.ones(len(names), dtype=np.bool_)
    matcher = re.compile("|".join(fnmatch.translate(pattern) for pattern in patterns))
    return np.array([matcher.match(name) is not None for name in names.tolist()], dtype=np.bool_)
