"""Each series and what is coming for it in a few numbers, and the events around it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from forecast.demand.panel import STEP, Panel, Period
from forecast.forecasts import Floats, Forecasts
from forecast.snapshot.format import HISTORY, EventSpan

RECENT: Final[dict[Period, int]] = {"hour": 14 * 24, "day": 56, "week": 13}
"""Last periods that the base is taken from: whole weeks, so that no weekday counts twice."""


class NamedEvent(Protocol):
    """What is needed of `forecast.demand.events.Event` to name a span."""

    @property
    def name(self) -> str:
        """What a person calls it."""

    @property
    def kind(self) -> str:
        """What it shares with its other occurrences."""

    @property
    def start(self) -> object:
        """First day."""


@dataclass(frozen=True, kw_only=True)
class Summary:
    """One number per series.

    total_S: expected demand over the horizon, units.
    base_S: mean demand of recent ordinary periods, units per period; NaN when nothing was observed.
    zeros_S: share of recent periods without demand; NaN when nothing was observed.
    peak_S: index of the strongest period of the horizon; peak_mean_S its expected demand, units.
    ratio_S: peak_mean over the base, which counts as one unit within the recent window at least, so that a
        series that hardly ever sold does not look like a surge. Where nothing was observed, over the median
        of the horizon: what is new is no surge.
    """

    total_S: Floats
    base_S: Floats
    zeros_S: Floats
    peak_S: NDArray[np.int32]
    peak_mean_S: Floats
    ratio_S: Floats


def summarise(forecasts: Forecasts, panel: Panel) -> Summary:
    """Summaries of all series; ordinary periods are those that no event touches, all recent ones
    where too few are.
    """
    n = min(panel.n_periods, RECENT[panel.period])
    recent_SN = panel.demand_ST[:, panel.n_periods - n :]
    observed_SN = ~np.isnan(recent_SN)
    grid = panel.events
    active_GNE: NDArray[np.bool_] = grid.intensity_GLE[:, panel.n_periods - n : panel.n_periods] > 0
    eventful_GN: NDArray[np.bool_] = np.any(active_GNE, axis=2)
    ordinary_SN = observed_SN & ~eventful_GN[grid.group_S]
    enough_S = ordinary_SN.sum(axis=1) >= min(n, RECENT[panel.period] // 4)
    used_SN = np.where(enough_S[:, None], ordinary_SN, observed_SN)
    count_S = used_SN.sum(axis=1)
    sum_S = np.where(used_SN, recent_SN, 0).sum(axis=1)
    seen_S = observed_SN.sum(axis=1)
    base_S = _divide(sum_S, count_S)
    zeros_S = _divide((observed_SN & (recent_SN == 0)).sum(axis=1), seen_S)
    peak_S = forecasts.mean_SH.argmax(axis=1).astype(np.int32)
    peak_mean_S = forecasts.mean_SH.max(axis=1)
    usual_S, new_S = base_S.copy(), seen_S == 0
    usual_S[new_S] = np.median(forecasts.mean_SH[new_S], axis=1)
    floor_S = np.fmax(usual_S, 1 / n)
    return Summary(
        total_S=forecasts.mean_SH.sum(axis=1, dtype=np.float64).astype(np.float32),
        base_S=base_S,
        zeros_S=zeros_S,
        peak_S=peak_S,
        peak_mean_S=peak_mean_S.astype(np.float32),
        ratio_S=(peak_mean_S / floor_S).astype(np.float32),
    )


def _divide(top_S: NDArray[Any], bottom_S: NDArray[Any]) -> Floats:
    result_S: Floats = np.full(len(bottom_S), np.nan, dtype=np.float32)
    np.divide(top_S, bottom_S, out=result_S, where=bottom_S > 0, casting="same_kind")
    return result_S


def event_spans(panel: Panel, horizon: int, events: Sequence[NamedEvent] = ()) -> list[EventSpan]:
    """The events of the panel's grid from the kept history to the end of the horizon, by start.

    A span is a run of periods in which a channel is active, shared by the groups that have the same run. Its
    name is that of the occurrence of its kind in `events` nearest in time, or its kind where none is given.
    """
    first = max(0, panel.n_periods - HISTORY[panel.period])
    last = min(panel.n_periods + horizon, panel.events.intensity_GLE.shape[1])
    groups_of: dict[tuple[int, int, int, float], list[int]] = {}
    active_GLE = panel.events.intensity_GLE[:, first:last] > 0
    for group, channel in np.argwhere(active_GLE.any(axis=1)).tolist():
        edges = np.flatnonzero(np.diff(active_GLE[group, :, channel], prepend=False, append=False)) + first
        for start, end in edges.reshape(-1, 2).tolist():
            strength = float(panel.events.intensity_GLE[group, start:end, channel].max())
            groups_of.setdefault((start, end, channel, strength), []).append(group)
    spans = []
    for (start, end, channel, strength), groups in sorted(groups_of.items()):
        kind, _, phase = panel.events.names[channel].partition("/")
        spans.append(
            EventSpan(
                name=_name(kind, panel.time(start), events),
                kind=kind,
                phase=phase or "day",
                start=panel.time(start).astype("datetime64[s]"),
                end=(panel.time(end - 1) + STEP[panel.period]).astype("datetime64[s]"),
                intensity=strength,
                groups=tuple(groups),
            )
        )
    return spans


def _name(kind: str, start: np.datetime64, events: Sequence[NamedEvent]) -> str:
    same = [event for event in events if event.kind == kind]
    nearest = min(same, key=lambda e: abs(np.datetime64(str(e.start), "s") - start), default=None)
    return nearest.name if nearest else kind
