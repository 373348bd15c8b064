"""The table of methods: where each is answered, who may call it and how it is sent."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final, Literal

from surgecast.v1 import forecast_pb2, model_pb2

from serving.access.tokens import Role
from serving.answers.aggregates import AggregateAnswers
from serving.answers.events import EventAnswers
from serving.answers.exports import ExportAnswers
from serving.answers.forecasts import ForecastAnswers
from serving.answers.live import LiveAnswers
from serving.answers.models import ModelAnswers
from serving.answers.surges import SurgeAnswers
from serving.call import Call
from serving.live.engine import LiveEngine
from serving.store import SnapshotStore

FORECASTS: Final[str] = forecast_pb2.DESCRIPTOR.services_by_name["ForecastService"].full_name
MODELS: Final[str] = model_pb2.DESCRIPTOR.services_by_name["ModelService"].full_name
Cost = Literal["quick", "heavy", "live", "stream", "admin"]
"""What a method costs: a read of some rows, arithmetic over many, the live model, a long answer, or a change.
Calls of each kind are bounded by themselves, so that none takes the place of another."""
_COSTS: Final[dict[str, Cost]] = {
    "AggregateForecast": "heavy",
    "ListSurges": "heavy",
    "SimulateScenario": "live",
    "ForecastNewSeries": "live",
}


@dataclass(frozen=True, kw_only=True)
class Method:
    """A method: its answer to a request, or (`stream`) the pieces of it.

    role: who may call it where access is controlled.
    """

    service: str
    name: str
    answer: Callable[[bytes, Call], bytes] | None = None
    stream: Callable[[bytes, Call], Iterator[bytes]] | None = None
    role: Role = "planner"

    @property
    def path(self) -> str:
        """As it stands in a call."""
        return f"/{self.service}/{self.name}"

    @property
    def cost(self) -> Cost:
        """Whose bound its calls count for."""
        if self.role != "planner":
            return "admin"
        return "stream" if self.stream is not None else _COSTS.get(self.name, "quick")


def all_methods(store: SnapshotStore, engine: LiveEngine) -> list[Method]:
    """Every method that a server answers."""
    forecasts, models, live = ForecastAnswers(store), ModelAnswers(store), LiveAnswers(engine)
    aggregates, surges, events = AggregateAnswers(store), SurgeAnswers(store), EventAnswers(store)
    exports = ExportAnswers(store)
    return [
        Method(service=FORECASTS, name="GetForecast", answer=forecasts.get_forecast),
        Method(service=FORECASTS, name="BatchGetForecasts", answer=forecasts.batch_get_forecasts),
        Method(service=FORECASTS, name="ListSeries", answer=forecasts.list_series),
        Method(service=FORECASTS, name="SimulateScenario", answer=live.simulate_scenario),
        Method(service=FORECASTS, name="ForecastNewSeries", answer=live.forecast_new_series),
        Method(service=FORECASTS, name="AggregateForecast", answer=aggregates.aggregate_forecast),
        Method(service=FORECASTS, name="ListSurges", answer=surges.list_surges),
        Method(service=FORECASTS, name="ListEvents", answer=events.list_events),
        Method(service=FORECASTS, name="ExportForecasts", stream=exports.export_forecasts),
        Method(service=MODELS, name="GetServingModel", answer=models.get_serving_model),
        Method(service=MODELS, name="ListModels", answer=models.list_models),
        Method(service=MODELS, name="Reload", answer=models.reload, role="admin"),
        Method(service=MODELS, name="Rollback", answer=models.rollback, role="admin"),
    ]
