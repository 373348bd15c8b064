"""The typed client: ask a server of surgecast and get numpy arrays.

with Client("127.0.0.1:50051") as client:
    forecast = client.forecast(item="FOODS_3_090", location="CA_3", platform="store")
    print(forecast.mean, forecast.quantile(0.9))
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Final, Literal, NamedTuple, Self, TypeVar

import grpc
import numpy as np
from google.protobuf.message import Message
from grpc_health.v1 import health_pb2, health_pb2_grpc
from numpy.typing import NDArray
from surgecast.v1 import (
    forecast_pb2,
    forecast_pb2_grpc,
    model_pb2,
    model_pb2_grpc,
    source_pb2,
)

from forecast.errors import InputError
from forecast.forecasts import Floats
from serving.checks import MAX_KEYS
from serving.errors import RETRIED, from_call

M = TypeVar("M", bound=Message)
Times = NDArray[np.datetime64]
Order = Literal["snapshot", "surge", "volume"]

_ORDERS: Final[dict[Order, forecast_pb2.SeriesOrder.ValueType]] = {
    "snapshot": forecast_pb2.SERIES_ORDER_UNSPECIFIED,
    "surge": forecast_pb2.SERIES_ORDER_SURGE,
    "volume": forecast_pb2.SERIES_ORDER_VOLUME,
}
_RETRY: Final = {
    "methodConfig": [
        {
            "name": [{"service": "surgecast.v1.ForecastService"}, {"service": "surgecast.v1.ModelService"}],
            "retryPolicy": {
                "maxAttempts": 4,
                "initialBackoff": "0.1s",
                "maxBackoff": "2s",
                "backoffMultiplier": 2,
                "retryableStatusCodes": [RETRIED],
            },
        }
    ]
}


class Key(NamedTuple):
    """What a series is."""

    item: str
    location: str
    platform: str


@dataclass(frozen=True, kw_only=True)
class ModelFacts:
    """Where an answer comes from. `step` is the length of a period."""

    model_version: str
    snapshot: str
    origin: np.datetime64
    step: np.timedelta64


@dataclass(frozen=True, kw_only=True)
class EventSpan:
    """A phase of an event, from `start` to just before `end`."""

    name: str
    kind: str
    phase: str
    start: np.datetime64
    end: np.datetime64
    intensity: float


@dataclass(frozen=True, kw_only=True)
class SeriesForecast:
    """The forecast of one series: H periods, Q quantile levels, N periods of history; demand in units per
    period.

    times (H,) and history_times (N,) are the starts of the periods; mean (H,); quantiles (H, Q); history (N,)
    with NaN where missing. History and events are empty unless they were asked for. no_history: the series
    had no demand at all, and is forecast from what it is.
    """

    key: Key
    source: ModelFacts
    times: Times
    mean: Floats
    levels: NDArray[np.float64]
    quantiles: Floats
    history_times: Times
    history: Floats
    events: tuple[EventSpan, ...]
    no_history: bool = False

    def quantile(self, level: float) -> Floats:
        """The quantile (H,) of one of the levels; InputError for a level that the forecast does not hold."""
        at = np.flatnonzero(np.isclose(self.levels, level))
        if not at.size:
            known = ", ".join(f"{known:g}" for known in self.levels)
            raise InputError("level", expected=f"one of {known}", found=f"{level:g}")
        result: Floats = self.quantiles[:, at[0]]
        return result


@dataclass(frozen=True, kw_only=True)
class SeriesSummary:
    """A series and what is coming, in units; `base` is its recent ordinary demand per period. no_history: as
    of a `SeriesForecast`."""

    key: Key
    total: float
    base: float
    zero_share: float
    peak: float
    peak_ratio: float
    peak_time: np.datetime64
    no_history: bool = False


@dataclass(frozen=True, kw_only=True)
class ServingModel:
    """What serves. `refused` says why a newer snapshot does not, and is empty when all is well; `created` is
    when the snapshot was written, in UTC."""

    source: ModelFacts
    created: np.datetime64
    bundle: str
    data_version: str
    horizon: int
    n_series: int
    n_scenarios: int
    refused: str


class Client:
    """A connection to a server; close it or use it in a `with`. All methods may be called from several
    threads.

    Each call ends within `timeout_s`. Errors are those of `forecast.errors`: NotFoundError for an unknown
    series, InputError with the `field`, BusyError when the server cannot be reached after some attempts.
    """

    def __init__(self, address: str = "127.0.0.1:50051", *, timeout_s: float = 10.0) -> None:
        self.address = address
        self.timeout_s = timeout_s
        self._channel = grpc.insecure_channel(
            address,
            options=(
                ("grpc.service_config", json.dumps(_RETRY)),
                ("grpc.max_receive_message_length", 256 << 20),
                ("grpc.enable_http_proxy", 0),
            ),
        )
        self._forecasts = forecast_pb2_grpc.ForecastServiceStub(self._channel)  # type: ignore[no-untyped-call]
        self._health = health_pb2_grpc.HealthStub(self._channel)
        self._models = model_pb2_grpc.ModelServiceStub(self._channel)  # type: ignore[no-untyped-call]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the connection."""
        self._channel.close()

    def forecast(
        self, *, item: str, location: str, platform: str, horizon: int | None = None
    ) -> SeriesForecast:
        """The forecast of one series with its history and events."""
        request = forecast_pb2.GetForecastRequest(
            key=forecast_pb2.SeriesKey(item=item, location=location, platform=platform),
            horizon=horizon,
            view=forecast_pb2.FORECAST_VIEW_FULL,
        )
        reply = self._call(self._forecasts.GetForecast, request, forecast_pb2.GetForecastResponse)
        return _series_forecast(reply, reply.forecast)

    def forecasts(
        self, keys: Sequence[tuple[str, str, str]], *, horizon: int | None = None, full: bool = False
    ) -> list[SeriesForecast]:
        """The forecasts of many series in their order, asked for in batches; `full` adds history and events.

        InputError when a snapshot was swapped between two batches, so that an answer never mixes two.
        """
        answers: list[SeriesForecast] = []
        for first in range(0, len(keys), MAX_KEYS):
            request = forecast_pb2.BatchGetForecastsRequest(
                keys=[
                    forecast_pb2.SeriesKey(item=item, location=location, platform=platform)
                    for item, location, platform in keys[first : first + MAX_KEYS]
                ],
                horizon=horizon,
                view=forecast_pb2.FORECAST_VIEW_FULL if full else forecast_pb2.FORECAST_VIEW_BASIC,
            )
            reply = self._call(
                self._forecasts.BatchGetForecasts, request, forecast_pb2.BatchGetForecastsResponse
            )
            if answers and answers[0].source.snapshot != reply.source.snapshot_id:
                raise InputError(
                    "snapshot", expected=answers[0].source.snapshot, found=reply.source.snapshot_id
                )
            answers += [_series_forecast(reply, forecast) for forecast in reply.forecasts]
        return answers

    def list_series(
        self,
        *,
        item: str = "",
        location: str = "",
        platform: str = "",
        min_base: float = 0.0,
        order: Order = "snapshot",
        page_size: int = 500,
    ) -> Iterator[SeriesSummary]:
        """Summaries of the series that pass all conditions, fetched page by page as they are read."""
        wanted = forecast_pb2.SeriesFilter(
            item=item, location=location, platform=platform, minimum_recent_mean=min_base
        )
        request = forecast_pb2.ListSeriesRequest(page_size=page_size, filter=wanted, order=_ORDERS[order])
        while True:
            reply = self._call(self._forecasts.ListSeries, request, forecast_pb2.ListSeriesResponse)
            for series in reply.series:
                yield SeriesSummary(
                    key=_key(series.key),
                    total=series.horizon_mean_total,
                    base=series.recent_mean,
                    zero_share=series.zero_share,
                    peak=series.peak_mean,
                    peak_ratio=series.peak_ratio,
                    peak_time=_time(series.peak_seconds),
                    no_history=series.no_history,
                )
            if not reply.next_page_token:
                return
            request.page_token = reply.next_page_token

    def serving_model(self) -> ServingModel:
        """What serves."""
        reply = self._call(
            self._models.GetServingModel,
            model_pb2.GetServingModelRequest(),
            model_pb2.GetServingModelResponse,
        )
        return ServingModel(
            source=_facts(reply.source),
            created=_time(reply.create_seconds),
            bundle=reply.bundle_id,
            data_version=reply.data_version,
            horizon=reply.horizon,
            n_series=reply.series_count,
            n_scenarios=reply.scenario_count,
            refused=reply.refused.reason,
        )

    def health(self, service: str = "") -> str:
        """The health of a service (all of them when empty) in the words of gRPC: SERVING or NOT_SERVING."""
        request = health_pb2.HealthCheckRequest(service=service)
        reply = self._call(self._health.Check, request, health_pb2.HealthCheckResponse)
        return str(health_pb2.HealthCheckResponse.ServingStatus.Name(reply.status))

    def _call(self, method: Callable[..., object], request: Message, kind: type[M]) -> M:
        try:
            reply = method(request, timeout=self.timeout_s)
        except grpc.RpcError as error:
            raise from_call(error, self.address) from error
        if not isinstance(reply, kind):
            raise TypeError(f"{method} answers {kind.DESCRIPTOR.full_name}, not {type(reply).__name__}")
        return reply


