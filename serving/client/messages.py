"""Parts of requests, from what a caller gives."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime

import numpy as np
from surgecast.v1 import forecast_pb2 as pb

from forecast.errors import InputError
from serving.client.types import Change, EventChange, FeatureChange, Moment, SeriesFilter


def seconds(moment: Moment, field: str) -> int:
    """A moment in seconds since 1970 on the installation's clock; InputError for one that has a zone or is
    none.
    """
    expected = "a day or a time without a zone, such as 2026-11-11 or 2026-11-11T08:00"
    try:
        given = datetime.fromisoformat(moment) if isinstance(moment, str) else moment
    except ValueError as error:
        raise InputError(field, expected=expected, found=repr(moment)) from error
    if isinstance(given, datetime) and given.tzinfo is not None:
        raise InputError(field, expected=expected, found=given.isoformat())
    time = given if isinstance(given, np.datetime64) else np.datetime64(given)
    if np.isnat(time):
        raise InputError(field, expected=expected, found=repr(moment))
    return int(time.astype("datetime64[s]").astype(np.int64))


def batches(keys: Sequence[tuple[str, str, str]], size: int) -> Iterator[Sequence[tuple[str, str, str]]]:
    """Keys in runs of `size`."""
    return (keys[first : first + size] for first in range(0, len(keys), size))


def series_key(key: tuple[str, str, str]) -> pb.SeriesKey:
    """Of a key."""
    item, location, platform = key
    return pb.SeriesKey(item=item, location=location, platform=platform)


def series_filter(where: SeriesFilter) -> pb.SeriesFilter:
    """Of the conditions on series."""
    return pb.SeriesFilter(
        item=where.item,
        location=where.location,
        platform=where.platform,
        minimum_recent_mean=where.min_base,
        labels=[
            pb.LabelFilter(name=name, values=[values] if isinstance(values, str) else values)
            for name, values in where.labels.items()
        ],
    )


def time_range(start: Moment | None, end: Moment | None) -> pb.TimeRange | None:
    """Of the periods from `start` to just before `end`; None for the whole horizon."""
    if start is None and end is None:
        return None
    return pb.TimeRange(
        start_seconds=None if start is None else seconds(start, "start"),
        end_seconds=None if end is None else seconds(end, "end"),
    )


def change_of(change: Change) -> pb.Change:
    """Of a difference that is asked about."""
    if isinstance(change, EventChange):
        event = pb.EventChange(
            kind=change.kind, move_days=change.move_days, multiply_intensity=change.multiply_intensity
        )
        return pb.Change(event=event)
    if not isinstance(change, FeatureChange):
        raise InputError("changes", expected="a FeatureChange or an EventChange", found=repr(change))
    feature = pb.FeatureChange(name=change.name, range=time_range(change.start, change.end))
    if change.set is not None:
        feature.set = change.set
    elif change.multiply is not None:
        feature.multiply = change.multiply
    return pb.Change(feature=feature)


def names(field: str, given: Sequence[str]) -> tuple[str, ...]:
    """Names; InputError for a text in place of a list of them."""
    if isinstance(given, str):
        raise InputError(field, expected="a list of names", found=f"one text {given!r}")
    return tuple(given)
