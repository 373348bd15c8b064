"""Forecasts of chosen series: which ones are worth a picture, their fans, and why they are what they are.

Letters: S series, H horizon, T history.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.figure import Figure

from forecast.demand.panel import SEASON, STEP, Floats, Panel
from forecast.evaluation.plots.style import (
    BANDS,
    FAN,
    INK,
    MUTED,
    date_axis,
    mark_events,
    new_figure,
    part_colours,
    styled_axes,
)
from forecast.evaluation.slices import PEAK_MULTIPLE, SEGMENTS, peak_threshold, segments
from forecast.forecasts import Forecasts
from forecast.quantiles import MEDIAN, band

if TYPE_CHECKING:
    from forecast.model.explanation import Explanation


def example_series(truth_SH: Floats, panel: Panel) -> dict[str, int]:
    """Rows worth a picture, by rule: `typical`, `intermittent` and `surging`, none twice.

    typical: the median total demand of the last history among series that sell in most periods; intermittent:
    the same among those that sell seldom; surging: the highest truth relative to its peak threshold. A panel
    without such a series has no such entry. `panel` ends at the origin, `truth_SH` follows it.
    """
    volume_S = np.nansum(panel.demand_ST[:, -8 * SEASON[panel.period] :], axis=1)
    segment_S = segments(panel)
    height_S = np.nan_to_num(truth_SH, nan=0.0).max(axis=1) / peak_threshold(panel) * PEAK_MULTIPLE
    chosen: dict[str, int] = {}
    if height_S.max(initial=0.0) > 0:
        # Weighed by the root of the volume: three units of a tiny series are no picture of a surge.
        chosen["surging"] = int(np.argmax(height_S * np.sqrt(volume_S)))
    fast = segment_S == SEGMENTS.index("fast")
    for name, member_S in (("typical", fast), ("intermittent", ~fast)):
        rows = np.flatnonzero(member_S & (volume_S > 0))
        rows = rows[~np.isin(rows, list(chosen.values()))]
        if len(rows):
            chosen[name] = int(rows[np.argsort(volume_S[rows])[len(rows) // 2]])
    return {name: chosen[name] for name in ("typical", "intermittent", "surging") if name in chosen}


def plot_fans(panel: Panel, truth_SH: Floats, forecasts: Forecasts, rows: Mapping[str, int]) -> Figure:
    """Forecast against actual, one row of axes per series: history, fan of 50, 80 and 95 % bands, what came,
    events.

    `rows` gives each series its title (see `example_series`); `panel` ends at the forecasts' origin.
    """
    figure = new_figure(10, 2.9 * max(len(rows), 1))
    n_history = min(panel.n_periods, max(3 * forecasts.horizon, 2 * SEASON[panel.period]))
    past = panel.times(panel.n_periods - n_history, n_history)
    future = forecasts.times
    for axes, (title, row) in zip(styled_axes(figure, len(rows), 1), rows.items(), strict=True):
        mark_events(axes, panel, row, panel.n_periods - n_history, n_history + forecasts.horizon)
        axes.plot(past, panel.demand_ST[row, -n_history:], color=MUTED, lw=1.1, label="history")
        quantiles_HQ = forecasts.quantiles_SHQ[row]
        for share, alpha in BANDS:
            low, high = band(share)
            axes.fill_between(
                future,
                quantiles_HQ[:, low],
                quantiles_HQ[:, high],
                color=FAN,
                alpha=alpha,
                lw=0,
                label=f"{100 * share:.0f} % band",
            )
        axes.plot(future, quantiles_HQ[:, MEDIAN], color=FAN, lw=1.8, label="median")
        axes.plot(future, truth_SH[row], color=INK, lw=0.7, marker="o", ms=3.2, label="actual")
        axes.axvline(panel.origin + (future[0] - panel.origin) / 2, color=INK, lw=0.8, ls=(0, (4, 3)))
        key = panel.keys
        axes.set_title(f"{title}: {key.item[row]} at {key.location[row]}, {key.platform[row]}", loc="left")
        axes.set_ylabel(f"units per {panel.period}")
        axes.set_ylim(0, 1.35 * axes.get_ylim()[1])  # room for the names of events
        axes.margins(x=0.01)
        date_axis(axes)
    handles, labels = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(labels), frameon=False)
    return figure


def plot_explanation(panel: Panel, explanation: Explanation, row: int) -> Figure:
    """Why the mean forecast of a series is what it is: above, the forecast on its base level; below, the
    parts that lift it over the base (stacked upwards) or push it under (downwards), and their sum.

    `panel` ends at the explanation's origin; `row` is the series' in both.
    """
    figure = new_figure(10, 6.2)
    above, below = styled_axes(figure, 2, 1)
    base_H, *parts = explanation.parts_SHP[row].T
    mean_H, times = explanation.mean_SH[row], explanation.times
    step = STEP[explanation.period]
    n_history = min(panel.n_periods, max(len(times), 2 * SEASON[panel.period]))
    for axes, first in ((above, panel.n_periods - n_history), (below, panel.n_periods)):
        mark_events(axes, panel, row, first, panel.n_periods + len(times) - first)
        date_axis(axes)
    past = panel.times(panel.n_periods - n_history, n_history)
    above.plot(past, panel.demand_ST[row, -n_history:], color=MUTED, lw=1.1, label="history")
    above.plot(times, base_H, color=MUTED, lw=1.4, ls=(0, (4, 3)), label=explanation.names[0])
    above.plot(times, mean_H, color=INK, lw=1.8, marker="o", ms=3, label="forecast (mean)")
    above.set_ylim(0, 1.35 * above.get_ylim()[1])  # room for the names of events
    top_H, bottom_H = np.zeros_like(mean_H), np.zeros_like(mean_H)
    for name, part_H, colour in zip(explanation.names[1:], parts, part_colours(len(parts)), strict=True):
        if not part_H.any():
            continue
        floor_H = np.where(part_H > 0, top_H, bottom_H)
        below.bar(times, part_H, 0.86 * step, floor_H, color=colour, label=name)
        top_H, bottom_H = top_H + np.maximum(part_H, 0), bottom_H + np.minimum(part_H, 0)
    below.plot(times, mean_H - base_H, color=INK, lw=0, marker="D", ms=3.4, label="forecast − base level")
    below.axhline(0, color=INK, lw=0.8)
    key = panel.keys
    above.set_title(f"{key.item[row]} at {key.location[row]}, {key.platform[row]}", loc="left")
    below.set_title("What moves the forecast away from its base level", loc="left")
    for axes in (above, below):
        axes.set_ylabel(f"units per {panel.period}")
        axes.margins(x=0.01)
    below.margins(y=0.12)
    legends = [axes.get_legend_handles_labels() for axes in (above, below)]
    handles, labels = ([*first, *second] for first, second in zip(*legends, strict=True))
    figure.legend(handles, labels, loc="outside lower center", ncols=6, frameon=False)
    return figure
