"""The fan of a forecast drawn with characters: readable without colour, nicer with it.

●  history    ━  median    ▓  80 % band    ░  95 % band    ┊  the origin    ★  an event's days
○  the median as things are, beside that of a what-if
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
from rich.text import Text

from forecast.forecasts import Floats
from serving.client import EventSpan, Times

WIDTH = 92
HEIGHT = 16
MARGIN = 10
"""Columns left of the plot."""
_STYLES = {
    "●": "bold",
    "━": "bold bright_yellow",
    "▓": "dodger_blue1",
    "░": "dodger_blue3",
    "┊": "bright_black",
    "★": "bold bright_red",
    "·": "red",
    "○": "bold bright_green",
}


class Fan(Protocol):
    """What is drawn: a forecast of H periods after N of history (which may be none)."""

    @property
    def times(self) -> Times:
        """Starts of the periods ahead (H,)."""

    @property
    def mean(self) -> Floats:
        """Expected demand (H,), units."""

    @property
    def history_times(self) -> Times:
        """Starts of the periods of history (N,)."""

    @property
    def history(self) -> Floats:
        """Observed demand (N,), units; NaN where missing."""

    @property
    def events(self) -> tuple[EventSpan, ...]:
        """What happens in these periods."""

    def quantile(self, level: float) -> Floats:
        """Demand (H,) at a level, units."""


def draw_fan(forecast: Fan, *, beside: Fan | None = None, width: int = WIDTH, colour: bool = True) -> Text:
    """Draw the last periods of history and the horizon; the median of `beside` too, a forecast of the same
    periods.

    `width` columns of plot at most (at least one for each period ahead) and `HEIGHT` rows.
    """
    horizon = len(forecast.times)
    columns = max(1, min(3, width // (2 * horizon)))  # characters given to a period
    n_history = max(0, min(len(forecast.history), width // columns - horizon - 1, 2 * horizon))
    history = forecast.history[len(forecast.history) - n_history :]
    bands = [forecast.quantile(level) for level in (0.025, 0.1, 0.5, 0.9, 0.975)]
    before = beside.quantile(0.5) if beside is not None else bands[4][:0]
    top = _nice(float(np.nanmax(np.concatenate([history, bands[4], forecast.mean, before]), initial=0.0)))
    grid = np.full((HEIGHT, (n_history + 1 + horizon) * columns), " ")
    _paint_history(grid, history, top, columns)
    grid[:, n_history * columns + columns // 2] = "┊"
    for h in range(horizon):
        left = (n_history + 1 + h) * columns
        _paint_period(grid[:, left : left + columns], [band[h] for band in bands], top)
        if beside is not None:
            grid[_row(float(before[h]), top), left + columns // 2] = "○"
    times = np.concatenate([forecast.history_times[len(forecast.history) - n_history :], forecast.times])
    lines = [_marks(forecast, times, n_history, columns)]
    lines += [f"{_axis(row, top):>8} ┤{''.join(cells)}" for row, cells in enumerate(grid)]
    lines += [f"{'':>8} └{'─' * grid.shape[1]}", _dates(times, n_history, columns)]
    legend = [
        "● history" if n_history else "",
        "○ median as things are" if beside is not None else "",
        "━ median  ▓ 80 % band  ░ 95 % band",
        "★ event  · around an event" if forecast.events else "",
    ]
    lines.append(f"{'':>8}  {'  '.join(part for part in legend if part)}")
    text = Text("\n".join(lines), no_wrap=True)
    if colour:
        for character, style in _STYLES.items():
            text.highlight_regex(f"{character}+", style)
    return text


def _nice(value: float) -> float:
    """The next round number above a value, for the top of the axis."""
    if value <= 0:
        return 1.0
    unit = 10.0 ** np.floor(np.log10(value))
    return float(next(step * unit for step in (1, 1.5, 2, 3, 4, 5, 6, 8, 10) if step * unit >= value))


def _row(value: float, top: float) -> int:
    """The row of the grid that a value falls into; row 0 is the top."""
    return int(np.clip(round((1 - value / top) * (HEIGHT - 1)), 0, HEIGHT - 1))


def _axis(row: int, top: float) -> str:
    value = top * (1 - row / (HEIGHT - 1))
    if row % 3:
        return ""
    if value >= 1e6:
        return f"{value / 1e6:,.3g}M"
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _paint_history(
    grid: np.ndarray[tuple[int, int], np.dtype[np.str_]], history: Floats, top: float, columns: int
) -> None:
    for position, value in enumerate(history.tolist()):
        if not np.isnan(value):
            grid[_row(value, top), position * columns + columns // 2] = "●"


def _paint_period(
    cells: np.ndarray[tuple[int, int], np.dtype[np.str_]], values: list[np.float32], top: float
) -> None:
    low95, low80, median, high80, high95 = (_row(float(value), top) for value in values)
    cells[high95 : low95 + 1] = "░"
    cells[high80 : low80 + 1] = "▓"
    cells[median] = "━"


def _marks(
    forecast: Fan,
    times: np.ndarray[tuple[int], np.dtype[np.datetime64]],
    n_history: int,
    columns: int,
) -> str:
    """The line above the plot: a star over each period of an event, a dot over those around it."""
    cells = []
    for position, time in enumerate(times):
        if position == n_history:
            cells.append(" " * columns)
        phases = {event.phase for event in forecast.events if event.start <= time < event.end}
        mark = "★" if "day" in phases else "·" if phases else " "
        cells.append(mark.rjust(columns // 2 + 1).ljust(columns))
    return f"{'':>8}  {''.join(cells)}".rstrip()


def _dates(times: np.ndarray[tuple[int], np.dtype[np.datetime64]], n_history: int, columns: int) -> str:
    """The line below the plot: dates where there is room for them."""
    line = [" "] * ((len(times) + 1) * columns + 8)
    free = 0
    for position, time in enumerate(times):
        left = (position + (position >= n_history)) * columns
        is_origin = position == n_history
        room_before_origin = position > n_history or left + 7 <= n_history * columns
        if is_origin or (left >= free and room_before_origin):
            moment = time.astype("datetime64[s]").item()
            label = f"{moment:%m-%d}"
            line[left : left + len(label)] = label
            free = left + 12
    return f"{'':>8}  {''.join(line)}".rstrip()
