"""The table of methods: where each is answered, who may call it and how it is sent."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final, Literal

from surgecast.v1 import forecast_pb2, model_pb2

from serving.answers.forecasts import ForecastAnswers
from serving.answers.models import ModelAnswers
from serving.call import Call
from serving.store import SnapshotStore

FORECASTS: Final[str] = forecast_pb2.DESCRIPTOR.services_by_name["ForecastService"].full_name
MODELS: Final[str] = model_pb2.DESCRIPTOR.services_by_name["ModelService"].full_name
Role = Literal["planner", "ingest", "admin"]
"""Who may call a method where access is controlled; an administrator may call all."""


@dataclass(frozen=True, kw_only=True)
class Method:
    """A method: its answer to a request, or (`stream`) the pieces of it."""

    service: str
    name: str
    answer: Callable[[bytes, Call], bytes] | None = None
    stream: Callable[[bytes, Call], Iterator[bytes]] | None = None
    role: Role = "planner"


def all_methods(store: SnapshotStore) -> list[Method]:
    """Every method that a server answers."""
    forecasts, models = ForecastAnswers(store), ModelAnswers(store)
    return [
        Method(service=FORECASTS, name="GetForecast", answer=forecasts.get_forecast),
        Method(service=FORECASTS, name="BatchGetForecasts", answer=forecasts.batch_get_forecasts),
        Method(service=FORECASTS, name="ListSeries", answer=forecasts.list_series),
        Method(service=MODELS, name="GetServingModel", answer=models.get_serving_model),
    ]
