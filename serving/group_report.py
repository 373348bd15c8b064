"""Sums of groups and surges for the eyes of a planner at a terminal, and as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from rich.markup import escape

from forecast.cli.output import Cell, cell_text, console, print_table
from forecast.forecasts import Floats
from serving.bars import bar
from serving.client import AggregateForecast, EventSpan, GroupForecast, ModelFacts, Surge, Times
from serving.fan import MARGIN, WIDTH, draw_fan
from serving.report import about_source, source_dict, time_text


@dataclass(frozen=True)
class GroupFan:
    """The sums of a group as a fan: without history and events."""

    answer: AggregateForecast
    group: GroupForecast

    @property
    def times(self) -> Times:
        """Starts of the sums (T,)."""
        return self.answer.times

    @property
    def mean(self) -> Floats:
        """Expected demand (T,), units."""
        return self.group.mean

    @property
    def history_times(self) -> Times:
        """None."""
        return self.answer.times[:0]

    @property
    def history(self) -> Floats:
        """None."""
        return self.group.mean[:0]

    @property
    def events(self) -> tuple[EventSpan, ...]:
        """None."""
        return ()

    def quantile(self, level: float) -> Floats:
        """Demand (T,) at a level, units."""
        return self.answer.quantile(self.group, level)


def print_aggregate(answer: AggregateForecast) -> None:
    """Print a row for each group and sum; below, the fan of a single group, or bars of the groups' totals."""
    single = len(answer.times) == 1
    totals = [float(group.mean.sum()) for group in answer.groups]
    top = max(totals, default=0.0)
    rows: list[tuple[Cell, ...]] = []
    for group, total in zip(answer.groups, totals, strict=True):
        fan = GroupFan(answer, group)
        bands = [fan.quantile(level) for level in (0.5, 0.1, 0.9, 0.025, 0.975)]
        for t, (start, end) in enumerate(zip(answer.times, answer.ends, strict=True)):
            median, low80, high80, low95, high95 = (cell_text(float(band[t])) for band in bands)
            row: tuple[Cell, ...] = (*group.values, group.n_series, span_text(start, end, answer.source.step))
            row = (*row, float(group.mean[t]), median, f"{low80} – {high80}", f"{low95} – {high95}")
            rows.append((*row, bar(total, top)) if single else row)
    names = (*answer.by, "series", "when", "mean", "median", "80 % band", "95 % band")
    print_table((*names, "") if single else names, rows, title="Demand, units")
    screen = console()
    if len(answer.groups) == 1 and not single:
        fan = GroupFan(answer, answer.groups[0])
        width = min(WIDTH, screen.width - MARGIN)
        screen.print(draw_fan(fan, width=width, colour=screen.is_terminal), highlight=False)
    elif len(answer.groups) > 1 and not single:
        whole = span_text(answer.times[0], answer.ends[-1], answer.source.step)
        pairs = zip(answer.groups, totals, strict=True)
        ranked = sorted(pairs, key=lambda pair: -pair[1])
        summed: list[tuple[Cell, ...]] = [(*group.values, total, bar(total, top)) for group, total in ranked]
        print_table((*answer.by, "mean", ""), summed, title=f"{whole} in all, units")
    screen.print(about_source(answer.source), style="dim", markup=False)


def aggregate_dict(answer: AggregateForecast) -> dict[str, object]:
    """Everything about an aggregate, for `--json`. Times are ISO 8601 without a zone."""
    return source_dict(answer.source) | {
        "by": answer.by,
        "levels": answer.levels,
        "times": [str(time) for time in answer.times],
        "ends": [str(time) for time in answer.ends],
        "groups": [
            {
                "values": dict(zip(answer.by, group.values, strict=True)),
                "series": group.n_series,
                "mean": group.mean,
                "quantiles": group.quantiles,
            }
            for group in answer.groups
        ],
    }


def print_surges(surges: Sequence[Surge], by: Sequence[str], multiple: float) -> None:
    """Print a row for each surge, with a bar of its extra units."""
    names = tuple(by) or ("item", "location", "platform")
    top = max((surge.extra for surge in surges), default=0.0)
    rows: list[tuple[Cell, ...]] = [
        (
            *(surge.key if surge.key is not None else surge.values),
            surge.base,
            surge.extra,
            bar(surge.extra, top),
            len(surge.times),
            time_text(surge.peak_time, weekday=True),
            surge.peak,
            f"{surge.peak_probability:.0%}",
            surge.driver,
        )
        for surge in surges
    ]
    likely = f"P > {multiple:g} x base"
    columns = (*names, "base", "extra", "", "periods", "peak at", "peak", likely, "driver")
    print_table(columns, rows, title=escape("Surges, units: the most beyond the base first"))
    if surges:
        console().print(about_source(surges[0].source), style="dim", markup=False)


def surges_dict(surges: Sequence[Surge], by: Sequence[str]) -> dict[str, object]:
    """Everything about surges, for `--json`."""
    rows = []
    for surge in surges:
        names = surge.key._asdict() if surge.key is not None else dict(zip(by, surge.values, strict=True))
        rows.append(
            names
            | {
                "series": surge.n_series,
                "base": surge.base,
                "extra": surge.extra,
                "times": [str(time) for time in surge.times],
                "peak_at": str(surge.peak_time),
                "peak": surge.peak,
                "peak_probability": surge.peak_probability,
                "driver": surge.driver or None,
                "driver_kind": surge.driver_kind or None,
                "no_history": surge.no_history,
            }
        )
    source: ModelFacts | None = surges[0].source if surges else None
    return (source_dict(source) if source is not None else {}) | {"surges": rows}


def span_text(start: np.datetime64, end: np.datetime64, step: np.timedelta64) -> str:
    """A sum's time as people write it: its first period, and its last one where it has several."""
    last = end - step
    return time_text(start) if last <= start else f"{time_text(start)} – {time_text(last)}"
