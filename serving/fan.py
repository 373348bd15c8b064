"""The fan of a forecast drawn with characters: readable without colour, nicer with it.

●  history    ━  median    ▓  80 % band    ░  95 % band    ┊  the origin    ★  an event's days
"""

from __future__ import annotations

import numpy as np
from rich.text import Text

from forecast.forecasts import Floats
from serving.client import SeriesForecast

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
}


def draw_fan(forecast: SeriesForecast, *, width: int = WIDTH, colour: bool = True) -> Text:
    """Draw the last periods of history and the horizon.

    `width` columns of plot at most (at least one for each period ahead) and `HEIGHT` rows.
    """
    horizon = len(forecast.times)
    columns = max(1, min(3, width // (2 * horizon)))  # characters given to a period
    n_history = max(0, min(len(forecast.history), width // columns - horizon - 1, 2 * horizon))
    history = forecast.history[len(forecast.history) - n_history :]
    bands = [forecast.quantile(level) for level in (0.025, 0.1, 0.5, 0.9, 0.975)]
    top = _nice(float(np.nanmax(np.concatenate([history, bands[4], forecast.mean]), initial=0.0)))
    grid = np.full((HEIGHT, (n_history + 1 + horizon) * columns), " ")
    _paint_history(grid, history, top, columns)
    grid[:, n_history * columns + columns // 2] = "┊"
    for h in range(horizon):
        left = (n_history + 1 + h) * columns
        _paint_period(grid[:, left : left + columns], [band[h] for band in bands], top)
    times = np.concatenate([forecast.history_times[len(forecast.history) - n_history :], forecast.times])
    lines = [_marks(forecast, times, n_history, columns)]
    lines += [f"{_axis(row, top):>8} ┤{''.join(cells)}" for row, cells in enumerate(grid)]
    lines += [f"{'':>8} └{'─' * grid.shape[1]}", _dates(times, n_history, columns)]
    lines.append(f"{'':>8}  ● history  ━ median  ▓ 80 % band  ░ 95 % band  ★ event  · around an event")
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
    return f"{top * (1 - row / (HEIGHT - 1)):,.3g}" if row % 3 == 0 else ""


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
    forecast: SeriesForecast,
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
