"""The house's style of pictures: colours, axes without boxes, dates, events.

Figures are drawn without a display.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
from matplotlib.figure import Figure

from forecast.demand.panel import STEP, Panel

INK: Final[str] = "#1f2933"
MUTED: Final[str] = "#7b8794"
GRID: Final[str] = "#e4e7eb"
ACCENT: Final[str] = "#d1495b"
EVENT: Final[str] = "#edae49"
FAN: Final[str] = "#2a6f97"
COLOURS: Final[tuple[str, ...]] = ("#2a6f97", "#d1495b", "#edae49", "#66a182", "#7d5ba6", "#8d99ae")
BANDS: Final[tuple[tuple[float, float], ...]] = ((0.95, 0.15), (0.8, 0.22), (0.5, 0.34))
"""Central band and how strongly it is painted."""


def new_figure(width: float, height: float) -> Figure:
    """An empty figure, in inches, that lays itself out and needs no display."""
    figure = Figure(figsize=(width, height), dpi=120, layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    return figure


def styled_axes(figure: Figure, n_rows: int, n_columns: int) -> list[Axes]:
    """Axes in the house's style: no box, quiet grid, small labels."""
    grid: list[Axes] = list(figure.subplots(n_rows, n_columns, squeeze=False).ravel())
    for axes in grid:
        for side in ("top", "right"):
            axes.spines[side].set_visible(False)
        for side in ("left", "bottom"):
            axes.spines[side].set_color(GRID)
        axes.grid(visible=True, axis="y", color=GRID, lw=0.8)
        axes.set_axisbelow(True)
        axes.tick_params(colors=MUTED, labelsize=8.5, length=0)
        axes.xaxis.label.set_color(MUTED)
        axes.yaxis.label.set_color(MUTED)
        axes.title.set_color(INK)
    return grid


def colours(n: int) -> list[str]:
    """Of n forecasters, the same in every picture."""
    return [COLOURS[i % len(COLOURS)] for i in range(n)]


def part_colours(n: int) -> list[str]:
    """Of weekday, season, the known features, event (as events are marked) and stock-out: the same in every
    picture."""
    weekday, feature, event, season, stock, other = COLOURS
    features = (feature, other, "#5fb3b3", "#b56576", "#a98467", "#3d405b")
    return [weekday, season, *(features[i % len(features)] for i in range(n - 4)), event, stock]


def date_axis(axes: Axes) -> None:
    """Few, short dates along x."""
    locator = AutoDateLocator(minticks=4, maxticks=10)  # type: ignore[no-untyped-call]
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(ConciseDateFormatter(locator))  # type: ignore[no-untyped-call]


def day(time: np.datetime64) -> float:
    """A time as matplotlib counts it, in days since 1970."""
    return float(time.astype("datetime64[s]").astype(np.int64)) / 86_400


def mark_events(axes: Axes, panel: Panel, row: int, first: int, n_periods: int) -> None:
    """Shade the periods of a series' events and name each stretch of them once, at its left."""
    kinds = np.array([name.split("/")[0] for name in panel.events.names])
    on_LE = panel.events.intensity_GLE[panel.events.group_S[row], first : first + n_periods] > 0
    on = np.flatnonzero(on_LE.any(axis=1))
    half = 0.5 * float(STEP[panel.period].astype(np.int64)) / 86_400
    for run in np.split(on, np.flatnonzero(np.diff(on) > 1) + 1) if len(on) else []:
        start, end = day(panel.time(first + int(run[0]))), day(panel.time(first + int(run[-1])))
        names = dict.fromkeys(str(kind) for period in run for kind in kinds[on_LE[period]])
        axes.axvspan(start - half, end + half, color=EVENT, alpha=0.25, lw=0)
        axes.text(
            start - half,
            0.97,
            "\n".join(names),
            transform=axes.get_xaxis_transform(),
            rotation=90,
            va="top",
            ha="left",  # inside, so that it never lies over the axis
            clip_on=True,
            fontsize=7,
            linespacing=1.05,
            color=MUTED,
        )
