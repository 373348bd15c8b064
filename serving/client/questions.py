"""What each method sends and how its reply is read: the same for both clients."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, Generic, NamedTuple, Protocol, Self, TypeVar

from google.protobuf.message import DecodeError, Message
from grpc_health.v1 import health_pb2
from surgecast.v1 import forecast_pb2 as pb
from surgecast.v1 import model_pb2

from forecast.errors import InputError, IntegrityError
from serving.checks import MAX_KEYS
from serving.client import decoding, messages
from serving.client.types import (
    AggregateForecast,
    Change,
    EventSummary,
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
)

A = TypeVar("A")
B = TypeVar("B")
M = TypeVar("M", bound=Message)
S = TypeVar("S", bound="Sourced")

MAX_SIMULATED: Final = 100
"""Series of one what-if; more are asked about in several."""
_ORDERS: Final[dict[Order, pb.SeriesOrder.ValueType]] = {
    "snapshot": pb.SERIES_ORDER_UNSPECIFIED,
    "surge": pb.SERIES_ORDER_SURGE,
    "volume": pb.SERIES_ORDER_VOLUME,
}
_SPANS: Final[dict[Span, pb.Aggregation.ValueType]] = {
    "period": pb.AGGREGATION_PERIOD,
    "day": pb.AGGREGATION_DAY,
    "week": pb.AGGREGATION_WEEK,
    "total": pb.AGGREGATION_TOTAL,
}
_FORECASTS: Final[str] = pb.DESCRIPTOR.services_by_name["ForecastService"].full_name
_HEALTH: Final[str] = health_pb2.DESCRIPTOR.services_by_name["Health"].full_name
_MODELS: Final[str] = model_pb2.DESCRIPTOR.services_by_name["ModelService"].full_name


@dataclass(frozen=True)
class Question(Generic[A]):
    """A call: its method, its request, and what is made of the bytes of a reply. `change`: it changes
    something, so that made twice it may do more than made once.
    """

    method: str
    request: Message
    read: Callable[[bytes], A]
    change: bool = False

    def at_page(self, token: str) -> Self:
        """The same question for another page."""
        request = type(self.request)()
        request.CopyFrom(self.request)
        request.page_token = token  # type: ignore[attr-defined]  # requests for pages have one
        return replace(self, request=request)


class Page(NamedTuple, Generic[A]):
    """Entries of a list; `token` asks for those after it and is empty at the end."""

    entries: list[A]
    token: str


class Sourced(Protocol):
    """An answer that says where it comes from."""

    @property
    def source(self) -> ModelFacts:
        """Where it comes from."""


def add_batch(answers: list[S], more: list[S]) -> None:
    """Add the answers of a further batch; InputError when a snapshot was swapped between two of them, so that
    an answer never mixes two.
    """
    if answers and more and answers[0].source.snapshot != more[0].source.snapshot:
        first, later = answers[0].source.snapshot, more[0].source.snapshot
        raise InputError("snapshot", expected=f"{first} for all batches", found=later)
    answers += more


def _question(
    service: str, name: str, request: Message, kind: type[M], read: Callable[[M], A]
) -> Question[A]:
    def read_bytes(content: bytes) -> A:
        try:
            return read(kind.FromString(content))
        except DecodeError as error:
            found = f"{len(content)} bytes that are not one"
            raise IntegrityError(name, expected=f"a {kind.DESCRIPTOR.full_name}", found=found) from error

    return Question(f"/{service}/{name}", request, read_bytes)


def forecast(key: Key, horizon: int | None) -> Question[SeriesForecast]:
    """`GetForecast`, with history and events."""
    request = pb.GetForecastRequest(key=messages.series_key(key), horizon=horizon, view=pb.FORECAST_VIEW_FULL)
    return _question(_FORECASTS, "GetForecast", request, pb.GetForecastResponse, decoding.one_forecast)


def forecasts(
    keys: Sequence[tuple[str, str, str]], horizon: int | None, *, full: bool
) -> Iterator[Question[list[SeriesForecast]]]:
    """`BatchGetForecasts`, for as many keys at once as a request may hold."""
    view = pb.FORECAST_VIEW_FULL if full else pb.FORECAST_VIEW_BASIC
    for batch in messages.batches(keys, MAX_KEYS):
        request = pb.BatchGetForecastsRequest(
            keys=map(messages.series_key, batch), horizon=horizon, view=view
        )
        yield _question(
            _FORECASTS, "BatchGetForecasts", request, pb.BatchGetForecastsResponse, decoding.many_forecasts
        )


def list_series(where: SeriesFilter, order: Order, page_size: int) -> Question[Page[SeriesSummary]]:
    """`ListSeries`."""
    _check("order", order, _ORDERS)
    request = pb.ListSeriesRequest(
        page_size=page_size, filter=messages.series_filter(where), order=_ORDERS[order]
    )
    return _question(
        _FORECASTS,
        "ListSeries",
        request,
        pb.ListSeriesResponse,
        lambda reply: Page(list(map(decoding.series_summary, reply.series)), reply.next_page_token),
    )


def aggregate(
    by: Sequence[str], where: SeriesFilter, start: Moment | None, end: Moment | None, period: Span
) -> Question[AggregateForecast]:
    """`AggregateForecast`."""
    _check("period", period, _SPANS)
    names = messages.names("by", by)
    request = pb.AggregateForecastRequest(
        filter=messages.series_filter(where),
        group_by=names,
        range=messages.time_range(start, end),
        aggregation=_SPANS[period],
    )
    return _question(
        _FORECASTS,
        "AggregateForecast",
        request,
        pb.AggregateForecastResponse,
        lambda reply: decoding.aggregate(reply, names),
    )


def surges(
    by: Sequence[str],
    where: SeriesFilter,
    start: Moment | None,
    end: Moment | None,
    multiple: float,
    probability: float,
    page_size: int,
) -> Question[Page[Surge]]:
    """`ListSurges`."""
    request = pb.ListSurgesRequest(
        filter=messages.series_filter(where),
        group_by=messages.names("by", by),
        range=messages.time_range(start, end),
        multiple=multiple,
        probability=probability,
        page_size=page_size,
    )
    return _question(
        _FORECASTS,
        "ListSurges",
        request,
        pb.ListSurgesResponse,
        lambda reply: Page(decoding.surges(reply), reply.next_page_token),
    )


def events(where: SeriesFilter, after: Moment | None, page_size: int) -> Question[Page[EventSummary]]:
    """`ListEvents`."""
    request = pb.ListEventsRequest(
        page_size=page_size,
        filter=messages.series_filter(where),
        after_seconds=None if after is None else messages.seconds(after, "after"),
    )
    return _question(
        _FORECASTS,
        "ListEvents",
        request,
        pb.ListEventsResponse,
        lambda reply: Page(decoding.event_summaries(reply), reply.next_page_token),
    )


def simulate(
    keys: Sequence[tuple[str, str, str]], changes: Sequence[Change], horizon: int | None
) -> Iterator[Question[list[ScenarioForecast]]]:
    """`SimulateScenario`, for as many keys at once as a request may hold."""
    changed = [messages.change_of(change) for change in changes]
    for batch in messages.batches(keys, MAX_SIMULATED):
        request = pb.SimulateScenarioRequest(
            keys=map(messages.series_key, batch), horizon=horizon, changes=changed
        )
        yield _question(
            _FORECASTS, "SimulateScenario", request, pb.SimulateScenarioResponse, decoding.scenarios
        )


def new_series(
    key: Key,
    labels: Mapping[str, str],
    plan: Mapping[str, float | Sequence[float]],
    horizon: int | None,
) -> Question[SeriesForecast]:
    """`ForecastNewSeries`."""
    request = pb.ForecastNewSeriesRequest(
        key=messages.series_key(key),
        labels=labels,
        features=[
            pb.FeaturePlan(name=name, values=[values] if isinstance(values, (int, float)) else values)
            for name, values in plan.items()
        ],
        horizon=horizon,
    )
    return _question(
        _FORECASTS, "ForecastNewSeries", request, pb.ForecastNewSeriesResponse, decoding.one_forecast
    )


def export(
    where: SeriesFilter, horizon: int | None, levels: Sequence[float]
) -> Question[pb.ExportForecastsResponse]:
    """`ExportForecasts`; its replies are a stream."""
    request = pb.ExportForecastsRequest(filter=messages.series_filter(where), horizon=horizon, levels=levels)
    return _question(_FORECASTS, "ExportForecasts", request, pb.ExportForecastsResponse, lambda piece: piece)


def serving_model() -> Question[ServingModel]:
    """`GetServingModel`."""
    return _question(
        _MODELS,
        "GetServingModel",
        model_pb2.GetServingModelRequest(),
        model_pb2.GetServingModelResponse,
        decoding.serving_model,
    )


def list_models(page_size: int) -> Question[Page[PublishedModel]]:
    """`ListModels`."""
    return _question(
        _MODELS,
        "ListModels",
        model_pb2.ListModelsRequest(page_size=page_size),
        model_pb2.ListModelsResponse,
        lambda reply: Page(list(map(decoding.published_model, reply.models)), reply.next_page_token),
    )


def health(service: str) -> Question[str]:
    """`Check` of the health service."""
    return _question(
        _HEALTH,
        "Check",
        health_pb2.HealthCheckRequest(service=service),
        health_pb2.HealthCheckResponse,
        lambda reply: str(health_pb2.HealthCheckResponse.ServingStatus.Name(reply.status)),
    )


def reload() -> Question[ServingModel]:
    """`Reload`."""
    question = _question(
        _MODELS,
        "Reload",
        model_pb2.ReloadRequest(),
        model_pb2.ReloadResponse,
        lambda reply: decoding.serving_model(reply.serving),
    )
    return replace(question, change=True)


def rollback(reason: str, snapshot: str) -> Question[ServingModel]:
    """`Rollback`."""
    question = _question(
        _MODELS,
        "Rollback",
        model_pb2.RollbackRequest(snapshot_id=snapshot, reason=reason),
        model_pb2.RollbackResponse,
        lambda reply: decoding.serving_model(reply.serving),
    )
    return replace(question, change=True)


def _check(field: str, value: str, known: Mapping[A, B]) -> None:
    if value not in known:
        expected = f"one of {', '.join(map(str, known))}"
        raise InputError(field, expected=expected, found=repr(value))
