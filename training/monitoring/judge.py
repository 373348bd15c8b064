"""What recent forecasts of the model that serves give reason to say."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

import numpy as np
import polars as pl

from forecast.demand.panel import STEP, Period
from forecast.evaluation.metrics import COVERAGES
from forecast.monitor_settings import MonitorSettings
from training.gates.findings import Finding
from training.monitoring.promise import Promise
from training.monitoring.table import overall, pooled
from training.monitoring.tally import BANDS

DAY: Final = np.timedelta64(86_400, "s")
CHECKS: Final = ("wql", "bias", "coverage", "fva", "training")
"""Checks that stop and that a retraining may mend."""


def recent_scores(scores: pl.DataFrame, last: np.datetime64, window_days: int) -> pl.DataFrame:
    """The rows of snapshots published in so many days before the store's last period."""
    since = (last - window_days * DAY).astype("datetime64[us]").item()
    return scores.filter(pl.col("origin") >= since)


def judge(
    scores: pl.DataFrame, promise: Promise, *, period: Period, last: np.datetime64, settings: MonitorSettings
) -> tuple[Finding, ...]:
    """Hold the recent scores of the model that serves, and its age, against the settings.

    last: the store's last period. Forecasts of a former model are not this one's fault.
    """
    recent = recent_scores(scores, last, settings.window_days)
    mine = recent.filter(pl.col("bundle") == promise.bundle)
    n = _periods(mine, period)
    found = [*_training(promise, last, settings)]
    if n < settings.min_periods:
        found.append(
            Finding(
                check="evidence",
                subject=promise.bundle,
                passed=False,
                expected=f"at least {settings.min_periods} periods forecast by the model that serves",
                found=f"{n}; its accuracy is not judged yet",
                blocks=False,
                value=n,
                limit=settings.min_periods,
            )
        )
        return tuple(found)
    row = pooled(overall(mine)).row(0, named=True)
    return (*_accuracy(row, promise, settings), *_coverage(row, settings), *_parts(mine, settings), *found)


def _periods(mine: pl.DataFrame, period: Period) -> int:
    """Periods from the first recent origin of a model to the last one that came true."""
    if mine.is_empty():
        return 0
    first, last = mine.select(pl.col("origin").min(), pl.col("last").max()).row(0)
    step = timedelta(seconds=float(STEP[period] / np.timedelta64(1, "s")))
    return int((last - first) // step)


def _accuracy(row: dict[str, float | None], promise: Promise, settings: MonitorSettings) -> list[Finding]:
    wql, bias, fva = row["wql"], row["bias"], row["fva"]
    found = []
    if wql is not None and promise.wql is not None:
        limit = promise.wql * settings.max_wql_factor
        expected = f"at most {limit:.4g}, {settings.max_wql_factor:g} times that of its backtest"
        found.append(_at_most("wql", "all", wql, limit, expected))
    if bias is not None:
        expected = f"{settings.max_bias:.0%} of the demand at most, up or down"
        found.append(_at_most("bias", "all", abs(bias), settings.max_bias, expected, f"{bias:+.1%}"))
    if fva is not None:
        found.append(_fva("all", fva, settings, blocks=True))
    return found


def _coverage(row: dict[str, float | None], settings: MonitorSettings) -> list[Finding]:
    found = []
    for band, share in zip(BANDS, COVERAGES, strict=True):
        inside = row[f"coverage_{band}"]
        if inside is not None:
            expected = f"{share:.0%} of what came true in the {band} % band, give or take"
            expected += f" {100 * settings.coverage_tolerance:g} points"
            off, limit = abs(inside - share), settings.coverage_tolerance
            found.append(_at_most("coverage", f"{band} %", off, limit, expected, f"{inside:.1%}"))
    return found


def _parts(mine: pl.DataFrame, settings: MonitorSettings) -> list[Finding]:
    """Warnings: parts in which the seasonal naive is better."""
    parts = pooled(mine).filter(pl.col("dimension").is_in(["segment", "event"]) & pl.col("fva").is_not_null())
    return [
        _fva(f"{row['dimension']} {row['value']}", row["fva"], settings, blocks=False)
        for row in parts.iter_rows(named=True)
    ]


def _training(promise: Promise, last: np.datetime64, settings: MonitorSettings) -> list[Finding]:
    if promise.trained_until is None:
        return []
    days = float((last - promise.trained_until) / DAY)
    expected = f"a model that has seen all but the last {settings.max_training_days} days of demand"
    found = f"{days:g} days that it was not trained on"
    return [_at_most("training", "all", days, settings.max_training_days, expected, found)]


def _at_most(check: str, subject: str, value: float, limit: float, expected: str, found: str = "") -> Finding:
    return Finding(
        check=check,
        subject=subject,
        passed=value <= limit,
        expected=expected,
        found=found or f"{value:.4g}",
        value=value,
        limit=limit,
    )


def _fva(subject: str, fva: float, settings: MonitorSettings, *, blocks: bool) -> Finding:
    return Finding(
        check="fva",
        subject=subject,
        passed=fva >= settings.min_fva,
        expected=f"forecast value added over the seasonal naive of at least {settings.min_fva:g}",
        found=f"{fva:.4g}",
        blocks=blocks,
        value=fva,
        limit=settings.min_fva,
    )
