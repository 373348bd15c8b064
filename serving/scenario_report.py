"""What a what-if changes, for the eyes of a planner at a terminal, and as JSON."""

from __future__ import annotations

from rich.markup import escape

from forecast.cli.output import Cell, cell_text, console, print_table
from serving.client import ScenarioForecast
from serving.fan import MARGIN, WIDTH, draw_fan
from serving.report import about_source, as_dict, event_mark, events_at, time_text


def print_scenario(pair: ScenarioForecast) -> None:
    """Print both forecasts side by side, and draw the changed one below with the median as things are."""
    before, after = pair.baseline, pair.changed
    low, high = after.quantile(0.1), after.quantile(0.9)
    rows: list[tuple[Cell, ...]] = [
        (
            time_text(time, weekday=True),
            float(before.mean[h]),
            float(after.mean[h]),
            _signed(float(after.mean[h] - before.mean[h])),
            f"{cell_text(float(low[h]))} – {cell_text(float(high[h]))}",
            event_mark(events_at(after, time)),
        )
        for h, time in enumerate(after.times)
    ]
    key = after.key
    title = f"{key.item} at {key.location} on {key.platform}: demand, units per period"
    columns = ("period", "as things are", "changed", "difference", "80 % band, changed", "events")
    print_table(columns, rows, title=escape(title))
    screen = console()
    total, was = float(after.mean.sum()), float(before.mean.sum())
    share = f" ({total / was - 1:+.1%})" if was > 0 else ""
    summed = f"in all: {cell_text(was)} units as things are, {cell_text(total)} changed,"
    summed += f" {_signed(total - was)}{share}"
    screen.print(summed, style="bold", highlight=False)
    width = min(WIDTH, screen.width - MARGIN)
    picture = draw_fan(after, beside=before, width=width, colour=screen.is_terminal)
    screen.print(picture, highlight=False)
    screen.print(about_source(after.source), style="dim", markup=False)


def scenario_dict(pair: ScenarioForecast) -> dict[str, object]:
    """Both forecasts as `query --json` prints one, and the difference of their means."""
    return {
        "baseline": as_dict(pair.baseline),
        "changed": as_dict(pair.changed),
        "difference": pair.changed.mean - pair.baseline.mean,
    }


def _signed(value: float) -> str:
    return f"{'+' if value > 0 else ''}{cell_text(value)}"
