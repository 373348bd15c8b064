"""What a backtest leaves in MLflow: numbers, tables, pictures, and a child run for each origin."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from forecast.demand.panel import Panel
from forecast.evaluation.backtest import ALL, BacktestReport
from forecast.evaluation.backtest_table import headline
from forecast.evaluation.by_level import error_by_level
from forecast.evaluation.by_origin import by_origin
from forecast.evaluation.comparison import compare
from forecast.evaluation.metrics import scored
from forecast.evaluation.plots import (
    example_series,
    plot_backtest,
    plot_calibration,
    plot_error_by_level,
    plot_error_by_step,
    plot_fans,
    plot_level_calibration,
    plot_rivals,
    plot_surges,
)
from forecast.evaluation.surge_calls import surge_table
from forecast.times import iso
from training.tracking import Run

MAIN: Final = ("wql", "wape", "bias", "coverage_80")
"""The main metrics: of every forecaster, and of each origin in the parent run too, so that MLflow draws them
over the origins."""
SEGMENTS_FIRST: Final = ("fast", "slow", "intermittent", "peak", "after peak", "normal")


def log_backtest(
    run: Run,
    panel: Panel,
    report: BacktestReport,
    origins: Sequence[int],
    *,
    own: str,
    rivals: Sequence[str] = (),
) -> None:
    """Log a backtest of `panel` in `run`; `origins` are those of the report, as periods observed then.

    own: the name of the forecaster that the run is about. rivals: those that it is held against slice by
    slice, each in a picture and all in a table.
    """
    run.metrics(_overall(report, own))
    run.metrics(_by_slice(report, own))
    run.table(report.table(), "backtest/by-slice")
    run.table(report.by_step(), "backtest/by-step")
    run.table(report.calibration(), "backtest/calibration")
    run.table(surge_table(report), "backtest/surges")
    levels = error_by_level(report, panel)
    run.table(levels, "backtest/by-level")
    _log_pictures(run, panel, report, max(origins), own)
    run.picture(plot_error_by_level(levels), "pictures/error-by-level.png")
    if rivals:
        _log_rivals(run, report, own, rivals)
    _log_origins(run, report, own)


def _log_pictures(run: Run, panel: Panel, report: BacktestReport, origin: int, own: str) -> None:
    """The fans are of the last origin."""
    known, truth_SH = panel.until(origin), scored(panel, origin, report.horizon)
    rows = example_series(truth_SH, known)
    if rows:
        run.picture(plot_fans(known, truth_SH, report.forecasts[own], rows), "pictures/forecasts.png")
    pits = {name: one.pit for name, one in report.statistics.items()}
    run.picture(plot_calibration(pits), "pictures/calibration.png")
    levels = report.scenarios[own].pits
    run.picture(plot_level_calibration(levels), "pictures/calibration-by-level.png")
    run.picture(plot_backtest(report), "pictures/backtest.png")
    run.picture(plot_error_by_step(report), "pictures/error-by-step.png")
    run.picture(plot_surges(report, own), "pictures/surges.png")


def _log_rivals(run: Run, report: BacktestReport, own: str, rivals: Sequence[str]) -> None:
    import polars as pl

    named = [name for name in SEGMENTS_FIRST if name in report.slices]
    slices = [ALL, *named, *(name for name in report.slices if name not in named)]
    comparisons = [one for one in compare(report, own, slices) if one.against in rivals]
    rows = [
        {
            "slice": one.where,
            "against": one.against,
            "wql": one.wql,
            "other_wql": one.other_wql,
            "difference_percent": 100 * one.share,
            "verdict": one.verdict,
        }
        for one in comparisons
    ]
    if rows:
        run.table(pl.DataFrame(rows), "backtest/against")
    for rival in rivals:
        if any(one.against == rival for one in comparisons):
            name = f"pictures/against-{rival.replace(' ', '-')}.png"
            run.picture(plot_rivals(comparisons, own, rival), name)


def _log_origins(run: Run, report: BacktestReport, own: str) -> None:
    """A child for each origin, and its main numbers in the parent with the origin's place as step."""
    for i, (origin, one) in enumerate(zip(report.origins, by_origin(report), strict=True)):
        day = iso(origin)
        numbers = headline(one)
        tags = {"purpose": "backtest", "origin": day, "cutoff": day}
        with Run(run.home, f"origin {day}", tags=tags, parent=run) as child:
            child.metrics(_overall(one, own))
            child.metrics(_by_slice(one, own))
            child.table(one.table(), "backtest/by-slice")
        kept = {name: numbers[name] for name in numbers if name.split("/")[0] in MAIN}
        run.metrics({f"by-origin/{name}": value for name, value in kept.items()}, step=i)


def _overall(report: BacktestReport, own: str) -> dict[str, float]:
    """`backtest/METRIC/FORECASTER`: all of `own`, the main ones of the others.

    MLflow draws a chart for each, so what nobody looks for is left to the tables, as the periods are, which
    are the same for all.
    """
    return {
        f"backtest/{name}": value
        for name, value in headline(report).items()
        if not name.startswith("n/")
        and (name.endswith(f"/{own.replace(' ', '_')}") or name.split("/")[0] in MAIN)
    }


def _by_slice(report: BacktestReport, own: str) -> dict[str, float]:
    """WQL and bias of `own` on each slice that has something to score."""
    table = report.table()
    rows = table.filter((table["forecaster"] == own) & (table["slice"] != ALL) & (table["n"] > 0))
    return {
        f"slices/{metric}/{row['slice'].replace(' ', '_')}": float(row[metric])
        for row in rows.iter_rows(named=True)
        for metric in ("wql", "bias")
    }
