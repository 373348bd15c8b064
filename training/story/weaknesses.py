"""Known weaknesses of a model, in sentences that its numbers write."""

from __future__ import annotations

import math
from typing import Any, Final

import polars as pl

from forecast.demand.panel import Panel
from forecast.evaluation.backtest import ALL, BacktestReport
from forecast.evaluation.comparison import PEAK
from forecast.evaluation.scenario_scores import peak_outlook
from forecast.evaluation.surge_calls import surge_calls
from forecast.model.bundle import Bundle

FEWEST: Final = 30
"""Scored periods below which nothing is said of a slice."""
MUCH_WORSE: Final = 1.25
"""Times the overall error from which a slice is a weakness."""
WORST: Final = 3
OFF: Final = 0.05
"""A bias, or a difference of coverage from what was promised, that is worth a sentence."""
PROMISED: Final = {"coverage_50": 0.5, "coverage_80": 0.8, "coverage_95": 0.95}


def weaknesses(bundle: Bundle, panel: Panel, report: BacktestReport | None, own: str) -> list[str]:
    """What a user of the forecasts should know, the most important first; never empty."""
    found = _of_data(bundle, panel)
    if report is not None:
        table = report.table()
        found = [*_of_peaks(report, own), *_of_slices(table, own), *_of_spread(report, table, own), *found]
    else:
        found.insert(0, "It was not backtested: how accurate it is is not known.")
    nothing = "Nothing stands out in these numbers; few origins cannot show everything."
    return found or [nothing]


def _rows(table: pl.DataFrame, forecaster: str) -> dict[str, dict[str, Any]]:
    mine = table.filter((table["forecaster"] == forecaster) & (table["n"] >= FEWEST))
    return {row["slice"]: row for row in mine.to_dicts() if math.isfinite(row["wql"])}


def _of_slices(table: pl.DataFrame, own: str) -> list[str]:
    """Where it is much worse than overall, and where a simpler method is better."""
    mine = _rows(table, own)
    if ALL not in mine:
        return []
    overall = mine[ALL]["wql"]
    worst = sorted((row["wql"], name) for name, row in mine.items() if name not in (ALL, PEAK))[::-1]
    found = [
        f"Errors on *{name}* are {wql / overall:.1f} times those overall (WQL {wql:.3f}, not {overall:.3f})."
        for wql, name in worst[:WORST]
        if wql > MUCH_WORSE * overall
    ]
    for other in table["forecaster"].unique(maintain_order=True).to_list():
        theirs = _rows(table, other)
        lost = [
            f"*{name}* (WQL {theirs[name]['wql']:.3f} against {row['wql']:.3f})"
            for name, row in mine.items()
            if other != own and name in theirs and theirs[name]["wql"] < row["wql"]
        ]
        if lost:
            found.append(f"{other.capitalize()} is better on {', '.join(lost)}.")
    return found


def _of_peaks(report: BacktestReport, own: str) -> list[str]:
    calls = surge_calls(report, own)
    came = calls.hits + calls.misses
    if came < FEWEST or PEAK not in report.slices:
        return []
    truth_RH = report.statistics[own].truth_SH
    outlook = peak_outlook(report.scenarios[own], truth_RH, report.slices[PEAK])
    found = []
    if calls.misses:
        found.append(
            f"{calls.misses:,} of {came:,} peaks came without a chance of one half or more having been said;"
            f" {calls.false_alarms:,} such calls were in vain."
        )
    if abs(outlook.units_bias) > OFF:
        way = "more" if outlook.units_bias > 0 else "less"
        share = abs(outlook.units_bias)
        found.append(f"Peaks are expected to bring {100 * share:.0f} % {way} demand than they brought.")
    return found


def _of_spread(report: BacktestReport, table: pl.DataFrame, own: str) -> list[str]:
    """Bias, bands that are too narrow or too wide, errors that grow with the horizon."""
    mine = _rows(table, own)
    found = []
    for name in (ALL, PEAK):
        for column, promised in PROMISED.items():
            inside = mine[name][column] if name in mine else promised
            if abs(inside - promised) > OFF and (name == ALL or column == "coverage_95"):
                kind = "too narrow" if inside < promised else "too wide"
                place = "" if name == ALL else " at peaks"
                held = f"it held {100 * inside:.0f} % of what came"
                found.append(f"The {100 * promised:.0f} % band is {kind}{place}: {held}.")
    for row in report.calibration().filter(pl.col("forecaster") == own).to_dicts():
        inside = row["coverage_80"]
        if row["level"] != "series" and row["n"] >= FEWEST and abs(inside - 0.8) > 2 * OFF:
            kind = "narrow" if inside < 0.8 else "wide"
            found.append(
                f"For sums by *{row['level']}* bands are too {kind}: 80 % bands held {100 * inside:.0f} %."
            )
    if ALL in mine and abs(mine[ALL]["bias"]) > OFF:
        way = "high" if mine[ALL]["bias"] > 0 else "low"
        found.append(f"Mean forecasts are {100 * abs(mine[ALL]['bias']):.0f} % too {way} overall.")
    return found


def _of_data(bundle: Bundle, panel: Panel) -> list[str]:
    """What it cannot know, because the data did not tell."""
    found = []
    if not bundle.schema.known:
        found.append("It knows no prices or promotions ahead: none were in the data.")
    unseen = sorted({name.split("/")[0] for name in panel.events.names if name not in bundle.schema.events})
    if unseen:
        found.append(f"Events in the calendar that it never saw in the data: {', '.join(unseen)}.")
    n_new = int(panel.no_history_S.sum())
    if n_new:
        found.append(
            f"{n_new:,} series have no history; their forecasts come from their labels and are wider."
        )
    if "stopped" in bundle.facts:
        found.append(f"Its training ended early: {bundle.facts['stopped']}.")
    return found
