"""The fan of a forecast as a picture."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Text

from serving.client import EventSpan, SeriesForecast
from serving.picture_style import BLUE, GREY, INK, RED, TINT, days, draw_bands, save_picture, style_time
from serving.report import time_text


def save_fan(forecast: SeriesForecast, path: Path) -> bool:
    """Write a PNG of history, median, mean, 80 and 95 % bands and events; InputError when that cannot be.

    Returns whether every character could be drawn: names may be in a script that no installed font has.
    """
    return save_picture(lambda figure: _draw(figure, forecast), path, (11, 5.2))


def _draw(figure: Figure, forecast: SeriesForecast) -> None:
    axes = figure.add_subplot()
    shown = min(len(forecast.history), max(3 * len(forecast.times), 28))
    first = len(forecast.history) - shown
    times, history = forecast.history_times[first:], forecast.history[first:]
    left = times[0] if shown else forecast.source.origin
    style_time(axes)
    axes.plot(days(times), history, color=INK, linewidth=1.3, label="observed demand")
    _draw_fan(axes, forecast)
    right = forecast.times[-1] + forecast.source.step
    axes.set_xlim(days(left), days(right))
    top = (
        float(np.nanmax(np.concatenate([history, forecast.quantile(0.975), forecast.mean]), initial=0.0)) or 1
    )
    axes.set_ylim(0, top * 1.22)
    names = _draw_events(axes, forecast, left, right)
    _mark_peak(axes, forecast, top)
    _titles(axes, forecast)
    axes.legend(
        loc="upper left",
        bbox_to_anchor=(0, -0.08),
        ncols=9,
        frameon=False,
        fontsize=8.5,
        columnspacing=1.3,
        labelcolor=INK,
    )
    _keep_inside(figure, axes, names)


def _period(step: np.timedelta64) -> str:
    days = step / np.timedelta64(1, "D")
    return {7.0: "week", 1.0: "day"}.get(float(days), "hour")


def _draw_fan(axes: Axes, forecast: SeriesForecast) -> None:
    source = forecast.source
    draw_bands(axes, forecast.times, forecast.quantile)
    axes.plot(
        days(forecast.times), forecast.mean, color=BLUE, linewidth=1.2, linestyle=(0, (2, 2)), label="mean"
    )
    middle = source.origin + source.step / 2
    axes.axvline(days(middle), color=GREY, linewidth=1, linestyle=(0, (4, 3)))


def _draw_events(
    axes: Axes, forecast: SeriesForecast, left: np.datetime64, right: np.datetime64
) -> list[Text]:
    """Shade events, each from the middle of the period before to the middle of its last one; name
    their days. Returns the names.
    """
    half = forecast.source.step / 2
    shown = [event for event in forecast.events if event.end > left and event.start < right]
    named: list[EventSpan] = []
    labelled: set[str] = set()
    for event in shown:
        start, end = max(event.start - half, left), min(event.end - half, right)
        label = None if event.phase in labelled else {"day": "event"}.get(event.phase, event.phase)
        labelled.add(event.phase)
        colour = TINT.get(event.phase, TINT["after"])
        axes.axvspan(days(start), days(end), color=colour, alpha=0.55, linewidth=0, zorder=0, label=label)
        if event.phase == "day":
            named.append(event)
    level, free = 0, left
    names: list[Text] = []
    for event in sorted(named, key=lambda event: event.start):
        begin = max(event.start, left)
        level = (level + 1) % 3 if begin < free else 0
        free = begin + (right - left) // 7
        middle = begin + (min(event.end, right) - begin) / 2 - half
        name = axes.text(
            days(middle),
            0.985 - 0.055 * level,
            event.name,
            transform=axes.get_xaxis_transform(),
            ha="center",
            va="top",
            fontsize=8.5,
            color=RED,
            in_layout=False,
        )
        names.append(name)
    return names


def _keep_inside(figure: Figure, axes: Axes, names: list[Text]) -> None:
    """Shift names that reach out of the plot, over the numbers of its axis, to its edge."""
    figure.draw_without_rendering()
    plot = axes.get_window_extent()
    to_data = axes.transData.inverted()
    for name in names:
        box = name.get_window_extent()
        shift = max(plot.x0 - box.x0, 0) or min(plot.x1 - box.x1, 0)
        if shift:
            x, _ = to_data.transform(((box.x0 + box.x1) / 2 + shift, plot.y0))
            name.set_x(x)


def _mark_peak(axes: Axes, forecast: SeriesForecast, top: float) -> None:
    peak = int(np.argmax(forecast.mean))
    time, mean = forecast.times[peak], float(forecast.mean[peak])
    low, high = float(forecast.quantile(0.1)[peak]), float(forecast.quantile(0.9)[peak])
    axes.plot([days(time)], [mean], marker="o", markersize=6, color=RED, zorder=5)
    axes.annotate(
        f"{time_text(time, weekday=True)}\n{mean:,.3g} expected\n80 %: {low:,.3g} – {high:,.3g}",
        (days(time), mean),
        xytext=(10 if peak < len(forecast.times) * 0.6 else -10, 14),
        textcoords="offset points",
        ha="left" if peak < len(forecast.times) * 0.6 else "right",
        fontsize=9,
        color=RED,
        bbox={"boxstyle": "round,pad=0.25", "facecolor": "white", "edgecolor": "none", "alpha": 0.8},
        zorder=6,
    )


def _titles(axes: Axes, forecast: SeriesForecast) -> None:
    key, source = forecast.key, forecast.source
    axes.set_title(
        f"{key.item} · {key.location} · {key.platform}",
        loc="left",
        fontsize=14,
        color=INK,
        pad=24,
        weight="bold",
    )
    about = f"origin {str(source.origin)[:10]}   model {source.model_version}   snapshot {source.snapshot}"
    axes.text(
        0,
        1.03,
        f"demand, units per {_period(source.step)}     {about}",
        transform=axes.transAxes,
        fontsize=9,
        color=GREY,
    )
