"""Whether what came lies where the forecasts said that it would.

Letters: S series, H horizon, B bins.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from forecast.evaluation.metrics import COVERAGES, Pit, coverage, pit_histogram
from forecast.evaluation.plots.style import FAN, INK, colours, new_figure, styled_axes


def plot_calibration(pits: Mapping[str, Pit], n_bins: int = 20) -> Figure:
    """PIT histograms (flat when calibrated) and coverage of central bands against their nominal share.

    `pits`: name -> bounds of the transform, such as a forecaster's (`Statistics.pit`).
    """
    figure = new_figure(10, 4.2)
    left, right = styled_axes(figure, 1, 2)
    edges = np.linspace(0, 1, n_bins + 1)
    nominal = np.linspace(0, 1, 41)
    for (name, pit), colour in zip(pits.items(), colours(len(pits)), strict=True):
        left.stairs(pit_histogram(pit, n_bins), edges, color=colour, lw=1.8, baseline=None, label=name)
        cumulative = np.concatenate([[0.0], np.cumsum(pit_histogram(pit, 200)) / 200])
        at = np.linspace(0, 1, 201)
        inside = np.interp((1 + nominal) / 2, at, cumulative) - np.interp((1 - nominal) / 2, at, cumulative)
        right.plot(nominal, inside, color=colour, lw=1.8, label=name)
    left.axhline(1.0, color=INK, lw=0.9, ls=(0, (4, 3)))
    left.set(xlabel="probability integral transform", ylabel="density", xlim=(0, 1), ylim=(0, None))
    left.set_title("PIT: flat is calibrated", loc="left")
    right.plot([0, 1], [0, 1], color=INK, lw=0.9, ls=(0, (4, 3)))
    right.set(xlabel="central band", ylabel="truth inside", xlim=(0, 1), ylim=(0, 1))
    right.set_title("Coverage", loc="left")
    for axis in (right.xaxis, right.yaxis):
        axis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    handles, labels = right.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(labels), frameon=False)
    return figure


def plot_level_calibration(pits: Mapping[str, Pit], n_bins: int = 20) -> Figure:
    """A PIT histogram for each level of a hierarchy, with the coverage of its bands above it.

    `pits`: level -> bounds of the transform (`ScenarioScores.pits`). Counts are spread over the probability
    of what came, which is the mean of the randomised transform (Czado, Gneiting and Held 2009).
    """
    figure = new_figure(3.2 * max(len(pits), 1), 3.4)
    edges = np.linspace(0, 1, n_bins + 1)
    for axes, (name, (low, high)) in zip(styled_axes(figure, 1, len(pits)), pits.items(), strict=True):
        present = ~np.isnan(low)
        axes.stairs(pit_histogram((low, high), n_bins), edges, color=FAN, fill=True, alpha=0.55)
        axes.axhline(1.0, color=INK, lw=0.9, ls=(0, (4, 3)))
        inside = [coverage((low[present], high[present]), share) for share in COVERAGES]
        bands = ", ".join(f"{100 * found:.0f} %" for found in inside)
        axes.set_title(f"{name}\n{bands} in 50, 80, 95 %", loc="left", fontsize=9)
        axes.set(xlim=(0, 1), ylim=(0, None), xlabel="PIT")
    return figure
