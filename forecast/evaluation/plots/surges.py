"""Surges that were called and surges that came."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from forecast.evaluation.backtest import BacktestReport
from forecast.evaluation.plots.style import ACCENT, EVENT, FAN, GRID, INK, MUTED, new_figure, styled_axes
from forecast.evaluation.surge_calls import CALLED, SurgeCalls, surge_calls


def plot_surges(report: BacktestReport, own: str) -> Figure:
    """Hits, misses and false alarms of every forecaster; and whether chances that `own` gave came true."""
    figure = new_figure(10, max(3.6, 1.6 + 0.62 * len(report.statistics)))
    left, right = styled_axes(figure, 1, 2)
    names = list(report.statistics)
    calls = [surge_calls(report, name) for name in names]
    _draw_calls(left, names, calls)
    _draw_chances(right, calls[names.index(own)])
    right.set_title(f"{own}: did chances come true? (n periods)", loc="left")
    handles, labels = left.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower left", ncols=3, frameon=False)
    return figure


def _draw_calls(axes: Axes, names: Sequence[str], calls: Sequence[SurgeCalls]) -> None:
    """To the right what came, called or not; to the left what was called in vain."""
    y = np.arange(len(names))[::-1]
    hits, misses, alarms = (
        np.array([getattr(one, kind) for one in calls]) for kind in ("hits", "misses", "false_alarms")
    )
    axes.barh(y, hits, 0.62, color=FAN, label="came and called (hit)")
    axes.barh(y, misses, 0.62, hits, color=GRID, label="came, not called (miss)")
    axes.barh(y, -alarms, 0.62, color=EVENT, label="called, did not come (false alarm)")
    for at, one in zip(y, calls, strict=True):
        came = one.hits + one.misses
        _say(axes, f"{one.hits} of {came}" if came else "none came", (came, at), (5, 0), INK)
        if one.false_alarms:
            _say(axes, str(one.false_alarms), (-one.false_alarms, at), (-4, 0), MUTED)
    axes.axvline(0, color=INK, lw=0.8)
    axes.set_yticks(y, names)
    axes.tick_params(axis="y", labelcolor=INK, labelsize=9)
    axes.grid(visible=False, axis="y")
    axes.margins(x=0.16)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True))
    axes.xaxis.set_major_formatter(lambda value, _place: f"{abs(value):,.0f}")
    axes.set_xlabel("← false alarms     series and periods     peaks that came →")
    axes.set_title(f"Peaks called with a chance of {100 * CALLED:.0f} % or more", loc="left")


def _draw_chances(axes: Axes, one: SurgeCalls) -> None:
    """Chances that were said against the share that came; on the line is honest."""
    there = one.n_B > 0
    said_B, seen_B, n_B = one.said_B[there], one.seen_B[there], one.n_B[there]
    axes.plot([0, 1], [0, 1], color=INK, lw=0.9, ls=(0, (4, 3)))
    axes.plot(said_B, seen_B, color=ACCENT, lw=1.4)
    size = 18 + 110 * np.sqrt(n_B / max(n_B.max(initial=0), 1))
    axes.scatter(said_B, seen_B, s=size, color=ACCENT, zorder=3, clip_on=False)
    for said, seen, n in zip(said_B, seen_B, n_B, strict=True):
        above = seen > said and seen < 0.9
        _say(axes, f"{n:,.0f}", (said, seen), (0, 9 if above else -9), MUTED)
    axes.set(xlim=(-0.02, 1.02), ylim=(-0.09, 1.06))
    axes.set(xlabel="chance of a peak that was said", ylabel="share that came")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(PercentFormatter(1.0, decimals=0))


def _say(axes: Axes, text: str, at: tuple[float, float], offset: tuple[int, int], colour: str) -> None:
    """A small text beside a point, on the side that the offset (in points) leads to."""
    x, y = offset
    axes.annotate(
        text,
        at,
        xytext=offset,
        textcoords="offset points",
        ha="left" if x > 0 else "right" if x < 0 else "center",
        va="bottom" if y > 0 else "top" if y < 0 else "center",
        fontsize=8,
        color=colour,
    )
