"""How large errors are: by slice, by step ahead, by level; and how the loss fell."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import polars as pl
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from forecast.evaluation.backtest import ALL, BacktestReport
from forecast.evaluation.plots.style import ACCENT, FAN, INK, colours, new_figure, styled_axes
from forecast.evaluation.slices import SEGMENTS


def plot_loss(
    steps: Sequence[float], loss: Sequence[float], validation: Mapping[str, Sequence[float]]
) -> Figure:
    """Training loss by step, and beside it each validation metric (same steps, NaN where not measured)."""
    lines = {"training loss": loss, **{f"validation {name}": values for name, values in validation.items()}}
    figure = new_figure(4.6 * len(lines), 3.6)
    at = np.asarray(steps, dtype=np.float64)
    for axes, (name, values) in zip(styled_axes(figure, 1, len(lines)), lines.items(), strict=True):
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
        axes.margins(x=0.09, y=0.18)
        axes.set_title(name, loc="left")
    return figure


def plot_error_by_step(report: BacktestReport) -> Figure:
    """WQL of each forecaster by step of the horizon."""
    figure = new_figure(9, 4)
    (axes,) = styled_axes(figure, 1, 1)
    table = report.by_step()
    for name, colour in zip(report.statistics, colours(len(report.statistics)), strict=True):
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
    axes.set(xlabel="periods ahead", ylabel="WQL (lower is better)", ylim=(0, None))
    axes.set_title("Error by horizon", loc="left")
    figure.legend(loc="outside lower center", ncols=len(report.statistics), frameon=False)
    return figure


def plot_backtest(
    report: BacktestReport, slices: Sequence[str] = (ALL, *SEGMENTS, "peak", "after peak")
) -> Figure:
    """WQL bars of the forecasters, a group for each slice that has demand; the best of a group is in bold."""
    table = report.table()
    present = [name for name in slices if bool(((table["slice"] == name) & table["wql"].is_not_nan()).any())]
    names = list(report.statistics)
    figure = new_figure(max(6.0, 1.9 * len(present) + 1), 4.4)
    (axes,) = styled_axes(figure, 1, 1)
    width = 0.8 / len(names)
    for i, (name, colour) in enumerate(zip(names, colours(len(names)), strict=True)):
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


def plot_error_by_level(table: pl.DataFrame) -> Figure:
    """WAPE and bias of sums, a group of bars for each level (`by_level.error_by_level`)."""
    levels = table["level"].unique(maintain_order=True).to_list()
    names = table["forecaster"].unique(maintain_order=True).to_list()
    figure = new_figure(10, 4)
    above = styled_axes(figure, 1, 2)
    width = 0.8 / len(names)
    for axes, column in zip(above, ("wape", "bias"), strict=True):
        for i, (name, colour) in enumerate(zip(names, colours(len(names)), strict=True)):
            rows = table.filter(table["forecaster"] == name)
            values = dict(zip(rows["level"], rows[column], strict=True))
            x = np.arange(len(levels)) + (i - (len(names) - 1) / 2) * width
            axes.bar(x, [values[level] for level in levels], width * 0.92, color=colour, label=name)
        axes.set_xticks(range(len(levels)), [level.replace(" x ", "\nx ") for level in levels])
        axes.tick_params(axis="x", labelcolor=INK)
        axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
        axes.grid(visible=False, axis="x")
    left, right = above
    left.set_title("WAPE of sums, by level (lower is better)", loc="left")
    right.axhline(0, color=INK, lw=0.8)
    right.set_title("Bias of sums (0 is best)", loc="left")
    handles, labels = left.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(names), frameon=False)
    return figure
