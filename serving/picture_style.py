"""What all pictures for planners share: fonts, colours, axes and how they are written."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
from matplotlib.figure import Figure
from matplotlib.font_manager import get_font_names

from forecast.errors import InputError
from forecast.forecasts import Floats
from serving.client import Times

_MORE_FONTS = (
    "Noto Sans CJK SC",
    "Source Han Sans SC",
    "WenQuanYi Micro Hei",
    "PingFang SC",
    "Microsoft YaHei",
    "SimHei",
)
"""Asked for characters that DejaVu Sans lacks, where they are installed."""

INK = "#1f2933"
GREY = "#7b8794"
BLUE = "#1d6fd1"
RED = "#d64545"
TINT = {"day": "#f7c6c0", "pre-sale": "#fde8c8", "warm-up": "#fdf1d8", "after": "#e4e9ee"}


def save_picture(draw: Callable[[Figure], None], path: Path, size: tuple[float, float]) -> bool:
    """Write a PNG of what `draw` puts on a figure of `size` inches; InputError when that cannot be.

    Returns whether every character could be drawn: names may be in a script that no installed font has.
    """
    installed = set(get_font_names())
    fonts = ["DejaVu Sans", *(name for name in _MORE_FONTS if name in installed)]
    with (
        rc_context({"font.family": fonts, "text.parse_math": False}),
        warnings.catch_warnings(record=True) as caught,
    ):
        warnings.filterwarnings("always", message="Glyph .* missing from font")
        figure = Figure(figsize=size, dpi=140, layout="constrained", facecolor="white")
        FigureCanvasAgg(figure)
        draw(figure)
        try:
            figure.savefig(path, bbox_inches="tight", pad_inches=0.2)
        except OSError as error:
            found = error.strerror or str(error)
            raise InputError(str(path), expected="a file to write to", found=found) from error
    return not caught


def days(times: object) -> Any:
    """Times as matplotlib counts them: days since 1970."""
    return np.asarray(times).astype("datetime64[s]").astype(np.float64) / 86_400


def style_plain(axes: Axes) -> None:
    """Axes without a frame, with a light grid across."""
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.spines["bottom"].set_color(GREY)
    axes.tick_params(colors=GREY, labelcolor=INK, length=0)
    axes.grid(axis="y", color="#e4e7eb", linewidth=0.8)
    axes.set_axisbelow(True)


def style_time(axes: Axes) -> None:
    """Axes of demand over time."""
    style_plain(axes)
    locator = AutoDateLocator(minticks=5, maxticks=10)  # type: ignore[no-untyped-call]
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(ConciseDateFormatter(locator))  # type: ignore[no-untyped-call]


def draw_bands(axes: Axes, times: Times, quantile: Callable[[float], Floats], colour: str = BLUE) -> None:
    """The 95 and 80 % bands and the median over the starts of periods."""
    at = days(times)
    low, high = quantile(0.025), quantile(0.975)
    axes.fill_between(at, low, high, color=colour, alpha=0.16, linewidth=0, label="95 % band")
    low, high = quantile(0.1), quantile(0.9)
    axes.fill_between(at, low, high, color=colour, alpha=0.32, linewidth=0, label="80 % band")
    axes.plot(at, quantile(0.5), color=colour, linewidth=2.2, label="median")
