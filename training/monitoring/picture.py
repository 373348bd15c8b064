"""Accuracy over time as a picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from forecast.evaluation.metrics import COVERAGES
from forecast.evaluation.plots.style import (
    ACCENT,
    COLOURS,
    EVENT,
    FAN,
    MUTED,
    date_axis,
    day,
    new_figure,
    styled_axes,
)
from training.monitoring.tally import BANDS


@dataclass(frozen=True, order=True)
class EventDays:
    """A surge in the calendar: from, up to and its name."""

    start: np.datetime64
    end: np.datetime64
    name: str


def latest_of_each_origin(rows: pl.DataFrame) -> pl.DataFrame:
    """One row an origin: of the snapshot that was made last."""
    return rows.sort("origin", "created").unique("origin", keep="last", maintain_order=True)


def plot_over_time(rows: pl.DataFrame, events: Sequence[EventDays]) -> Figure:
    """WQL of what was published, of the seasonal naive, and the share of the truth in the bands, by origin.

    rows: one a snapshot, over all series. An open circle: part of the horizon is not known yet.
    """
    figure = new_figure(10, 6.4)
    above, below = styled_axes(figure, 2, 1)
    above.sharex(below)
    rows = latest_of_each_origin(rows)
    _line(above, rows, "naive_wql", MUTED, "seasonal naive")
    _line(above, rows, "wql", FAN, "published forecasts")
    above.set(ylabel="WQL (lower is better)", ylim=(0, None))
    above.set_title("Published forecasts against what came true, by origin", loc="left")
    colours = (ACCENT, COLOURS[3], COLOURS[4])
    for band, share, colour in zip(BANDS, COVERAGES, colours, strict=True):
        _line(below, rows, f"coverage_{band}", colour, f"{band} % band")
        below.axhline(share, color=colour, lw=0.9, ls=(0, (4, 3)))
    below.set(ylabel="truth in the band", ylim=(0, 1.02), xlabel="last period that the forecast had seen")
    below.yaxis.set_major_formatter(PercentFormatter(1.0))
    _mark(above, below, events, rows["last"].to_numpy().max())
    date_axis(below)
    figure.legend(loc="outside lower center", ncols=5, frameon=False)
    return figure


def _line(axes: Axes, rows: pl.DataFrame, name: str, colour: str, label: str) -> None:
    """A line with a circle for each origin, open where part of the horizon is not known yet."""
    x, y = rows["origin"].to_numpy(), rows[name].cast(pl.Float64).to_numpy()
    whole = rows["periods"].to_numpy() >= rows["horizon"].to_numpy()
    axes.plot(x, y, color=colour, lw=1.6, label=label)
    axes.scatter(
        x, y, s=22, color=colour, facecolors=[colour if full else "white" for full in whole], zorder=3
    )


def _mark(above: Axes, below: Axes, events: Sequence[EventDays], last: np.datetime64) -> None:
    """Shade the days of events up to the last known period, and name them above."""
    low, high = below.get_xlim()
    high = max(high, day(last) + 0.02 * (day(last) - low))
    for event in events:
        start, end = day(event.start), day(event.end)
        if end < low or start > high:
            continue
        for axes in (above, below):
            axes.axvspan(start, end, color=EVENT, alpha=0.25, lw=0)
        above.text(
            max(start, low),
            0.97,
            event.name,
            transform=above.get_xaxis_transform(),
            rotation=90,
            va="top",
            ha="left",  # inside, so that it never lies over the axis
            fontsize=7,
            color=MUTED,
            clip_on=True,
        )
    below.set_xlim(low, high)
