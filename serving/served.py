"""A snapshot as it is served, with all that is prepared from it once."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from functools import cached_property
from typing import Final

import numpy as np
from numpy.typing import NDArray
from surgecast.v1 import forecast_pb2, model_pb2, source_pb2

from forecast.demand.panel import STEP
from forecast.quantiles import LEVELS
from forecast.snapshot import Snapshot
from forecast.snapshot.format import EventSpan
from serving import wire
from serving.cells import SharedCells
from serving.labels import Labels
from serving.near import Neighbours
from serving.stamp import Stamp

PERIODS: Final[dict[str, source_pb2.Period.ValueType]] = {
    "hour": source_pb2.PERIOD_HOUR,
    "day": source_pb2.PERIOD_DAY,
    "week": source_pb2.PERIOD_WEEK,
}


@dataclass(frozen=True, kw_only=True)
class Refused:
    """A snapshot that should serve and does not."""

    snapshot: str
    reason: str


@dataclass(frozen=True)
class Served:
    """One snapshot and what is prepared from it once. A call takes one and answers from it alone.

    stamp: the files as they were just before they were opened. since: when it was opened, in seconds since
    1970-01-01 00:00 UTC.
    """

    snapshot: Snapshot
    stamp: Stamp = ()
    since: float = field(default_factory=time.time)
    _heads: dict[int, bytes] = field(default_factory=dict)

    @cached_property
    def source(self) -> source_pb2.Source:
        """What every reply names."""
        manifest = self.snapshot.manifest
        return source_pb2.Source(
            model_version=manifest.model_version,
            snapshot_id=manifest.id,
            origin_seconds=seconds(manifest.origin),
            period=PERIODS[manifest.period],
            period_seconds=int(STEP[manifest.period] // np.timedelta64(1, "s")),
        )

    def key(self, row: int) -> forecast_pb2.SeriesKey:
        """What a series is."""
        keys = self.snapshot.keys
        return forecast_pb2.SeriesKey(
            item=str(keys.item[row]), location=str(keys.location[row]), platform=str(keys.platform[row])
        )

    @cached_property
    def keys(self) -> list[bytes]:
        """The encoded key of each row, with the word that it had no history."""
        rows = zip(self.snapshot.index, self.snapshot.no_history_S.tolist(), strict=True)
        return [wire.encode_key(*key, no_history=none) for key, none in rows]

    @cached_property
    def items(self) -> Neighbours:
        """The items, to find what was meant by one that is not there."""
        return Neighbours(self.snapshot.keys.item.tolist())

    @cached_property
    def labels(self) -> Labels:
        """What the series are called, for filters and groups."""
        return Labels(self.snapshot)

    @cached_property
    def cells(self) -> SharedCells:
        """The sums of scenarios that questions about many series are answered from."""
        return SharedCells(self.snapshot, self.labels)

    @cached_property
    def events(self) -> list[bytes]:
        """The encoded events of each group of series."""
        n_groups = int(self.snapshot.group_S.max()) + 1
        spans: list[list[forecast_pb2.EventSpan]] = [[] for _ in range(n_groups)]
        for span in self.snapshot.spans:
            message = span_message(span)
            for group in span.groups:
                spans[group].append(message)
        return [wire.encode_events(of_group) for of_group in spans]

    @cached_property
    def orders(self) -> dict[int, NDArray[np.intp]]:
        """The rows in each order of a list of series."""
        summary = self.snapshot.summary
        return {
            forecast_pb2.SERIES_ORDER_UNSPECIFIED: np.arange(len(self.snapshot.keys)),
            forecast_pb2.SERIES_ORDER_SURGE: np.argsort(-summary.ratio_S, kind="stable"),
            forecast_pb2.SERIES_ORDER_VOLUME: np.argsort(-summary.total_S, kind="stable"),
        }

    def head(self, horizon: int) -> bytes:
        """All fields but the forecasts of a reply with them, encoded; both kinds of reply have them alike."""
        if horizon not in self._heads:
            times = [seconds(time) for time in self.snapshot.times[:horizon]]
            head = forecast_pb2.BatchGetForecastsResponse(
                source=self.source, time_seconds=times, levels=LEVELS
            )
            self._heads[horizon] = head.SerializeToString()
        return self._heads[horizon]

    def warm(self) -> None:
        """Prepare everything, so that no call has to, but the sums of scenarios, which are begun when it
        serves.
        """
        for _prepared in (self.source, self.keys, self.items, self.events, self.orders):
            pass

    def describe(self, refused: Refused | None) -> model_pb2.GetServingModelResponse:
        """What serves, for people and machines."""
        manifest = self.snapshot.manifest
        message = model_pb2.GetServingModelResponse(
            source=self.source,
            bundle_id=manifest.bundle_id,
            data_version=manifest.data_version,
            create_seconds=seconds(np.datetime64(manifest.created.removesuffix("+00:00"), "s")),
            horizon=manifest.horizon,
            series_count=manifest.n_series,
            scenario_count=manifest.n_scenarios,
            history_periods=manifest.n_history,
            levels=LEVELS,
        )
        if refused is not None:
            message.refused.snapshot_id = refused.snapshot
            message.refused.reason = refused.reason
        return message


def span_message(span: EventSpan) -> forecast_pb2.EventSpan:
    """A phase of an event as a message."""
    return forecast_pb2.EventSpan(
        name=span.name,
        kind=span.kind,
        phase=span.phase,
        start_seconds=seconds(span.start),
        end_seconds=seconds(span.end),
        intensity=span.intensity,
    )


def seconds(time: np.datetime64) -> int:
    """A time as seconds since 1970-01-01 00:00."""
    return int(time.astype("datetime64[s]").astype(np.int64))
