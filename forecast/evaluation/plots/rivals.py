"""One forecaster held against another."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from forecast.evaluation.comparison import Comparison
from forecast.evaluation.plots.style import ACCENT, FAN, INK, MUTED, new_figure, styled_axes

GOOD = "#66a182"
VERDICTS = {"better": GOOD, "worse": ACCENT, "even": MUTED}


def plot_rivals(comparisons: Sequence[Comparison], own: str, rival: str) -> Figure:
    """By slice, the WQL of `own` in per cent of the rival's, with both 95 % intervals of the difference."""
    rows = [one for one in comparisons if one.against == rival and np.isfinite(one.share)]
    figure = new_figure(9, 1.7 + 0.42 * max(len(rows), 1))
    (axes,) = styled_axes(figure, 1, 1)
    y = np.arange(len(rows))[::-1]
    for at, one in zip(y, rows, strict=True):
        colour = VERDICTS[one.verdict]
        low, high = (100 * bound / one.other_wql for bound in (one.by_series.low, one.by_series.high))
        axes.plot([low, high], [at, at], color=colour, lw=5, alpha=0.35, solid_capstyle="butt")
        if one.over_time is not None:
            interval = one.over_time.interval
            ends = [100 * interval.low / one.other_wql, 100 * interval.high / one.other_wql]
            axes.plot(ends, [at, at], color=colour, lw=1.2)
        axes.plot(100 * one.share, at, color=colour, marker="o", ms=7)
        axes.annotate(
            f"{100 * one.share:+.1f} %  {one.verdict}",
            (1.01, at),
            xycoords=("axes fraction", "data"),
            va="center",
            fontsize=8.5,
            color=colour if one.verdict != "even" else INK,
            annotation_clip=False,
        )
    axes.axvline(0, color=INK, lw=0.9)
    axes.set_yticks(y, [one.where for one in rows])
    axes.tick_params(axis="y", labelcolor=INK, labelsize=9)
    axes.grid(visible=True, axis="x", color="#e4e7eb", lw=0.8)
    axes.grid(visible=False, axis="y")
    axes.set_ylim(-0.6, len(rows) - 0.4)
    reach = max((abs(bound) for bound in axes.get_xlim()), default=1.0)
    axes.set_xlim(-min(reach, 120), min(reach, 120))
    axes.xaxis.set_major_formatter(lambda value, _place: f"{value:+.0f} %" if value else "0")
    axes.set_xlabel(f"← {own} better     WQL against {rival}     {own} worse →")
    axes.set_title(f"{own} against {rival}", loc="left")
    axes.plot([], [], color=FAN, lw=5, alpha=0.35, label="other series would agree, 95 %")
    axes.plot([], [], color=FAN, lw=1.2, label="other times would agree, 95 %")
    figure.legend(loc="outside lower left", ncols=2, frameon=False)
    return figure
