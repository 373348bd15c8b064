"""The promotion gate's view of accuracy: overall, against naive, and on each slice."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

from forecast.evaluation.backtest import ALL, BacktestReport
from forecast.evaluation.bootstrap import RelativeDifference
from forecast.evaluation.slices import SEGMENTS
from forecast.promotion_settings import PromotionSettings
from training.gates.findings import Finding

QUIET: Final = (*SEGMENTS, "normal")
"""Slices that are no peaks, nor near one."""
FEWEST_RESAMPLES: Final = 1_000
RESAMPLES_PER_SLICE: Final = 50
"""So that the smallest p-value there can be lies below what Holm asks for."""


def overall(report: BacktestReport, challenger: str, champion: str, settings: PromotionSettings) -> Finding:
    """Whether the challenger is not worse than the champion by more than the margin."""
    found = report.relative_difference(challenger, champion, level=settings.confidence)
    interval, margin = found.interval, settings.margin
    sure = interval.high <= margin
    if not sure and interval.high - interval.estimate > margin:  # no model could show it
        few = f"for {found.n_series:,} series cannot tell whether by {_percent(margin)}"
        expected, value, allowed = f"not worse than {champion} on average, {few}", interval.estimate, 0.0
    else:
        expected = f"at most {_percent(margin)} worse than {champion}, {_sure(settings)}"
        value, allowed = interval.high, margin
    return Finding(
        check="wql",
        subject=ALL,
        passed=found.n_series > 0 and value <= allowed,
        expected=expected,
        found=_spoken(found),
        value=value,
        limit=allowed,
    )


def over_time(report: BacktestReport, challenger: str, champion: str) -> list[Finding]:
    """Whether the challenger was surely worse in these weeks; nothing where they are too few to tell, or
    forecasts are no numbers."""
    finite = np.isfinite(report.relative_difference(challenger, champion).interval.estimate)
    found = report.difference_over_time(challenger, champion) if finite else None
    if found is None:
        return []
    interval = found.interval
    return [
        Finding(
            check="wql over time",
            subject=ALL,
            passed=interval.low <= 0,
            expected=f"not surely worse than {champion} in these {found.n} periods",
            found=f"a WQL of {interval.estimate:+.4f} ({interval.low:+.4f} to {interval.high:+.4f})",
            blocks=False,
            value=interval.low,
            limit=0.0,
        )
    ]


def against_naive(
    report: BacktestReport, challenger: str, naive: str, settings: PromotionSettings
) -> Finding:
    """Whether the challenger is better than a method that costs nothing."""
    found = report.relative_difference(challenger, naive, level=settings.confidence)
    enough = found.n_series >= settings.fewest_series
    certain = _sure(settings) if enough else f"on average, for only {found.n_series:,} series are scored"
    value = found.interval.high if enough else found.interval.estimate
    return Finding(
        check="naive",
        subject=ALL,
        passed=value < 0,
        expected=f"better than {naive}, {certain}",
        found=_spoken(found),
        value=value,
        limit=0.0,
    )


def slice_findings(
    report: BacktestReport, challenger: str, champion: str, settings: PromotionSettings
) -> list[Finding]:
    """One finding for each slice of the report: segments first, then peaks, the days after, and events."""
    names = sorted(report.slices, key=lambda name: name not in QUIET)
    resamples = max(FEWEST_RESAMPLES, RESAMPLES_PER_SLICE * len(names))
    found = {
        name: report.relative_difference(
            challenger,
            champion,
            where=name,
            margin=_margin(name, settings),
            level=settings.confidence,
            n_resamples=resamples,
        )
        for name in names
    }
    judged = [name for name in names if found[name].n_series >= settings.fewest_series]
    lost = holm([found[name].p_worse for name in judged], 1 - settings.confidence)
    losses = dict(zip(judged, lost, strict=True))
    return [_slice(name, found[name], losses.get(name), champion, settings) for name in names]


def holm(p_values: Sequence[float], alpha: float) -> list[bool]:
    """Which hypotheses are rejected so that a true one is rejected with a chance of at most alpha."""
    rejected = [False] * len(p_values)
    for done, i in enumerate(sorted(range(len(p_values)), key=lambda i: p_values[i])):
        if p_values[i] > alpha / (len(p_values) - done):
            break
        rejected[i] = True
    return rejected


def _slice(
    name: str,
    found: RelativeDifference,
    lost: bool | None,
    champion: str,
    settings: PromotionSettings,
) -> Finding:
    check = "segment" if name in QUIET else "peaks"
    if lost is None:
        few = f"{found.n_series:,} series, which is too few to judge" if found.n_series else "none"
        return Finding(
            check=check,
            subject=name,
            passed=False,
            expected=f"at least {settings.fewest_series} series that sell",
            found=few,
            blocks=False,
            value=float(found.n_series),
            limit=float(settings.fewest_series),
        )
    margin = _margin(name, settings)
    return Finding(
        check=check,
        subject=name,
        passed=not lost,
        expected=f"not surely more than {_percent(margin)} worse than {champion}",
        found=_spoken(found),
        value=found.interval.estimate,
        limit=margin,
    )


def _margin(name: str, settings: PromotionSettings) -> float:
    return settings.segment_margin if name in QUIET else settings.peak_margin


def _spoken(found: RelativeDifference) -> str:
    """`WQL +2.1 % (+0.9 to +3.4 %)`: shares of the other's."""
    if not found.n_series:
        return "nothing to score"
    low, estimate, high = (
        100 * x for x in (found.interval.low, found.interval.estimate, found.interval.high)
    )
    return f"WQL {estimate:+.1f} % ({low:+.1f} to {high:+.1f} %)"


def _percent(share: float) -> str:
    return f"{100 * share:g} %"


def _sure(settings: PromotionSettings) -> str:
    return f"{_percent(settings.confidence)} sure"
