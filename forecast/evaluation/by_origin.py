"""One origin of a backtest as a backtest of its own."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields

from forecast.evaluation.backtest import BacktestReport
from forecast.evaluation.metrics import Scales, Statistics
from forecast.evaluation.scenario_scores import ScenarioScores


def by_origin(report: BacktestReport) -> Iterator[BacktestReport]:
    """The report of each origin, in their order. `forecasts` are those of the last origin in each."""
    n, s = len(report.origins), report.n_series
    for i in range(n):
        rows = slice(i * s, (i + 1) * s)
        yield BacktestReport(
            origins=report.origins[i : i + 1],
            horizon=report.horizon,
            statistics={name: _rows(one, rows) for name, one in report.statistics.items()},
            scenarios={name: _part(one, i, n, rows) for name, one in report.scenarios.items()},
            slices={name: mask[rows] for name, mask in report.slices.items()},
            forecasts=report.forecasts,
        )


def _rows(statistics: Statistics, rows: slice) -> Statistics:
    arrays = {
        item.name: getattr(statistics, item.name)[rows]
        for item in fields(Statistics)
        if item.name != "scales"
    }
    scales = Scales(mse_S=statistics.scales.mse_S[rows], mae_S=statistics.scales.mae_S[rows])
    return Statistics(**arrays, scales=scales)


def _part(scores: ScenarioScores, i: int, n: int, rows: slice) -> ScenarioScores:
    """Levels have a row for each node and origin, origin by origin."""
    pits = {}
    for level, (low_NH, high_NH) in scores.pits.items():
        size = len(low_NH) // n
        pits[level] = low_NH[i * size : (i + 1) * size], high_NH[i * size : (i + 1) * size]
    return ScenarioScores(
        pits=pits,
        mean_SH=scores.mean_SH[rows],
        peak_chance_SH=scores.peak_chance_SH[rows],
        peak_units_SH=scores.peak_units_SH[rows],
    )
