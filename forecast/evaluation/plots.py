"""Pictures of forecasts and their accuracy; each function returns a figure, drawn without a display.

Letters: S series, H horizon, T history, B bins.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from forecast.demand.panel import SEASON, STEP, Floats, Panel
from forecast.evaluation.backtest import ALL, BacktestReport
from forecast.evaluation.metrics import COVERAGES, Pit, coverage, pit_histogram
from forecast.evaluation.slices import PEAK_MULTIPLE, SEGMENTS, peak_threshold, segments
from forecast.forecasts import Forecasts
from forecast.quantiles import MEDIAN, band

if TYPE_CHECKING:
    from forecast.model.explanation import Explanation

INK: Final[str] = "#1f2933"
MUTED: Final[str] = "#7b8794"
GRID: Final[str] = "#e4e7eb"
ACCENT: Final[str] = "#d1495b"
EVENT: Final[str] = "#edae49"
FAN: Final[str] = "#2a6f97"
COLOURS: Final[tuple[str, ...]] = ("#2a6f97", "#d1495b", "#edae49", "#66a182", "#7d5ba6", "#8d99ae")
BANDS: Final[tuple[tuple[float, float], ...]] = ((0.95, 0.15), (0.8, 0.22), (0.5, 0.34))
"""Central band and how strongly it is painted."""


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
    figure = _figure(10, 2.9 * max(len(rows), 1))
    n_history = min(panel.n_periods, max(3 * forecasts.horizon, 2 * SEASON[panel.period]))
    past = panel.times(panel.n_periods - n_history, n_history)
    future = forecasts.times
    for axes, (title, row) in zip(_axes(figure, len(rows), 1), rows.items(), strict=True):
        _mark_events(axes, panel, row, panel.n_periods - n_history, n_history + forecasts.horizon)
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
        _dates(axes)
    handles, labels = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(labels), frameon=False)
    return figure


def plot_explanation(panel: Panel, explanation: Explanation, row: int) -> Figure:
    """Why the mean forecast of a series is what it is: above, the forecast on its base level; below, the
    parts that lift it over the base (stacked upwards) or push it under (downwards), and their sum.

    `panel` ends at the explanation's origin; `row` is the series' in both.
    """
    figure = _figure(10, 6.2)
    above, below = _axes(figure, 2, 1)
    base_H, *parts = explanation.parts_SHP[row].T
    mean_H, times = explanation.mean_SH[row], explanation.times
    step = STEP[explanation.period]
    n_history = min(panel.n_periods, max(len(times), 2 * SEASON[panel.period]))
    for axes, first in ((above, panel.n_periods - n_history), (below, panel.n_periods)):
        _mark_events(axes, panel, row, first, panel.n_periods + len(times) - first)
        _dates(axes)
    past = panel.times(panel.n_periods - n_history, n_history)
    above.plot(past, panel.demand_ST[row, -n_history:], color=MUTED, lw=1.1, label="history")
    above.plot(times, base_H, color=MUTED, lw=1.4, ls=(0, (4, 3)), label=explanation.names[0])
    above.plot(times, mean_H, color=INK, lw=1.8, marker="o", ms=3, label="forecast (mean)")
    above.set_ylim(0, 1.35 * above.get_ylim()[1])  # room for the names of events
    top_H, bottom_H = np.zeros_like(mean_H), np.zeros_like(mean_H)
    for name, part_H, colour in zip(explanation.names[1:], parts, _part_colours(len(parts)), strict=True):
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


def plot_calibration(pits: Mapping[str, Pit], n_bins: int = 20) -> Figure:
    """PIT histograms (flat when calibrated) and coverage of central bands against their nominal share.

    `pits`: name -> bounds of the transform, such as a forecaster's (`Statistics.pit`).
    """
    figure = _figure(10, 4.2)
    left, right = _axes(figure, 1, 2)
    edges = np.linspace(0, 1, n_bins + 1)
    nominal = np.linspace(0, 1, 41)
    for (name, pit), colour in zip(pits.items(), _colours(len(pits)), strict=True):
        left.stairs(pit_histogram(pit, n_bins), edges, color=colour, lw=1.8, label=name)
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
    right.legend(frameon=False, loc="upper left")
    return figure


def plot_level_calibration(pits: Mapping[str, Pit], n_bins: int = 20) -> Figure:
    """A PIT histogram for each level of a hierarchy, with the coverage of its bands above it.

    `pits`: level -> bounds of the transform (`ScenarioScores.pits`). Counts are spread over the probability
    of what came, which is the mean of the randomised transform (Czado, Gneiting and Held 2009).
    """
    figure = _figure(3.2 * max(len(pits), 1), 3.4)
    edges = np.linspace(0, 1, n_bins + 1)
    for axes, (name, (low, high)) in zip(_axes(figure, 1, len(pits)), pits.items(), strict=True):
        present = ~np.isnan(low)
        axes.stairs(pit_histogram((low, high), n_bins), edges, color=FAN, fill=True, alpha=0.55)
        axes.axhline(1.0, color=INK, lw=0.9, ls=(0, (4, 3)))
        inside = [coverage((low[present], high[present]), share) for share in COVERAGES]
        bands = ", ".join(f"{100 * found:.0f} %" for found in inside)
        axes.set_title(f"{name}\n{bands} in 50, 80, 95 %", loc="left", fontsize=9)
        axes.set(xlim=(0, 1), ylim=(0, None), xlabel="PIT")
    return figure


def plot_loss(
    steps: Sequence[float], loss: Sequence[float], validation: Mapping[str, Sequence[float]]
) -> Figure:
    """Training loss by step, and beside it each validation metric (same steps, NaN where not measured)."""
    lines = {"training loss": loss, **{f"validation {name}": values for name, values in validation.items()}}
    figure = _figure(4.6 * len(lines), 3.6)
    at = np.asarray(steps, dtype=np.float64)
    for axes, (name, values) in zip(_axes(figure, 1, len(lines)), lines.items(), strict=True):
        line = np.asarray(values, dtype=np.float64)
        known = ~np.isnan(line)
        axes.plot(at[known], line[known], color=FAN, lw=1.8, marker="o", ms=3)
        if axes is not figure.axes[0] and known.any():
            best = int(np.nanargmin(line))
            axes.plot(at[best], line[best], color=ACCENT, marker="o", ms=6)
            axes.annotate(
                f"best {line[best]:.4g}",
                (at[best], line[best]),
                xytext=(0, -15),
                textcoords="offset points",
                color=ACCENT,
                ha="center",
            )
        axes.set_xlabel("step")
        axes.margins(y=0.18)
        axes.set_title(name, loc="left")
    return figure


def plot_error_by_step(report: BacktestReport) -> Figure:
    """WQL of each forecaster by step of the horizon."""
    figure = _figure(9, 4)
    (axes,) = _axes(figure, 1, 1)
    table = report.by_step()
    for name, colour in zip(report.statistics, _colours(len(report.statistics)), strict=True):
        line = table.filter(table["forecaster"] == name)
        axes.plot(
            line["step"].to_numpy(),
            line["wql"].to_numpy(),
            color=colour,
            lw=1.8,
            marker="o",
            ms=3,
            label=name,
        )
    axes.set(xlabel="periods ahead", ylabel="WQL", ylim=(0, None))
    axes.set_title("Error by horizon", loc="left")
    axes.legend(frameon=False, loc="lower right", ncols=2)
    return figure


def plot_backtest(
    report: BacktestReport, slices: Sequence[str] = (ALL, *SEGMENTS, "peak", "after peak")
) -> Figure:
    """WQL bars of the forecasters, a group for each slice that has demand; the best of a group is in bold."""
    table = report.table()
    present = [name for name in slices if bool(((table["slice"] == name) & table["wql"].is_not_nan()).any())]
    names = list(report.statistics)
    figure = _figure(max(6.0, 1.9 * len(present) + 1), 4.4)
    (axes,) = _axes(figure, 1, 1)
    width = 0.8 / len(names)
    for i, (name, colour) in enumerate(zip(names, _colours(len(names)), strict=True)):
        for place, slice_name in enumerate(present):
            group = table.filter(table["slice"] == slice_name)
            value = float(group.filter(group["forecaster"] == name)["wql"][0])
            x = place + (i - (len(names) - 1) / 2) * width
            axes.bar(x, value, width * 0.92, color=colour, label=name if place == 0 else None)
            weight = "bold" if value <= float(group["wql"].min()) else "normal"  # type: ignore[arg-type]
            axes.text(
                x, value, f"{value:.2f}", ha="center", va="bottom", fontsize=7.5, color=INK, weight=weight
            )
    axes.set_xticks(range(len(present)), present)
    axes.set(ylabel="WQL (lower is better)")
    axes.margins(y=0.12)
    axes.grid(visible=False, axis="x")
    axes.set_title(f"Backtest: {report.n_series:,} series, {len(report.origins)} origins", loc="left")
    figure.legend(loc="outside lower center", ncols=len(names), frameon=False)
    return figure


def _figure(width: float, height: float) -> Figure:
    figure = Figure(figsize=(width, height), dpi=120, layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    return figure


def _axes(figure: Figure, n_rows: int, n_columns: int) -> list[Axes]:
    """Axes in the house's style: no box, quiet grid, small labels."""
    grid: list[Axes] = list(figure.subplots(n_rows, n_columns, squeeze=False).ravel())
    for axes in grid:
        for side in ("top", "right"):
            axes.spines[side].set_visible(False)
        for side in ("left", "bottom"):
            axes.spines[side].set_color(GRID)
        axes.grid(visible=True, axis="y", color=GRID, lw=0.8)
        axes.set_axisbelow(True)
        axes.tick_params(colors=MUTED, labelsize=8.5, length=0)
        axes.xaxis.label.set_color(MUTED)
        axes.yaxis.label.set_color(MUTED)
        axes.title.set_color(INK)
    return grid


