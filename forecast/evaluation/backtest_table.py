"""A backtest as a table for people and as numbers for programs."""

from __future__ import annotations

from collections.abc import Sequence

from forecast.cli.output import Cell, print_table
from forecast.evaluation.backtest import ALL, BacktestReport

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


def headline(report: BacktestReport) -> dict[str, float]:
    """One flat dictionary, `METRIC/FORECASTER` over everything scored, as trackers and `--json` want it."""
    table = report.table()
    rows = table.filter(table["slice"] == ALL).iter_rows(named=True)
    return {
        f"{key}/{row['forecaster'].replace(' ', '_')}": float(row[key]) for row in rows for key in COLUMNS
    }
