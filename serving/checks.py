"""What a request may hold. Each check raises InputError that names the field."""

from __future__ import annotations

import math
import unicodedata
from bisect import bisect_left
from collections.abc import Sequence
from typing import Final, TypeVar

from google.protobuf.message import DecodeError, Message
from surgecast.v1 import forecast_pb2

from forecast.demand.panel import MAX_NAME
from forecast.errors import InputError
from forecast.quantiles import LEVELS

M = TypeVar("M", bound=Message)

MAX_KEYS: Final = 1_000
MAX_PAGE: Final = 1_000
DEFAULT_PAGE: Final = 100
MAX_LABELS: Final = 16
MAX_VALUES: Final = 1_000
MAX_FILTER_VALUES: Final = 4_000
MAX_GROUP_BY: Final = 4
MAX_GROUPS: Final = 10_000
MAX_SUMS: Final = 1_000_000
MAX_REQUEST_BYTES: Final = 4 << 20
"""Enough for MAX_KEYS keys, or MAX_FILTER_VALUES values, of full length in characters of four bytes."""


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
    | forecast_pb2.ForecastNewSeriesRequest
    | forecast_pb2.ExportForecastsRequest,
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
    n_values = sum(len(label.values) for label in wanted.labels)
    if n_values > MAX_FILTER_VALUES:
        expected = f"at most {MAX_FILTER_VALUES} values in all"
        raise InputError("filter.labels", expected=expected, found=str(n_values))
    least = wanted.minimum_recent_mean
    if not math.isfinite(least) or least < 0:
        raise InputError("filter.minimum_recent_mean", expected="a number of at least 0", found=str(least))


def check_group_by(names: Sequence[str]) -> None:
    """The names that series are grouped by; which there are is for `grouped` to say."""
    if len(names) > MAX_GROUP_BY:
        raise InputError("group_by", expected=f"at most {MAX_GROUP_BY} names", found=str(len(names)))
    for n, name in enumerate(names):
        check_name(name, f"group_by[{n}]")
        if name in names[:n]:
            raise InputError(f"group_by[{n}]", expected="each name once", found=f"{name!a} again")


def check_sums(n_groups: int, n_sums: int) -> None:
    """How many groups there are, and sums in time of each."""
    if n_groups > MAX_GROUPS:
        expected = f"at most {MAX_GROUPS:,} groups; a filter or another label makes fewer"
        raise InputError("group_by", expected=expected, found=f"{n_groups:,}")
    if n_groups * n_sums > MAX_SUMS:
        expected = f"at most {MAX_SUMS:,} sums of all groups; longer periods or a shorter range make fewer"
        raise InputError("group_by", expected=expected, found=f"{n_groups:,} groups of {n_sums:,} sums")


def check_range(
    wanted: forecast_pb2.TimeRange, starts: Sequence[int], step: int, field: str = "range"
) -> tuple[int, int]:
    """The first of the periods that start in a range, and the one after the last, as places in the horizon.

    `starts` are the starts of the horizon's periods and `step` is their length, in seconds.
    """
    end = starts[-1] + step
    first = bisect_left(starts, wanted.start_seconds) if wanted.HasField("start_seconds") else 0
    last = bisect_left(starts, wanted.end_seconds) if wanted.HasField("end_seconds") else len(starts)
    if first >= last:
        found = f"{wanted.start_seconds if wanted.HasField('start_seconds') else starts[0]} up to "
        found += f"{wanted.end_seconds if wanted.HasField('end_seconds') else end}"
        expected = f"a start of one of the periods from {starts[0]} up to, without, {end}"
        raise InputError(field, expected=expected, found=found)
    return first, last


def check_levels(wanted: Sequence[float]) -> list[int]:
    """The places of quantile levels among `LEVELS`; all of them when none is named."""
    places: list[int] = []
    for n, level in enumerate(wanted):
        place = next((q for q, known in enumerate(LEVELS) if math.isclose(level, known)), None)
        if place is None:
            known = ", ".join(str(level) for level in LEVELS)
            raise InputError(f"levels[{n}]", expected=f"one of {known}", found=str(level))
        if places and place <= places[-1]:
            raise InputError(f"levels[{n}]", expected="a higher level than the one before", found=str(level))
        places.append(place)
    return places or list(range(len(LEVELS)))


def check_order(order: int) -> int:
    """The order of a list."""
    if order not in forecast_pb2.SeriesOrder.values():
        known = ", ".join(forecast_pb2.SeriesOrder.keys())
        raise InputError("order", expected=f"one of {known}", found=str(order))
    return order