def _colours(n: int) -> list[str]:
    return [COLOURS[i % len(COLOURS)] for i in range(n)]


def _part_colours(n: int) -> list[str]:
    """Of weekday, season, the known features, event (as events are marked) and stock-out: the same in every
    picture."""
    weekday, feature, event, season, stock, other = COLOURS
    features = (feature, other, "#5fb3b3", "#b56576", "#a98467", "#3d405b")
    return [weekday, season, *(features[i % len(features)] for i in range(n - 4)), event, stock]


def _dates(axes: Axes) -> None:
    locator = AutoDateLocator(minticks=4, maxticks=10)  # type: ignore[no-untyped-call]
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(ConciseDateFormatter(locator))  # type: ignore[no-untyped-call]


def _day(time: np.datetime64) -> float:
    """A time as matplotlib counts it, in days since 1970."""
    return float(time.astype("datetime64[s]").astype(np.int64)) / 86_400


def _mark_events(axes: Axes, panel: Panel, row: int, first: int, n_periods: int) -> None:
    """Shade the periods of a series' events and name each stretch of them once, at its left."""
    kinds = np.array([name.split("/")[0] for name in panel.events.names])
    on_LE = panel.events.intensity_GLE[panel.events.group_S[row], first : first + n_periods] > 0
    on = np.flatnonzero(on_LE.any(axis=1))
    half = 0.5 * float(STEP[panel.period].astype(np.int64)) / 86_400
    for run in np.split(on, np.flatnonzero(np.diff(on) > 1) + 1) if len(on) else []:
        start, end = _day(panel.time(first + int(run[0]))), _day(panel.time(first + int(run[-1])))
        names = dict.fromkeys(str(kind) for period in run for kind in kinds[on_LE[period]])
        axes.axvspan(start - half, end + half, color=EVENT, alpha=0.25, lw=0)
        axes.text(
            start - half,
            0.97,
            "\n".join(names),
            transform=axes.get_xaxis_transform(),
            rotation=90,
            va="top",
            ha="right",
            fontsize=7,
            linespacing=1.05,
            color=MUTED,
        )
