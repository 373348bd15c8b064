"""Protobuf bytes of `SeriesForecast` and `AggregateGroup`, joined from numpy rows without a Python object per
number.

A packed field of floats is, on the wire, its tag, its length and the little-endian floats: exactly a row of a
numpy array. Field numbers come from the generated descriptors. The tests compare with messages built the
plain way.
"""

from __future__ import annotations

import numpy as np
from google.protobuf.message import Message
from numpy.typing import NDArray
from surgecast.v1 import forecast_pb2

from forecast.forecasts import Floats

_LENGTH_DELIMITED = 2


def _tag(message: type[Message], field: str) -> bytes:
    number: int = message.DESCRIPTOR.fields_by_name[field].number
    return varint(number << 3 | _LENGTH_DELIMITED)


def varint(value: int) -> bytes:
    """A number of at least 0 in protobuf's variable length."""
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


_KEY = _tag(forecast_pb2.SeriesForecast, "key")
_NO_HISTORY = (
    varint(forecast_pb2.SeriesForecast.DESCRIPTOR.fields_by_name["no_history"].number << 3) + b"\x01"
)
_MEAN = _tag(forecast_pb2.SeriesForecast, "mean")
_QUANTILES = _tag(forecast_pb2.SeriesForecast, "quantiles")
_HISTORY = _tag(forecast_pb2.SeriesForecast, "history")
_EVENTS = _tag(forecast_pb2.SeriesForecast, "events")
_GROUP_MEAN = _tag(forecast_pb2.AggregateGroup, "mean")
_GROUP_QUANTILES = _tag(forecast_pb2.AggregateGroup, "quantiles")
_GROUPS = _tag(forecast_pb2.AggregateForecastResponse, "groups")
ONE = _tag(forecast_pb2.GetForecastResponse, "forecast")
MANY = _tag(forecast_pb2.BatchGetForecastsResponse, "forecasts")
PAIR = _tag(forecast_pb2.SimulateScenarioResponse, "forecasts")
BASELINE = _tag(forecast_pb2.ScenarioForecast, "baseline")
CHANGED = _tag(forecast_pb2.ScenarioForecast, "changed")


def field(tag: bytes, content: bytes) -> bytes:
    """A field of variable length."""
    return b"".join((tag, varint(len(content)), content))


def encode_key(item: str, location: str, platform: str, *, no_history: bool = False) -> bytes:
    """The fields `key` and, where it is true, `no_history` of a `SeriesForecast`."""
    key = forecast_pb2.SeriesKey(item=item, location=location, platform=platform)
    return field(_KEY, key.SerializeToString()) + (_NO_HISTORY if no_history else b"")


def encode_events(events: list[forecast_pb2.EventSpan]) -> bytes:
    """The field `events` of a `SeriesForecast`."""
    return b"".join(field(_EVENTS, event.SerializeToString()) for event in events)


def encode_forecasts(
    tag: bytes,
    keys: list[bytes],
    mean_SH: Floats,
    quantiles_SHQ: Floats,
    history_SN: Floats | None = None,
    events: list[bytes] | None = None,
) -> list[bytes]:
    """`SeriesForecast` fields of S series under `tag` (ONE, MANY, BASELINE or CHANGED), of encoded keys,
    means and quantiles.

    History and encoded events (of each series) are left out where they are None.
    """
    means, mean_size = _rows(mean_SH)
    quantiles, quantile_size = _rows(quantiles_SHQ.reshape(len(keys), -1))
    mean_head = _MEAN + varint(mean_size)
    quantile_head = _QUANTILES + varint(quantile_size)
    histories, history_size = _rows(history_SN) if history_SN is not None else (b"", 0)
    history_head = _HISTORY + varint(history_size) if history_size else b""
    fixed = len(mean_head) + mean_size + len(quantile_head) + quantile_size + len(history_head) + history_size
    answers = []
    for row, key in enumerate(keys):
        spans = events[row] if events is not None else b""
        parts = (
            tag,
            varint(fixed + len(key) + len(spans)),
            key,
            mean_head,
            means[row * mean_size : (row + 1) * mean_size],
            quantile_head,
            quantiles[row * quantile_size : (row + 1) * quantile_size],
            history_head,
            histories[row * history_size : (row + 1) * history_size],
            spans,
        )
        answers.append(b"".join(parts))
    return answers


def encode_groups(heads: list[bytes], mean_GT: Floats, quantiles_GTQ: Floats) -> list[bytes | memoryview]:
    """The fields `groups` of an `AggregateForecastResponse`; heads are the groups' other fields, encoded."""
    means, mean_size = _rows(mean_GT)
    quantiles, quantile_size = _rows(
        quantiles_GTQ.reshape(len(mean_GT), mean_GT.shape[1] * quantiles_GTQ.shape[2])
    )
    mean_head = _GROUP_MEAN + varint(mean_size)
    quantile_head = _GROUP_QUANTILES + varint(quantile_size)
    fixed = len(mean_head) + mean_size + len(quantile_head) + quantile_size
    fields: list[bytes | memoryview] = []
    for group, head in enumerate(heads):
        fields += (
            _GROUPS,
            varint(fixed + len(head)),
            head,
            mean_head,
            means[group * mean_size : (group + 1) * mean_size],
            quantile_head,
            quantiles[group * quantile_size : (group + 1) * quantile_size],
        )
    return fields


def _rows(values_SN: NDArray[np.float32]) -> tuple[memoryview | bytes, int]:
    """All bytes of the rows, little-endian, and the size of one row."""
    content = np.ascontiguousarray(values_SN, dtype="<f4").tobytes()
    return memoryview(content), 4 * values_SN.shape[1]
