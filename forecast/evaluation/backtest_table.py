"""A backtest as a table for people and as numbers for programs."""

from __future__ import annotations

from collections.abc import Sequence

from forecast.cli.output import Cell, print_table
from forecast.evaluation.backtest import ALL, BacktestReport
from forecast.evaluation.bootstrap import Interval
from forecast.evaluation.comparison import Comparison

COLUMNS: dict[str, str] = {
    "n": "periods",
    "wql": "WQL",
    "wape": "WAPE",
    "bias": "bias",
    "rmsse": "RMSSE",
    "mase": "MASE",
    "coverage_50": "50 %",
    "coverage_80": "80 %",
    "coverage_95": "95 %",
}
"""Metric -> its heading; the last three are the coverage of central bands."""


def print_backtest(report: BacktestReport) -> None:
    """Print accuracy by slice and forecaster on stdout."""
    n_origins = len(report.origins)
    title = f"Backtest: {report.n_series:,} series, {n_origins} origins, {report.horizon} periods ahead"
    print_table(["slice", "forecaster", *COLUMNS.values()], table_rows(report), title=title)


def table_rows(report: BacktestReport) -> Sequence[Sequence[Cell]]:
    """The table's cells: slice (named once), forecaster, metrics rounded to what is worth reading."""
    rows: list[list[Cell]] = []
    previous = ""
    for row in report.table().iter_rows(named=True):
        name = row["slice"]
        values = [round(row[key], 4) if isinstance(row[key], float) else row[key] for key in COLUMNS]
        rows.append([name if name != previous else "", row["forecaster"], *values])
        previous = name
    return rows


def print_comparisons(comparisons: Sequence[Comparison]) -> None:
    """Print differences of WQL in per cent of the other's, their 95 % intervals, and what they amount to."""
    headings = ("slice", "against", "WQL", "other series", "other times", "p", "verdict")
    rows: list[list[Cell]] = []
    previous = ""
    for one in comparisons:
        over_time = one.over_time
        rows.append(
            [
                one.where if one.where != previous else "",
                one.against,
                f"{100 * one.share:+.1f} %",
                _percent(one.by_series, one.other_wql),
                "–" if over_time is None else _percent(over_time.interval, one.other_wql),
                None if over_time is None else round(over_time.p_value, 4),
                one.verdict,
            ]
        )
        previous = one.where
    print_table(headings, rows, title="WQL against the others, 95 % intervals")


def print_calibration(report: BacktestReport, forecaster: str) -> None:
    """Print which share of the truth lay in the central bands, by level."""
    table = report.calibration()
    rows = [
        [row["level"], row["n"], *(round(row[f"coverage_{share}"], 4) for share in (50, 80, 95))]
        for row in table.filter(table["forecaster"] == forecaster).iter_rows(named=True)
    ]
    title = f"Truth inside the bands of {forecaster}, sums by level"
    print_table(("level", "periods", "50 %", "80 %", "95 %"), rows, title=title)


def _percent(interval: Interval, whole: float) -> str:
    return f"{100 * interval.low / whole:+.1f} to {100 * interval.high / whole:+.1f} %"


def headline(report: BacktestReport) -> dict[str, float]:
    """One flat dictionary, `METRIC/FORECASTER` over everything scored, as trackers and `--json` want it."""
    table = report.table()
    rows = table.filter(table["slice"] == ALL).iter_rows(named=True)
    return {
        f"{key}/{row['forecaster'].replace(' ', '_')}": float(row[key]) for row in rows for key in COLUMNS
    }
