"""What drives a surge: the event that touches most of its periods.

Letters: N series or groups that surge, h the periods looked at, G groups of series that share their events; P
pairs of a surging series or group and one of those.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from forecast.planning.aggregate import Index
from forecast.snapshot import Snapshot
from forecast.snapshot.format import EventSpan


@dataclass(frozen=True, kw_only=True)
class Members:
    """Which groups of series that share their events belong to what surges: P pairs.

    unit_P: which of the N surges. events_P: the group of series (`Snapshot.group_S`). weight_P: how many
    series of it.
    """

    unit_P: Index
    events_P: Index
    weight_P: Index


def members(snapshot: Snapshot, surge_S: Index) -> Members:
    """Pairs from the surge (S,) that each series belongs to, -1 for none."""
    rows = np.flatnonzero(surge_S >= 0)
    n_groups = int(snapshot.group_S.max()) + 1
    pair_P, weight_P = np.unique(surge_S[rows] * n_groups + snapshot.group_S[rows], return_counts=True)
    return Members(unit_P=pair_P // n_groups, events_P=pair_P % n_groups, weight_P=weight_P)


def drivers(
    snapshot: Snapshot, surging_Nh: NDArray[np.bool_], first: int, of: Members
) -> list[tuple[str, str] | None]:
    """Name and kind of the event that drives each surge, None where no event touches it.

    The event that touches most of the surging periods, all its phases together; of a group, most periods of
    its series, counted one by one. A tie goes to the one of the greatest intensity in any phase, then to
    the one that begins first, then by name. `first` is the period of the horizon that h begins with.
    """
    times = snapshot.times[first : first + surging_Nh.shape[1]]
    best_N = np.zeros(len(surging_Nh))
    driver_N = np.full(len(surging_Nh), -1, np.intp)
    events = _events(snapshot, times)
    for number, spans in enumerate(events):
        touched_Gh = np.zeros((int(snapshot.group_S.max()) + 1, len(times)), np.bool_)
        for span in spans:
            touched_Gh[np.ix_(np.array(span.groups, np.intp), (times >= span.start) & (times < span.end))] = (
                True
            )
        touched_P = np.count_nonzero(touched_Gh[of.events_P] & surging_Nh[of.unit_P], axis=1)
        touched_N = np.bincount(of.unit_P, touched_P * of.weight_P, minlength=len(best_N))
        better_N = touched_N > best_N
        best_N[better_N] = touched_N[better_N]
        driver_N[better_N] = number
    names = [(spans[0].name, spans[0].kind) for spans in events]
    return [names[number] if number >= 0 else None for number in driver_N.tolist()]


def _events(snapshot: Snapshot, times: NDArray[np.datetime64]) -> list[list[EventSpan]]:
    """The spans of each event that touches some of the periods, the events in the order that decides ties."""
    spans_of: dict[tuple[str, str], list[EventSpan]] = {}
    for span in snapshot.spans:
        if ((times >= span.start) & (times < span.end)).any():
            spans_of.setdefault((span.name, span.kind), []).append(span)

    def rank(spans: list[EventSpan]) -> tuple[float, np.datetime64, str, str]:
        intensity = max(span.intensity for span in spans)
        return -intensity, min(span.start for span in spans), spans[0].name, spans[0].kind

    return sorted(spans_of.values(), key=rank)
