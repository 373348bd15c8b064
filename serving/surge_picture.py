"""Surges as a picture: a bar of extra units for each, and beside it when it is."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import StrMethodFormatter

from serving.client import Surge, Times
from serving.picture_style import BLUE, GREY, INK, RED, days, save_picture, style_plain, style_time
from serving.report import about_source, time_text

ROWS: Final = 40
"""Surges with a bar at most; the largest ones."""
COLOURS: Final = (RED, BLUE, "#d9822b", "#2f9e8f", "#8250c4")
"""Of events, in the order of their largest surge."""
OTHER: Final = "#9aa5b1"
"""Of surges without an event, and of events beyond those."""
_ROW: Final = "#f1f4f7"
_HEIGHT: Final = 0.56


def save_surges(surges: Sequence[Surge], about: str, path: Path) -> bool:
    """Write a PNG of surges, the largest first; `about` says which ones they are. InputError when that cannot
    be.

    Returns whether every character could be drawn: names may be in a script that no installed font has.
    """
    shown = surges[:ROWS]
    size = (13, 1.9 + 0.46 * len(shown))
    return save_picture(lambda figure: _draw(figure, shown, len(surges), about), path, size)


def _draw(figure: Figure, shown: Sequence[Surge], n_all: int, about: str) -> None:
    rest = f", the largest {len(shown)} of {n_all}" if len(shown) < n_all else ""
    title = f"Surges{rest}: units beyond the base\n\n"
    figure.suptitle(title, x=0.01, ha="left", fontsize=13, color=INK, weight="bold")
    source = f"{about}     {about_source(shown[0].source)}"
    figure.text(0.012, 0.99, f"\n\n{source}", ha="left", va="top", fontsize=9, color=GREY)
    bars, calendar = figure.subplots(1, 2, sharey=True, width_ratios=(3, 2))
    names = list(dict.fromkeys(surge.driver for surge in shown if surge.driver))
    colours = dict(zip(names, COLOURS, strict=False))
    painted = [colours.get(surge.driver, OTHER) for surge in shown]
    _draw_bars(bars, shown, painted)
    _draw_calendar(calendar, shown, painted)
    bars.set_ylim(len(shown) - 0.5, -0.5)
    handles = [Patch(color=colour, label=name) for name, colour in colours.items()]
    if OTHER in painted:
        label = "other events, or none" if len(names) > len(colours) else "no event"
        handles.append(Patch(color=OTHER, label=label))
    figure.legend(
        handles=handles, loc="outside lower left", ncols=4, frameon=False, fontsize=8.5, labelcolor=INK
    )


def _draw_bars(axes: Axes, shown: Sequence[Surge], painted: list[str]) -> None:
    style_plain(axes)
    axes.grid(visible=False, axis="y")
    axes.grid(axis="x", color="#e4e7eb", linewidth=0.8)
    extra = [surge.extra for surge in shown]
    top = max(extra) or 1.0
    axes.barh(range(len(shown)), extra, height=_HEIGHT, color=painted)
    axes.set_xlim(0, 1.14 * top)
    axes.set_yticks([])
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:,.10g}"))
    axes.set_title("extra units", loc="left", fontsize=9.5, color=INK)
    beside = axes.get_yaxis_transform()
    for row, surge in enumerate(shown):
        name = _short(" · ".join(surge.key if surge.key is not None else surge.values), 64)
        for text, at, size, colour in ((name, row - 0.17, 9.5, INK), (_details(surge), row + 0.2, 8, GREY)):
            placed = axes.text(-0.012, at, text, transform=beside, ha="right", va="center")
            placed.set(fontsize=size, color=colour)
        axes.text(
            surge.extra + 0.01 * top, row, f"+{_units(surge.extra)}", va="center", fontsize=9, color=INK
        )


def _draw_calendar(axes: Axes, shown: Sequence[Surge], painted: list[str]) -> None:
    """The periods of each surge on a line of its own, its peak in full colour."""
    style_time(axes)
    axes.grid(visible=False, axis="y")
    step = shown[0].source.step
    for row, (surge, colour) in enumerate(zip(shown, painted, strict=True)):
        axes.axhspan(row - _HEIGHT / 2, row + _HEIGHT / 2, color=_ROW, linewidth=0, zorder=0)
        spans = [(first, last, 0.4) for first, last in _runs(surge.times, step)]
        for first, last, alpha in (*spans, (surge.peak_time, surge.peak_time, 1.0)):
            start, end = days(first), days(last + step)
            axes.barh(row, end - start, left=start, height=_HEIGHT, color=colour, alpha=alpha, linewidth=0)
    times = np.concatenate([surge.times for surge in shown])
    room = max(1, int((times.max() - times.min()) / step) // 12)
    axes.set_xlim(days(times.min() - room * step), days(times.max() + (room + 1) * step))
    axes.set_title("when; its peak in full colour", loc="left", fontsize=9.5, color=INK)


def _details(surge: Surge) -> str:
    """Peak, and what is behind it, in a line."""
    event = f"{_short(surge.driver, 28)} · " if surge.driver else ""
    times = f" ({surge.peak / surge.base:.3g} x base)" if surge.base > 0 else ""
    when = time_text(surge.peak_time, weekday=True)
    return f"{event}{when} · peak {_units(surge.peak)}{times} · {surge.peak_probability:.0%}"


def _runs(times: Times, step: np.timedelta64) -> Iterator[tuple[np.datetime64, np.datetime64]]:
    """The first and the last period of each run without a gap."""
    breaks = np.flatnonzero(np.diff(times) > step) + 1
    return ((run[0], run[-1]) for run in np.split(times, breaks))


def _units(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _short(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"
