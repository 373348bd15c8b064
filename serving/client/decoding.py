"""Replies as the values of `serving.client.types`."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from surgecast.v1 import forecast_pb2 as pb
from surgecast.v1 import model_pb2, source_pb2

from forecast.forecasts import Floats
from serving.client.types import (
    AggregateForecast,
    EventSpan,
    EventSummary,
    GroupForecast,
    Key,
    Levels,
    ModelFacts,
    PublishedModel,
    ScenarioForecast,
    SeriesForecast,
    SeriesSummary,
    ServingModel,
    Surge,
    Times,
)


def one_forecast(reply: pb.GetForecastResponse | pb.ForecastNewSeriesResponse) -> SeriesForecast:
    """The forecast of a reply with one."""
    return _Frame(reply).forecast(reply.forecast)


def many_forecasts(reply: pb.BatchGetForecastsResponse) -> list[SeriesForecast]:
    """The forecasts of a batch."""
    frame = _Frame(reply)
    return [frame.forecast(forecast) for forecast in reply.forecasts]


def scenarios(reply: pb.SimulateScenarioResponse) -> list[ScenarioForecast]:
    """The pairs of a what-if."""
    frame = _Frame(reply)
    return [
        ScenarioForecast(baseline=frame.forecast(pair.baseline), changed=frame.forecast(pair.changed))
        for pair in reply.forecasts
    ]


def series_summary(series: pb.SeriesSummary) -> SeriesSummary:
    """An entry of `ListSeries`."""
    return SeriesSummary(
        key=_key(series.key),
        total=series.horizon_mean_total,
        base=series.recent_mean,
        zero_share=series.zero_share,
        peak=series.peak_mean,
        peak_ratio=series.peak_ratio,
        peak_time=_time(series.peak_seconds),
        no_history=series.no_history,
    )


def aggregate(reply: pb.AggregateForecastResponse, by: tuple[str, ...]) -> AggregateForecast:
    """The groups of `AggregateForecast`; `by` is what was asked for."""
    levels = np.array(reply.levels)
    return AggregateForecast(
        source=facts(reply.source),
        by=by,
        times=_times(reply.time_seconds),
        ends=_times(reply.end_seconds),
        levels=levels,
        groups=tuple(
            GroupForecast(
                values=tuple(group.values),
                n_series=group.series_count,
                mean=np.array(group.mean, dtype=np.float32),
                quantiles=_quantiles(group.quantiles, levels),
            )
            for group in reply.groups
        ),
    )


def surges(reply: pb.ListSurgesResponse) -> list[Surge]:
    """The entries of `ListSurges`."""
    source = facts(reply.source)
    return [
        Surge(
            source=source,
            key=_key(surge.key) if surge.HasField("key") else None,
            values=tuple(surge.values),
            n_series=surge.series_count,
            base=surge.base,
            extra=surge.extra_units,
            times=_times(surge.time_seconds),
            peak_time=_time(surge.peak_seconds),
            peak=surge.peak_mean,
            peak_probability=surge.peak_probability,
            driver=surge.driver,
            driver_kind=surge.driver_kind,
            no_history=surge.no_history,
        )
        for surge in reply.surges
    ]


def event_summaries(reply: pb.ListEventsResponse) -> list[EventSummary]:
    """The entries of `ListEvents`."""
    source = facts(reply.source)
    return [
        EventSummary(source=source, span=_span(event.span), n_series=event.series_count)
        for event in reply.events
    ]


def serving_model(reply: model_pb2.GetServingModelResponse) -> ServingModel:
    """What serves."""
    return ServingModel(
        source=facts(reply.source),
        bundle=reply.bundle_id,
        data_version=reply.data_version,
        created=_time(reply.create_seconds),
        horizon=reply.horizon,
        n_series=reply.series_count,
        n_scenarios=reply.scenario_count,
        n_history=reply.history_periods,
        levels=np.array(reply.levels),
        refused=reply.refused.reason,
    )


def published_model(model: model_pb2.PublishedModel) -> PublishedModel:
    """An entry of `ListModels`."""
    return PublishedModel(
        snapshot=model.snapshot_id,
        model_version=model.model_version,
        bundle=model.bundle_id,
        created=_time(model.create_seconds),
        origin=_time(model.origin_seconds),
        n_series=model.series_count,
        serving=model.serving,
    )


def facts(source: source_pb2.Source) -> ModelFacts:
    """Where an answer comes from."""
    return ModelFacts(
        model_version=source.model_version,
        snapshot=source.snapshot_id,
        origin=_time(source.origin_seconds),
        step=np.timedelta64(source.period_seconds, "s"),
    )


class _Frame:
    """What all forecasts of a reply share, decoded once."""

    def __init__(
        self,
        reply: pb.GetForecastResponse
        | pb.BatchGetForecastsResponse
        | pb.SimulateScenarioResponse
        | pb.ForecastNewSeriesResponse,
    ) -> None:
        self.source = facts(reply.source)
        self.times = _times(reply.time_seconds)
        self.levels = np.array(reply.levels)

    def forecast(self, forecast: pb.SeriesForecast) -> SeriesForecast:
        n = len(forecast.history)
        return SeriesForecast(
            key=_key(forecast.key),
            source=self.source,
            times=self.times,
            mean=np.array(forecast.mean, dtype=np.float32),
            levels=self.levels,
            quantiles=_quantiles(forecast.quantiles, self.levels),
            history_times=self.source.origin + np.arange(1 - n, 1) * self.source.step,
            history=np.array(forecast.history, dtype=np.float32),
            events=tuple(map(_span, forecast.events)),
            no_history=forecast.no_history,
        )


def _span(event: pb.EventSpan) -> EventSpan:
    return EventSpan(
        name=event.name,
        kind=event.kind,
        phase=event.phase,
        start=_time(event.start_seconds),
        end=_time(event.end_seconds),
        intensity=event.intensity,
    )


def _quantiles(numbers: Iterable[float], levels: Levels) -> Floats:
    return np.array(numbers, dtype=np.float32).reshape(-1, len(levels))


def _key(key: pb.SeriesKey) -> Key:
    return Key(item=key.item, location=key.location, platform=key.platform)


def _times(numbers: Iterable[int]) -> Times:
    return np.array(numbers, dtype=np.int64).astype("datetime64[s]")


def _time(seconds: int) -> np.datetime64:
    return np.datetime64(seconds, "s")
