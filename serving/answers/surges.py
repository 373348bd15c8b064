"""Where surges are coming."""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from surgecast.v1 import forecast_pb2

from forecast.planning.drivers import drivers, members
from forecast.planning.surges import (
    Surges,
    Threshold,
    find_surges,
    group_outlooks,
    least_base,
    series_outlooks,
    usual_demand,
)
from serving.answers.paging import list_stamp, next_token, page_start
from serving.answers.periods import starts, step
from serving.answers.selection import Groups, grouped, passing
from serving.call import Call
from serving.checks import check_filter, check_group_by, check_page_size, check_range, check_sums, parse
from serving.served import Served
from serving.store import SnapshotStore

KEPT: Final = 4
"""Lists of surges that are kept for their further pages."""


@dataclass(frozen=True, kw_only=True)
class Found:
    """All surges of a question; `first` is the period of the horizon that it begins with, `groups` None for
    single series.
    """

    first: int
    surges: Surges
    groups: Groups | None


@dataclass(frozen=True)
class SurgeAnswers:
    """Surges, read from the scenarios of the snapshot that serves; the last lists are kept."""

    store: SnapshotStore
    _kept: OrderedDict[str, Found] = field(default_factory=OrderedDict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def list_surges(self, content: bytes, call: Call) -> bytes:
        """`ListSurges`: a page of surges of series or groups."""
        request = parse(forecast_pb2.ListSurgesRequest, content)
        served = self.store.current
        size = check_page_size(request.page_size)
        check_filter(request.filter)
        check_group_by(request.group_by)
        question = forecast_pb2.ListSurgesRequest()
        question.CopyFrom(request)
        question.ClearField("page_size")
        question.ClearField("page_token")
        stamp = list_stamp(served, question)
        found = self._recall(stamp)
        if found is None:
            found = _find(served, request, call)
            self._keep(stamp, found)
        total = len(found.surges)
        first = page_start(request.page_token, stamp, total)
        return forecast_pb2.ListSurgesResponse(
            source=served.source,
            surges=_messages(served, found, first, min(first + size, total)),
            next_page_token=next_token(stamp, first + size, total),
            total_size=total,
        ).SerializeToString()

    def _recall(self, stamp: str) -> Found | None:
        with self._lock:
            if stamp in self._kept:
                self._kept.move_to_end(stamp)
            return self._kept.get(stamp)

    def _keep(self, stamp: str, found: Found) -> None:
        with self._lock:
            self._kept[stamp] = found
            while len(self._kept) > KEPT:
                self._kept.popitem(last=False)


def _find(served: Served, request: forecast_pb2.ListSurgesRequest, call: Call) -> Found:
    snapshot = served.snapshot
    threshold = Threshold(
        multiple=request.multiple if request.HasField("multiple") else Threshold.multiple,
        probability=request.probability if request.HasField("probability") else Threshold.probability,
    )
    first, last = check_range(request.range, starts(served), step(served))
    passes_S = passing(served, request.filter)
    usual_S = usual_demand(snapshot)
    if not request.group_by:
        outlooks = series_outlooks(snapshot, np.flatnonzero(passes_S), first, last, call.check)
        base_S = np.fmax(usual_S, least_base(snapshot))
        return Found(first=first, surges=find_surges(outlooks, base_S, threshold), groups=None)
    groups = grouped(served, passes_S, request.group_by)
    check_sums(len(groups), last - first)
    usual_G = np.bincount(groups.group_S[passes_S], usual_S[passes_S], minlength=len(groups))
    outlooks = group_outlooks(
        snapshot,
        groups.group_S,
        len(groups),
        (first, last),
        cells=served.cells.get(call.check),
        check=call.check,
    )
    base_G = np.fmax(usual_G, least_base(snapshot))
    return Found(first=first, surges=find_surges(outlooks, base_G, threshold), groups=groups)


def _messages(served: Served, found: Found, begin: int, end: int) -> list[forecast_pb2.Surge]:
    """The surges of a page, and what drives them."""
    snapshot, groups = served.snapshot, found.groups
    page = found.surges.take(np.arange(begin, end))
    if groups is None:
        surge_S = np.full(len(snapshot.keys), -1, np.intp)
        surge_S[page.unit_N] = np.arange(len(page))
    else:
        surge_G = np.full(len(groups) + 1, -1, np.intp)  # one more: the place of series in no group
        surge_G[page.unit_N] = np.arange(len(page))
        surge_S = surge_G[groups.group_S]
    driven_by = drivers(snapshot, page.surging_Nh, found.first, members(snapshot, surge_S))
    times = starts(served)[found.first :]
    messages = []
    for n, unit in enumerate(page.unit_N.tolist()):
        name, kind = driven_by[n] or ("", "")
        message = forecast_pb2.Surge(
            series_count=1 if groups is None else int(groups.count_G[unit]),
            base=float(page.base_N[n]),
            extra_units=float(page.extra_N[n]),
            time_seconds=[times[h] for h in np.flatnonzero(page.surging_Nh[n]).tolist()],
            peak_seconds=times[int(page.peak_N[n])],
            peak_mean=float(page.peak_mean_N[n]),
            peak_probability=float(page.peak_probability_N[n]),
            driver=name,
            driver_kind=kind,
        )
        if groups is None:
            message.key.CopyFrom(served.key(unit))
            message.no_history = bool(snapshot.no_history_S[unit])
        else:
            message.values.extend(groups.values[unit])
        messages.append(message)
    return messages