def _series_forecast(
    reply: forecast_pb2.GetForecastResponse | forecast_pb2.BatchGetForecastsResponse,
    forecast: forecast_pb2.SeriesForecast,
) -> SeriesForecast:
    source = _facts(reply.source)
    n = len(forecast.history)
    levels = np.array(reply.levels)
    return SeriesForecast(
        key=_key(forecast.key),
        source=source,
        times=np.array(reply.time_seconds, dtype=np.int64).astype("datetime64[s]"),
        mean=np.array(forecast.mean, dtype=np.float32),
        levels=levels,
        quantiles=np.array(forecast.quantiles, dtype=np.float32).reshape(-1, len(levels)),
        history_times=source.origin + np.arange(1 - n, 1) * source.step,
        history=np.array(forecast.history, dtype=np.float32),
        events=tuple(
            EventSpan(
                name=event.name,
                kind=event.kind,
                phase=event.phase,
                start=_time(event.start_seconds),
                end=_time(event.end_seconds),
                intensity=event.intensity,
            )
            for event in forecast.events
        ),
        no_history=forecast.no_history,
    )


def _facts(source: source_pb2.Source) -> ModelFacts:
    return ModelFacts(
        model_version=source.model_version,
        snapshot=source.snapshot_id,
        origin=_time(source.origin_seconds),
        step=np.timedelta64(source.period_seconds, "s"),
    )


def _key(key: forecast_pb2.SeriesKey) -> Key:
    return Key(item=key.item, location=key.location, platform=key.platform)


def _time(seconds: int) -> np.datetime64:
    return np.datetime64(seconds, "s")
