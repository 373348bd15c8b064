"""Forecasts of single series and of batches, and the list of series."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from surgecast.v1 import forecast_pb2

from forecast.errors import InputError
from serving import wire
from serving.answers.paging import list_stamp, next_token, page_start
from serving.answers.selection import passing
from serving.call import Call
from serving.checks import (
    MAX_KEYS,
    check_filter,
    check_horizon,
    check_key,
    check_order,
    check_page_size,
    check_view,
    parse,
)
from serving.near import unknown
from serving.served import Served, seconds
from serving.store import SnapshotStore


@dataclass(frozen=True)
class ForecastAnswers:
    """Forecasts and the list of series, read from the snapshot that serves."""

    store: SnapshotStore

    def get_forecast(self, content: bytes, _call: Call) -> bytes:
        """`GetForecast`: one series."""
        request = parse(forecast_pb2.GetForecastRequest, content)
        served = self.store.current
        horizon = check_horizon(request, served.snapshot.manifest.horizon)
        full = check_view(request.view)
        row = _row(served, check_key(request.key, "key"), "key")
        head = served.head(horizon)
        return b"".join((head, *_encoded(served, [row], horizon, full=full, tag=wire.ONE)))

    def batch_get_forecasts(self, content: bytes, _call: Call) -> bytes:
        """`BatchGetForecasts`: up to `MAX_KEYS` series in the order of the request."""
        request = parse(forecast_pb2.BatchGetForecastsRequest, content)
        served = self.store.current
        if not 1 <= len(request.keys) <= MAX_KEYS:
            raise InputError("keys", expected=f"1..{MAX_KEYS} keys", found=str(len(request.keys)))
        horizon = check_horizon(request, served.snapshot.manifest.horizon)
        full = check_view(request.view)
        index = served.snapshot.index
        rows = []
        for position, key in enumerate(request.keys):
            row = index.get((key.item, key.location, key.platform))
            if row is None:
                field = f"keys[{position}]"
                row = _row(served, check_key(key, field), field)
            rows.append(row)
        return answer_rows(served, rows, horizon, full=full)

    def list_series(self, content: bytes, _call: Call) -> bytes:
        """`ListSeries`: a page of summaries."""
        request = parse(forecast_pb2.ListSeriesRequest, content)
        served = self.store.current
        size = check_page_size(request.page_size)
        check_filter(request.filter)
        rows = served.orders[check_order(request.order)]
        rows = rows[passing(served, request.filter)[rows]]
        stamp = list_stamp(served, request.filter, str(request.order))
        first = page_start(request.page_token, stamp, len(rows))
        page = rows[first : first + size]
        return forecast_pb2.ListSeriesResponse(
            source=served.source,
            series=[_summary(served, row) for row in page.tolist()],
            next_page_token=next_token(stamp, first + size, len(rows)),
            total_size=len(rows),
        ).SerializeToString()


def answer_rows(served: Served, rows: list[int], horizon: int, *, full: bool) -> bytes:
    """An encoded `BatchGetForecastsResponse` with the forecasts of some rows."""
    return b"".join((served.head(horizon), *_encoded(served, rows, horizon, full=full, tag=wire.MANY)))


def _row(served: Served, key: tuple[str, str, str], field: str) -> int:
    row = served.snapshot.index.get(key)
    if row is None:
        raise unknown(served.snapshot, served.items, key, field)
    return row


def _encoded(served: Served, rows: list[int], horizon: int, *, full: bool, tag: bytes) -> list[bytes]:
    snapshot = served.snapshot
    at = np.asarray(rows)
    return wire.encode_forecasts(
        tag,
        [served.keys[row] for row in rows],
        snapshot.mean_SH[at, :horizon],
        snapshot.quantiles(at, horizon),
        history_SN=snapshot.history_SN[at] if full else None,
        events=[served.events[group] for group in snapshot.group_S[at].tolist()] if full else None,
    )


def _summary(served: Served, row: int) -> forecast_pb2.SeriesSummary:
    summary = served.snapshot.summary
    peak = int(summary.peak_S[row])
    return forecast_pb2.SeriesSummary(
        key=served.key(row),
        horizon_mean_total=float(summary.total_S[row]),
        recent_mean=float(summary.base_S[row]),
        zero_share=float(summary.zeros_S[row]),
        peak_mean=float(summary.peak_mean_S[row]),
        peak_ratio=float(summary.ratio_S[row]),
        peak_seconds=seconds(served.snapshot.times[peak]),
        no_history=bool(served.snapshot.no_history_S[row]),
    )
