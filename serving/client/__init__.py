"""The typed clients: ask a server of surgecast, get numpy arrays or polars frames.

with Client("127.0.0.1:50051") as client:
    forecast = client.forecast(item="FOODS_3_090", location="CA_3", platform="store")
    print(forecast.mean, forecast.quantile(0.9))
    for surge in client.surges(multiple=3):
        print(surge.key, surge.peak_time, surge.extra)

`AsyncClient` has the same methods for asyncio.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from serving.client.asynchronous import AsyncClient
from serving.client.synchronous import Client
from serving.client.types import (
    AggregateForecast,
    Change,
    EventChange,
    EventSpan,
    EventSummary,
    Exported,
    FeatureChange,
    GroupForecast,
    Key,
    ModelFacts,
    Moment,
    Order,
    PublishedModel,
    ScenarioForecast,
    SeriesFilter,
    SeriesForecast,
    SeriesSummary,
    ServingModel,
    Span,
    Surge,
    Times,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

    import polars as pl

    from serving.client.frames import Answer

__all__ = [
    "AggregateForecast",
    "AsyncClient",
    "Change",
    "Client",
    "EventChange",
    "EventSpan",
    "EventSummary",
    "Exported",
    "FeatureChange",
    "GroupForecast",
    "Key",
    "ModelFacts",
    "Moment",
    "Order",
    "PublishedModel",
    "ScenarioForecast",
    "SeriesFilter",
    "SeriesForecast",
    "SeriesSummary",
    "ServingModel",
    "Span",
    "Surge",
    "Times",
    "to_frame",
]


def to_frame(answers: Iterable[Answer]) -> pl.DataFrame:
    """Answers of one kind, a list or an iterator of them, as a polars frame.

    Forecasts: item, location, platform, time, mean and a column for each level, such as q0.975, with a row
    for each period; what-ifs have these rows twice, told apart by `changed`. Others: a row for each.
    InputError for a mixture.
    """
    from serving.client import frames

    return frames.to_frame(answers)
