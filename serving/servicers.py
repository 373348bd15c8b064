"""What each method of `surgecast.v1` answers. Methods take and give messages or bytes, raise our own
errors and know no gRPC.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from surgecast.v1 import forecast_pb2, model_pb2

from forecast.errors import InputError
from serving import wire
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
from serving.store import Served, SnapshotStore, seconds


@dataclass(frozen=True)
class ForecastServicer:
    """`ForecastService`, read from the snapshot that serves."""

    store: SnapshotStore

    def get_forecast(self, content: bytes) -> bytes:
        """`GetForecast`: one series."""
        request = parse(forecast_pb2.GetForecastRequest, content)
        served = self.store.current
        horizon = check_horizon(request, served.snapshot.manifest.horizon)
        full = check_view(request.view)
        row = _row(served, check_key(request.key, "key"), "key")
        head = served.head(horizon)
        return b"".join((head, *_encoded(served, [row], horizon, full=full, tag=wire.ONE)))

    def batch_get_forecasts(self, content: bytes) -> bytes:
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
        head = served.head(horizon)
        return b"".join((head, *_encoded(served, rows, horizon, full=full, tag=wire.MANY)))

    def list_series(self, content: bytes) -> bytes:
        """`ListSeries`: a page of summaries."""
        request = parse(forecast_pb2.ListSeriesRequest, content)
        served = self.store.current
        size = check_page_size(request.page_size)
        check_filter(request.filter)
        rows = served.orders[check_order(request.order)]
        rows = rows[_passes(served, request.filter)[rows]]
        question = hashlib.sha256(
            request.filter.SerializeToString(deterministic=True) + bytes([request.order])
        )
        stamp = f"{served.snapshot.manifest.id}/{question.hexdigest()[:16]}"
        first = _offset(request.page_token, stamp, len(rows))
        page = rows[first : first + size]
        token = _token(stamp, first + size) if first + size < len(rows) else ""
        return forecast_pb2.ListSeriesResponse(
            source=served.source,
            series=[_summary(served, row) for row in page.tolist()],
            next_page_token=token,
            total_size=len(rows),
        ).SerializeToString()


@dataclass(frozen=True)
class ModelServicer:
    """`ModelService`: what serves."""

    store: SnapshotStore

    def get_serving_model(self, content: bytes) -> bytes:
        """`GetServingModel`."""
        parse(model_pb2.GetServingModelRequest, content)
        return self.store.current.describe(self.store.refused).SerializeToString()


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


def _passes(served: Served, wanted: forecast_pb2.SeriesFilter) -> NDArray[np.bool_]:
    keys = served.snapshot.keys
    passes_S = np.ones(len(keys), dtype=np.bool_)
    for names_S, name in (
        (keys.item, wanted.item),
        (keys.location, wanted.location),
        (keys.platform, wanted.platform),
    ):
        if name:
            passes_S &= names_S == name
    if wanted.minimum_recent_mean > 0:
        passes_S &= served.snapshot.summary.base_S >= wanted.minimum_recent_mean
    return passes_S


def _summary(served: Served, row: int) -> forecast_pb2.SeriesSummary:
    keys, summary = served.snapshot.keys, served.snapshot.summary
    peak = int(summary.peak_S[row])
    return forecast_pb2.SeriesSummary(
        key=forecast_pb2.SeriesKey(
            item=str(keys.item[row]), location=str(keys.location[row]), platform=str(keys.platform[row])
        ),
        horizon_mean_total=float(summary.total_S[row]),
        recent_mean=float(summary.base_S[row]),
        zero_share=float(summary.zeros_S[row]),
        peak_mean=float(summary.peak_mean_S[row]),
        peak_ratio=float(summary.ratio_S[row]),
        peak_seconds=seconds(served.snapshot.times[peak]),
        no_history=bool(served.snapshot.no_history_S[row]),
    )


def _token(stamp: str, offset: int) -> str:
    return base64.urlsafe_b64encode(f"{stamp}/{offset}".encode()).decode()


def _offset(token: str, stamp: str, total: int) -> int:
    """Where a page begins; InputError when the token is of another list or snapshot, or is none of ours."""
    if not token:
        return 0
    expected = "the next_page_token of the page before, for the same filter and order"
    try:
        found, _, offset = base64.urlsafe_b64decode(token.encode()).decode().rpartition("/")
    except (binascii.Error, UnicodeError) as error:
        raise InputError("page_token", expected=expected, found=ascii(token[:40])) from error
    if found != stamp or not (
        offset.isascii() and offset.isdigit() and len(offset) < 10 and int(offset) < total
    ):
        meant = "one of another list, or of a snapshot that no longer serves: begin again"
        raise InputError("page_token", expected=expected, found=meant)
    return int(offset)
