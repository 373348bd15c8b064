"""Sums of groups as a picture: a small fan for each, or a bar for each where there is one sum in time."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from serving.client import AggregateForecast, GroupForecast
from serving.group_report import GroupFan, span_text
from serving.picture_style import BLUE, GREY, INK, days, draw_bands, save_picture, style_plain, style_time
from serving.report import about_source

FANS: Final = 12
"""Groups with a fan at most; the largest ones."""
BARS: Final = 40
"""Groups with a bar at most; the largest ones."""


def save_groups(answer: AggregateForecast, path: Path) -> bool:
    """Write a PNG of the groups, the largest ones first; InputError when that cannot be.

    Returns whether every character could be drawn: names may be in a script that no installed font has.
    """
    single = len(answer.times) == 1
    ranked = sorted(answer.groups, key=lambda group: -float(group.mean.sum()))
    shown = ranked[: BARS if single else FANS]
    if single:
        return save_picture(
            lambda figure: _draw_bars(figure, answer, shown), path, (11, 1.6 + 0.34 * len(shown))
        )
    columns = min(3, math.ceil(math.sqrt(len(shown))))
    rows = math.ceil(len(shown) / columns)
    size = (11 if columns < 3 else 14, 1.2 + 2.9 * rows)
    return save_picture(lambda figure: _draw_fans(figure, answer, shown, rows, columns), path, size)


def _draw_fans(
    figure: Figure, answer: AggregateForecast, shown: list[GroupForecast], rows: int, columns: int
) -> None:
    _title(figure, answer, len(shown))
    for place, group in enumerate(shown):
        axes = figure.add_subplot(rows, columns, place + 1)
        style_time(axes)
        fan = GroupFan(answer, group)
        draw_bands(axes, answer.times, fan.quantile)
        axes.plot(
            days(answer.times), group.mean, color=BLUE, linewidth=1.2, linestyle=(0, (2, 2)), label="mean"
        )
        axes.set_ylim(0, _top(np.concatenate([fan.quantile(0.975), group.mean])))
        axes.set_title(_name(answer, group), loc="left", fontsize=10, color=INK)
    _legend(figure, axes)


def _draw_bars(figure: Figure, answer: AggregateForecast, shown: list[GroupForecast]) -> None:
    _title(figure, answer, len(shown))
    axes = figure.add_subplot()
    style_plain(axes)
    axes.grid(visible=False, axis="y")
    axes.grid(axis="x", color="#e4e7eb", linewidth=0.8)
    fans = [GroupFan(answer, group) for group in shown]
    rows = np.arange(len(shown))
    mean = np.array([float(group.mean[0]) for group in shown])
    axes.barh(rows, mean, height=0.62, color=BLUE, alpha=0.75, label="mean")
    for low, high, width, label in ((0.025, 0.975, 1.2, "95 % band"), (0.1, 0.9, 3.2, "80 % band")):
        ends = [[float(fan.quantile(level)[0]) for fan in fans] for level in (low, high)]
        axes.hlines(rows, ends[0], ends[1], color=INK, linewidth=width, alpha=0.75, label=label)
    highest = [float(fan.quantile(0.975)[0]) for fan in fans]
    axes.set_xlim(0, _top(np.array([*highest, *mean])))
    axes.set_yticks(rows, [_name(answer, group) for group in shown])
    axes.invert_yaxis()
    _legend(figure, axes)


def _title(figure: Figure, answer: AggregateForecast, n_shown: int) -> None:
    when = span_text(answer.times[0], answer.ends[-1], answer.source.step)
    rest = f", the largest {n_shown} of {len(answer.groups)}" if n_shown < len(answer.groups) else ""
    by = f" by {' and '.join(answer.by)}{rest}" if answer.by else ""
    figure.suptitle(f"Demand{by}, units\n", x=0.01, ha="left", fontsize=13, color=INK, weight="bold")
    about = f"{when}     {about_source(answer.source)}"
    figure.text(0.012, 0.99, f"\n\n{about}", ha="left", va="top", fontsize=9, color=GREY)


def _legend(figure: Figure, axes: Axes) -> None:
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(
        handles, labels, loc="outside lower left", ncols=4, frameon=False, fontsize=8.5, labelcolor=INK
    )


def _name(answer: AggregateForecast, group: GroupForecast) -> str:
    series = f"{group.n_series:,} series" if group.n_series != 1 else "1 series"
    return f"{' · '.join(group.values) if answer.by else 'all'} ({series})"


def _top(values: np.ndarray[tuple[int], np.dtype[np.floating]]) -> float:
    return 1.08 * float(np.nanmax(values, initial=0.0)) or 1.0
