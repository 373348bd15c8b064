"""Sums of joint scenarios by group and time."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from surgecast.v1 import forecast_pb2

from forecast.planning.aggregate import aggregate
from forecast.quantiles import LEVELS
from serving import wire
from serving.answers.periods import edges, starts, step
from serving.answers.selection import grouped, passing
from serving.call import Call
from serving.checks import check_filter, check_group_by, check_range, check_sums, parse
from serving.store import SnapshotStore


@dataclass(frozen=True)
class AggregateAnswers:
    """Totals, read from the scenarios of the snapshot that serves."""

    store: SnapshotStore

    def aggregate_forecast(self, content: bytes, call: Call) -> bytes:
        """`AggregateForecast`: groups of series together; no group where no series passes."""
        request = parse(forecast_pb2.AggregateForecastRequest, content)
        served = self.store.current
        check_filter(request.filter)
        check_group_by(request.group_by)
        times = [*starts(served), starts(served)[-1] + step(served)]
        first, last = check_range(request.range, times[:-1], step(served))
        edges_T = edges(served, first, last, request.aggregation)
        groups = grouped(served, passing(served, request.filter), request.group_by)
        check_sums(len(groups), len(edges_T) - 1)
        sums = aggregate(
            served.snapshot,
            groups.group_S,
            len(groups),
            edges_T,
            cells=served.cells.get(call.check),
            check=call.check,
        )
        head = forecast_pb2.AggregateForecastResponse(
            source=served.source,
            time_seconds=[times[edge] for edge in edges_T[:-1].tolist()],
            end_seconds=[times[edge] for edge in edges_T[1:].tolist()],
            levels=LEVELS,
        )
        heads = [
            forecast_pb2.AggregateGroup(values=values, series_count=count).SerializeToString()
            for values, count in zip(groups.values, groups.count_G.tolist(), strict=True)
        ]
        mean_GT = sums.mean_GT.astype(np.float32)
        return b"".join((head.SerializeToString(), *wire.encode_groups(heads, mean_GT, sums.quantiles_GTQ)))
