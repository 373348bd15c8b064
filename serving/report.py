"""A forecast for the eyes of a planner at a terminal, and as JSON."""

from __future__ import annotations

from typing import Final

import numpy as np
from rich.markup import escape

from forecast.cli.output import Cell, console, print_table
from serving.client import EventSpan, ModelFacts, SeriesForecast
from serving.fan import MARGIN, WIDTH, draw_fan

NO_HISTORY: Final = (
    "history: none; forecast from its item elsewhere, its location, its labels and what is known ahead"
)


def time_text(time: np.datetime64, *, weekday: bool = False) -> str:
    """A period as people write it: the day, with the hour when it is not midnight."""
    moment = time.astype("datetime64[s]").item()
    text = f"{moment:%Y-%m-%d}" if moment.hour == 0 else f"{moment:%Y-%m-%d %H:%M}"
    return f"{moment:%a} {text}" if weekday else text


def event_mark(events: list[EventSpan]) -> str:
    """The events of one period in a few words: a star for their days, else the phase."""
    return ", ".join(f"{'★' if event.phase == 'day' else event.phase} {event.name}" for event in events)


def events_at(forecast: SeriesForecast, time: np.datetime64) -> list[EventSpan]:
    """The events that a period falls into."""
    return [event for event in forecast.events if event.start <= time < event.end]


def print_report(forecast: SeriesForecast) -> None:
    """Print the table and draw the fan below it."""
    key = forecast.key
    q = forecast.quantile
    bands = (q(0.1), q(0.9), q(0.025), q(0.975))
    rows: list[tuple[Cell, ...]] = []
    for h, time in enumerate(forecast.times):
        low80, high80, low95, high95 = (f"{band[h]:.4g}" for band in bands)
        rows.append(
            (
                time_text(time, weekday=True),
                f"{forecast.mean[h]:.4g}",
                f"{q(0.5)[h]:.4g}",
                f"{low80} – {high80}",
                f"{low95} – {high95}",
                event_mark(events_at(forecast, time)),
            )
        )
    title = f"{key.item} at {key.location} on {key.platform}: demand, units per period"
    print_table(("period", "mean", "median", "80 % band", "95 % band", "events"), rows, title=escape(title))
    screen = console()
    if forecast.no_history:
        screen.print(NO_HISTORY, style="bold", highlight=False)
    width = min(WIDTH, screen.width - MARGIN)
    screen.print(draw_fan(forecast, width=width, colour=screen.is_terminal), highlight=False)
    screen.print(about_source(forecast.source), style="dim", markup=False)


def about_source(source: ModelFacts) -> str:
    """Where an answer comes from, in a line."""
    return f"origin {time_text(source.origin)}, model {source.model_version}, snapshot {source.snapshot}"


def source_dict(source: ModelFacts) -> dict[str, object]:
    """Where an answer comes from, for `--json`."""
    return {
        "model_version": source.model_version,
        "snapshot": source.snapshot,
        "origin": str(source.origin),
        "period_seconds": int(source.step // np.timedelta64(1, "s")),
    }


def as_dict(forecast: SeriesForecast) -> dict[str, object]:
    """Everything about a forecast, for `--json`. Times are ISO 8601 without a zone."""
    return {
        "item": forecast.key.item,
        "location": forecast.key.location,
        "platform": forecast.key.platform,
        **source_dict(forecast.source),
        "levels": forecast.levels,
        "times": [str(time) for time in forecast.times],
        "mean": forecast.mean,
        "quantiles": forecast.quantiles,
        "history_times": [str(time) for time in forecast.history_times],
        "history": forecast.history,
        "no_history": forecast.no_history,
        "events": [
            {
                "name": event.name,
                "kind": event.kind,
                "phase": event.phase,
                "start": str(event.start),
                "end": str(event.end),
                "intensity": event.intensity,
            }
            for event in forecast.events
        ],
    }
