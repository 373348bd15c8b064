"""Which surges were called: those that came and those that did not.

Letters: S series, H horizon, B bins of chance.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import polars as pl

from forecast.evaluation.backtest import BacktestReport
from forecast.evaluation.comparison import PEAK
from forecast.evaluation.metrics import Doubles

CALLED: Final = 0.5
"""A peak counts as called where the forecast gives it at least this chance."""
EDGES: Final = np.array([0.0, 0.05, 0.15, 0.3, 0.5, 0.7, 0.85, 1.0])


@dataclass(frozen=True, kw_only=True)
class SurgeCalls:
    """hits: peaks that came and were called; misses: came, not called; false_alarms: called, did not come.
    expected: peaks that the chances add up to. said_B, seen_B, n_B: mean chance, share of peaks and number of
    periods in bins of the chance; NaN where a bin is empty.
    """

    hits: int
    misses: int
    false_alarms: int
    expected: float
    said_B: Doubles
    seen_B: Doubles
    n_B: Doubles

    @property
    def hit_rate(self) -> float:
        """Share of the peaks that were called; NaN without peaks."""
        came = self.hits + self.misses
        return self.hits / came if came else float("nan")

    @property
    def precision(self) -> float:
        """Share of the calls that came true; NaN without calls."""
        called = self.hits + self.false_alarms
        return self.hits / called if called else float("nan")


def surge_calls(report: BacktestReport, forecaster: str) -> SurgeCalls:
    """Chances of demand over the peak threshold (see `slices.peak_threshold`) against what came."""
    scored = report.statistics[forecaster].scored_SH
    chance = report.scenarios[forecaster].peak_chance_SH[scored].astype(np.float64)
    came = report.slices[PEAK][scored] if PEAK in report.slices else np.zeros(len(chance), bool)
    called = chance >= CALLED
    place = np.clip(np.searchsorted(EDGES, chance, side="right") - 1, 0, len(EDGES) - 2)
    n_B = np.bincount(place, minlength=len(EDGES) - 1).astype(np.float64)
    with np.errstate(invalid="ignore"):
        said_B = np.bincount(place, chance, len(EDGES) - 1) / n_B
        seen_B = np.bincount(place, came, len(EDGES) - 1) / n_B
    return SurgeCalls(
        hits=int((came & called).sum()),
        misses=int((came & ~called).sum()),
        false_alarms=int((~came & called).sum()),
        expected=float(chance.sum()),
        said_B=said_B,
        seen_B=seen_B,
        n_B=n_B,
    )


def surge_table(report: BacktestReport) -> pl.DataFrame:
    """A row a forecaster: peaks that came, those called or not, calls in vain, and the peaks expected."""
    rows = []
    for name in report.statistics:
        one = surge_calls(report, name)
        rows.append(
            {
                "forecaster": name,
                "peaks": one.hits + one.misses,
                "hits": one.hits,
                "misses": one.misses,
                "false_alarms": one.false_alarms,
                "hit_rate": one.hit_rate,
                "precision": one.precision,
                "expected": one.expected,
            }
        )
    return pl.DataFrame(rows)
