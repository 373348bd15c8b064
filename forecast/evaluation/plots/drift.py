"""How far the data has moved from what it was."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from forecast.evaluation.plots.style import ACCENT, EVENT, FAN, INK, MUTED, new_figure, styled_axes

MOST = 24
"""Bars that a picture shows; those that are nearest to their limit, or beyond."""


class Drift(NamedTuple):
    """One measure: what was looked at, the value, its limit, and whether passing it stops a job."""

    subject: str
    value: float
    limit: float
    blocks: bool


def plot_drift(measures: Sequence[Drift]) -> Figure:
    """Each measure as a share of its limit: 100 % is where it is too much."""
    shown = sorted(measures, key=lambda one: one.value / one.limit, reverse=True)[:MOST]
    figure = new_figure(9, 1.5 + 0.3 * max(len(shown), 1))
    (axes,) = styled_axes(figure, 1, 1)
    y = np.arange(len(shown))[::-1]
    for at, one in zip(y, shown, strict=True):
        share = one.value / one.limit
        colour = FAN if share <= 1 else (ACCENT if one.blocks else EVENT)
        axes.barh(at, share, 0.66, color=colour)
        axes.annotate(
            f"{one.value:.3g} of {one.limit:.3g}",
            (share, at),
            xytext=(4, 0),
            textcoords="offset points",
            va="center",
            fontsize=8,
            color=MUTED,
        )
    axes.axvline(1, color=INK, lw=0.9, ls=(0, (4, 3)))
    axes.set_yticks(y, [one.subject for one in shown])
    axes.tick_params(axis="y", labelcolor=INK, labelsize=8.5)
    axes.grid(visible=False, axis="y")
    axes.set_xlim(0, max(1.25, 1.2 * max((one.value / one.limit for one in shown), default=1.0)))
    axes.xaxis.set_major_formatter(lambda value, _place: f"{100 * value:.0f} %")
    axes.set_xlabel("share of the limit")
    left_out = len(measures) - len(shown)
    more = f" ({left_out} smaller ones not shown)" if left_out else ""
    axes.set_title(f"Drift of the data{more}", loc="left")
    handles = [Patch(color=colour) for colour in (FAN, EVENT, ACCENT)]
    labels = ["within the limit", "over it: a warning", "over it: stops the job"]
    figure.legend(handles, labels, loc="outside lower left", ncols=3, frameon=False)
    return figure
