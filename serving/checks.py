"""What a request may hold. Each check raises InputError that names the field."""

from __future__ import annotations

import math
import unicodedata
from typing import Final, TypeVar

from google.protobuf.message import DecodeError, Message
from surgecast.v1 import forecast_pb2

from forecast.demand.panel import MAX_NAME
from forecast.errors import InputError

M = TypeVar("M", bound=Message)

MAX_KEYS: Final = 1_000
MAX_PAGE: Final = 1_000
DEFAULT_PAGE: Final = 100
MAX_LABELS: Final = 16
MAX_VALUES: Final = 1_000
MAX_REQUEST_BYTES: Final = 2 << 20
"""Enough for MAX_KEYS keys of full length in ASCII."""


def parse(kind: type[M], content: bytes) -> M:
    """A message from its bytes; unknown fields of a later version are ignored."""
    try:
        return kind.FromString(content)
    except DecodeError as error:
        found = f"{len(content)} bytes that are not one"
        raise InputError("request", expected=f"a {kind.DESCRIPTOR.full_name}", found=found) from error


def check_key(key: forecast_pb2.SeriesKey, field: str) -> tuple[str, str, str]:
    """Item, location and platform of a key."""
    names = (key.item, key.location, key.platform)
    for part, name in zip(("item", "location", "platform"), names, strict=True):
        check_name(name, f"{field}.{part}")
        if not name:
            raise InputError(f"{field}.{part}", expected="a name", found="nothing")
    return names


def check_name(name: str, field: str) -> None:
    """A name that may be empty."""
    if len(name) > MAX_NAME:
        raise InputError(field, expected=f"at most {MAX_NAME} characters", found=f"{len(name)}")
    if not name.isprintable() and any(unicodedata.category(c) == "Cc" for c in name):
        raise InputError(field, expected="no control characters", found=ascii(name[:40]))


def check_horizon(
    request: forecast_pb2.GetForecastRequest
    | forecast_pb2.BatchGetForecastsRequest
    | forecast_pb2.SimulateScenarioRequest
    | forecast_pb2.ForecastNewSeriesRequest,
    limit: int,
) -> int:
    """Periods ahead: the whole horizon when absent."""
    if not request.HasField("horizon"):
        return limit
    if not 1 <= request.horizon <= limit:
        raise InputError("horizon", expected=f"1..{limit} periods", found=str(request.horizon))
    return request.horizon


def check_view(view: int) -> bool:
    """Whether history and events are wanted too."""
    if view not in forecast_pb2.ForecastView.values():
        known = ", ".join(forecast_pb2.ForecastView.keys())
        raise InputError("view", expected=f"one of {known}", found=str(view))
    return view == forecast_pb2.FORECAST_VIEW_FULL


def check_page_size(size: int) -> int:
    """Entries of a page."""
    if not 0 <= size <= MAX_PAGE:
        raise InputError("page_size", expected=f"0..{MAX_PAGE}", found=str(size))
    return size or DEFAULT_PAGE


def check_filter(wanted: forecast_pb2.SeriesFilter) -> None:
    """The conditions of a filter."""
    for part in ("item", "location", "platform"):
        check_name(getattr(wanted, part), f"filter.{part}")
    if len(wanted.labels) > MAX_LABELS:
        raise InputError("filter.labels", expected=f"at most {MAX_LABELS}", found=str(len(wanted.labels)))
    for n, label in enumerate(wanted.labels):
        field = f"filter.labels[{n}]"
        check_name(label.name, f"{field}.name")
        if not 1 <= len(label.values) <= MAX_VALUES:
            raise InputError(f"{field}.values", expected=f"1..{MAX_VALUES}", found=str(len(label.values)))
        for value in label.values:
            check_name(value, f"{field}.values")
    least = wanted.minimum_recent_mean
    if not math.isfinite(least) or least < 0:
        raise InputError("filter.minimum_recent_mean", expected="a number of at least 0", found=str(least))


def check_order(order: int) -> int:
    """The order of a list."""
    if order not in forecast_pb2.SeriesOrder.values():
        known = ", ".join(forecast_pb2.SeriesOrder.keys())
        raise InputError("order", expected=f"one of {known}", found=str(order))
    return order
