"""The fan of a forecast as a picture."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
from matplotlib.figure import Figure
from matplotlib.font_manager import get_font_names
from matplotlib.text import Text

from forecast.errors import InputError
from serving.client import EventSpan, SeriesForecast
from serving.report import time_text

_MORE_FONTS = (
    "Noto Sans CJK SC",
    "Source Han Sans SC",
    "WenQuanYi Micro Hei",
    "PingFang SC",
    "Microsoft YaHei",
    "SimHei",
)
"""Asked for characters that DejaVu Sans lacks, where they are installed."""

_INK = "#1f2933"
_GREY = "#7b8794"
_BLUE = "#1d6fd1"
_RED = "#d64545"
_TINT = {"day": "#f7c6c0", "pre-sale": "#fde8c8", "warm-up": "#fdf1d8", "after": "#e4e9ee"}


def save_fan(forecast: SeriesForecast, path: Path) -> bool:
    """Write a PNG of history, median, mean, 80 and 95 % bands and events; InputError when that cannot be.

    Returns whether every character could be drawn: names may be in a script that no installed font has.
    """
    installed = set(get_font_names())
    fonts = ["DejaVu Sans", *(name for name in _MORE_FONTS if name in installed)]
    with (
        rc_context({"font.family": fonts, "text.parse_math": False}),
        warnings.catch_warnings(record=True) as caught,
    ):
        warnings.filterwarnings("always", message="Glyph .* missing from font")
        _save(forecast, path)
    return not caught


def _save(forecast: SeriesForecast, path: Path) -> None:
    figure = Figure(figsize=(11, 5.2), dpi=140, layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    shown = min(len(forecast.history), max(3 * len(forecast.times), 28))
    first = len(forecast.history) - shown
    times, history = forecast.history_times[first:], forecast.history[first:]
    left = times[0] if shown else forecast.source.origin
    _style(axes)
    axes.plot(_days(times), history, color=_INK, linewidth=1.3, label="observed demand")
    _draw_fan(axes, forecast)
    right = forecast.times[-1] + forecast.source.step
    axes.set_xlim(_days(left), _days(right))
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
        labelcolor=_INK,
    )
    _keep_inside(figure, axes, names)
    try:
        figure.savefig(path, bbox_inches="tight", pad_inches=0.2)
    except OSError as error:
        raise InputError(
            str(path), expected="a file to write to", found=error.strerror or str(error)
        ) from error


def _days(times: object) -> Any:
    """Times as matplotlib counts them: days since 1970."""
    return np.asarray(times).astype("datetime64[s]").astype(np.float64) / 86_400


def _period(step: np.timedelta64) -> str:
    days = step / np.timedelta64(1, "D")
    return {7.0: "week", 1.0: "day"}.get(float(days), "hour")


def _style(axes: Axes) -> None:
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.spines["bottom"].set_color(_GREY)
    axes.tick_params(colors=_GREY, labelcolor=_INK, length=0)
    axes.grid(axis="y", color="#e4e7eb", linewidth=0.8)
    axes.set_axisbelow(True)
    locator = AutoDateLocator(minticks=5, maxticks=10)  # type: ignore[no-untyped-call]
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(ConciseDateFormatter(locator))  # type: ignore[no-untyped-call]


def _draw_fan(axes: Axes, forecast: SeriesForecast) -> None:
    source, q = forecast.source, forecast.quantile
    times = _days(forecast.times)
    axes.fill_between(times, q(0.025), q(0.975), color=_BLUE, alpha=0.16, linewidth=0, label="95 % band")
    axes.fill_between(times, q(0.1), q(0.9), color=_BLUE, alpha=0.32, linewidth=0, label="80 % band")
    axes.plot(times, q(0.5), color=_BLUE, linewidth=2.2, label="median")
    axes.plot(times, forecast.mean, color=_BLUE, linewidth=1.2, linestyle=(0, (2, 2)), label="mean")
    middle = source.origin + source.step / 2
    axes.axvline(_days(middle), color=_GREY, linewidth=1, linestyle=(0, (4, 3)))


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
        colour = _TINT.get(event.phase, _TINT["after"])
        axes.axvspan(_days(start), _days(end), color=colour, alpha=0.55, linewidth=0, zorder=0, label=label)
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
            _days(middle),
            0.985 - 0.055 * level,
            event.name,
            transform=axes.get_xaxis_transform(),
            ha="center",
            va="top",
            fontsize=8.5,
            color=_RED,
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
    axes.plot([_days(time)], [mean], marker="o", markersize=6, color=_RED, zorder=5)
    axes.annotate(
        f"{time_text(time, weekday=True)}\n{mean:,.3g} expected\n80 %: {low:,.3g} – {high:,.3g}",
        (_days(time), mean),
        xytext=(10 if peak < len(forecast.times) * 0.6 else -10, 14),
        textcoords="offset points",
        ha="left" if peak < len(forecast.times) * 0.6 else "right",
        fontsize=9,
        color=_RED,
        bbox={"boxstyle": "round,pad=0.25", "facecolor": "white", "edgecolor": "none", "alpha": 0.8},
        zorder=6,
    )


def _titles(axes: Axes, forecast: SeriesForecast) -> None:
    key, source = forecast.key, forecast.source
    axes.set_title(
        f"{key.item} · {key.location} · {key.platform}",
        loc="left",
        fontsize=14,
        color=_INK,
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
        color=_GREY,
    )
