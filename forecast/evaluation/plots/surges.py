"""Surges that were called and surges that came."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from forecast.evaluation.backtest import BacktestReport
from forecast.evaluation.plots.style import ACCENT, EVENT, FAN, GRID, INK, MUTED, new_figure, styled_axes
from forecast.evaluation.surge_calls import CALLED, surge_calls


def plot_surges(report: BacktestReport, own: str) -> Figure:
    """Hits, misses and false alarms of every forecaster; and whether chances that `own` gave came true."""
    figure = new_figure(10, max(3.6, 1.6 + 0.62 * len(report.statistics)))
    left, right = styled_axes(figure, 1, 2)
    names = list(report.statistics)
    calls = [surge_calls(report, name) for name in names]
    y = np.arange(len(names))[::-1]
    hits, misses, alarms = (
        np.array([getattr(one, kind) for one in calls]) for kind in ("hits", "misses", "false_alarms")
    )
    left.barh(y, hits, 0.62, color=FAN, label="came and called (hit)")
    left.barh(y, misses, 0.62, hits, color=GRID, label="came, not called (miss)")
    left.barh(y, -alarms, 0.62, color=EVENT, label="called, did not come (false alarm)")
    for at, one in zip(y, calls, strict=True):
        came = one.hits + one.misses
        text = f"{one.hits} of {came}" if came else "none came"
        left.annotate(
            text, (came, at), xytext=(5, 0), textcoords="offset points", va="center", fontsize=8.5, color=INK
        )
        if one.false_alarms:
            left.annotate(
                f"{one.false_alarms}",
                (-one.false_alarms, at),
                xytext=(-4, 0),
                textcoords="offset points",
                va="center",
                ha="right",
                fontsize=8.5,
                color=MUTED,
            )
    left.axvline(0, color=INK, lw=0.8)
    left.set_yticks(y, names)
    left.tick_params(axis="y", labelcolor=INK, labelsize=9)
    left.grid(visible=False, axis="y")
    left.margins(x=0.16)
    left.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True))
    left.xaxis.set_major_formatter(lambda value, _place: f"{abs(value):,.0f}")
    left.set_xlabel("← false alarms     series and periods     peaks that came →")
    left.set_title(f"Peaks called with a chance of {100 * CALLED:.0f} % or more", loc="left")

    one = calls[names.index(own)]
    there = one.n_B > 0
    right.plot([0, 1], [0, 1], color=INK, lw=0.9, ls=(0, (4, 3)))
    right.plot(one.said_B[there], one.seen_B[there], color=ACCENT, lw=1.4)
    size = 18 + 110 * np.sqrt(one.n_B[there] / max(one.n_B.max(), 1))
    right.scatter(one.said_B[there], one.seen_B[there], s=size, color=ACCENT, zorder=3, clip_on=False)
    for said, seen, n in zip(one.said_B[there], one.seen_B[there], one.n_B[there], strict=True):
        above = seen > said and seen < 0.9
        right.annotate(
            f"{n:,.0f}",
            (said, seen),
            xytext=(0, 9 if above else -9),
            textcoords="offset points",
            ha="center",
            va="bottom" if above else "top",
            fontsize=7.5,
            color=MUTED,
        )
    right.set(xlim=(-0.02, 1.02), ylim=(-0.09, 1.06))
    right.set(xlabel="chance of a peak that was said", ylabel="share that came")
    for axis in (right.xaxis, right.yaxis):
        axis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    right.set_title(f"{own}: did chances come true? (n periods)", loc="left")
    handles, labels = left.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower left", ncols=3, frameon=False)
    return figure
