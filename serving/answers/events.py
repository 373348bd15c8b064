"""The events within history and horizon."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from surgecast.v1 import forecast_pb2

from serving.answers.paging import list_stamp, next_token, page_start
from serving.answers.selection import passing
from serving.call import Call
from serving.checks import check_filter, check_page_size, parse
from serving.served import seconds, span_message
from serving.store import SnapshotStore


@dataclass(frozen=True)
class EventAnswers:
    """Events of the snapshot that serves."""

    store: SnapshotStore

    def list_events(self, content: bytes, _call: Call) -> bytes:
        """`ListEvents`: a page of phases of events, by start, with the number of series that each touches."""
        request = parse(forecast_pb2.ListEventsRequest, content)
        served = self.store.current
        size = check_page_size(request.page_size)
        check_filter(request.filter)
        snapshot = served.snapshot
        passes_S = passing(served, request.filter)
        count_G = np.bincount(snapshot.group_S[passes_S], minlength=int(snapshot.group_S.max()) + 1)
        touched = [(span, int(count_G[list(span.groups)].sum())) for span in snapshot.spans]
        listed = [
            (span, count)
            for span, count in touched
            if count and (not request.HasField("after_seconds") or seconds(span.end) > request.after_seconds)
        ]
        after = str(request.after_seconds) if request.HasField("after_seconds") else "all"
        stamp = list_stamp(served, request.filter, after)
        first = page_start(request.page_token, stamp, len(listed))
        return forecast_pb2.ListEventsResponse(
            source=served.source,
            events=[
                forecast_pb2.EventSummary(span=span_message(span), series_count=count)
                for span, count in listed[first : first + size]
            ],
            next_page_token=next_token(stamp, first + size, len(listed)),
            total_size=len(listed),
        ).SerializeToString()
