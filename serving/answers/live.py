"""What-ifs and new series, answered by the live model."""

from __future__ import annotations

from dataclasses import dataclass

from surgecast.v1 import forecast_pb2

from serving import wire
from serving.answers.live_requests import checked_changes, checked_new_series, checked_series
from serving.call import Call
from serving.checks import check_horizon, parse
from serving.live.engine import LiveEngine


@dataclass(frozen=True)
class LiveAnswers:
    """Answers of the live model. Each comes whole from one snapshot's model and names that snapshot."""

    engine: LiveEngine

    def simulate_scenario(self, content: bytes, call: Call) -> bytes:
        """`SimulateScenario`: forecasts as things are, and with the changes."""
        request = parse(forecast_pb2.SimulateScenarioRequest, content)
        live = self.engine.current
        horizon = check_horizon(request, live.model.horizon)
        series = checked_series(request, live)
        changes = checked_changes(request, live, series)
        from forecast.planning.whatif import what_if

        answer = live.ask(what_if(live.model, series, changes), call)
        keys = [live.served.keys[row] for row in series]
        both = (slice(None, len(series)), slice(len(series), None))
        baselines, changed = (
            wire.encode_forecasts(
                tag, keys, answer.mean_RH[rows, :horizon], answer.quantiles_RHQ[rows, :horizon]
            )
            for tag, rows in zip((wire.BASELINE, wire.CHANGED), both, strict=True)
        )
        pairs = (wire.field(wire.PAIR, one + other) for one, other in zip(baselines, changed, strict=True))
        return b"".join((live.served.head(horizon), *pairs))

    def forecast_new_series(self, content: bytes, call: Call) -> bytes:
        """`ForecastNewSeries`: a series without history, from what it is."""
        request = parse(forecast_pb2.ForecastNewSeriesRequest, content)
        live = self.engine.current
        horizon = check_horizon(request, live.model.horizon)
        new = checked_new_series(request, live, horizon)
        answer = live.ask(live.new.row(new), call)
        forecast = wire.encode_forecasts(
            wire.ONE,
            [wire.encode_key(new.item, new.location, new.platform, no_history=True)],
            answer.mean_RH[:, :horizon],
            answer.quantiles_RHQ[:, :horizon],
        )
        return b"".join((live.served.head(horizon), *forecast))
