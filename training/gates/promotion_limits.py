"""The promotion gate's limits: bias, calibration, and what a model costs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from forecast.evaluation.backtest import ALL, BacktestReport
from forecast.evaluation.metrics import COVERAGES, aggregate
from forecast.evaluation.scenario_scores import SERIES
from forecast.promotion_settings import PromotionSettings
from training.gates.findings import Finding

NOTHING: Final = float("nan")


@dataclass(frozen=True, kw_only=True)
class Pair:
    """A number of the challenger and of the champion; None where it is not known."""

    own: float | None
    other: float | None


def bias(
    report: BacktestReport, challenger: str, champion: str | None, settings: PromotionSettings
) -> Finding:
    """Whether mean forecasts are right on the whole."""
    own = aggregate(report.statistics[challenger]).bias
    other = None if champion is None else aggregate(report.statistics[champion]).bias
    allowed = _allowed(other, settings.bias_limit, settings.bias_step)
    than = "" if other is None else f" ({champion}: {100 * other:+.1f} %)"
    return Finding(
        check="bias",
        subject=ALL,
        passed=abs(own) <= allowed,
        expected=f"at most {100 * allowed:.1f} % of demand off{than}",
        found=f"{100 * own:+.1f} %",
        blocks=champion is not None,
        value=own,
        limit=allowed,
    )


def coverage_findings(
    report: BacktestReport, challenger: str, champion: str | None, settings: PromotionSettings
) -> list[Finding]:
    """Whether central bands hold as much of the truth as they say: of series, and of sums by level."""
    table = report.calibration()
    rows = {(row["forecaster"], row["level"]): row for row in table.iter_rows(named=True)}
    levels = [row["level"] for row in table.iter_rows(named=True) if row["forecaster"] == challenger]
    found = []
    for level in [SERIES, *(name for name in levels if name != SERIES)]:
        own, other = rows[challenger, level], rows.get((champion or "", level))
        is_series = level == SERIES
        bound = settings.coverage_limit if is_series else settings.sums_limit
        step = settings.coverage_step if is_series else settings.sums_step
        n_nodes = own["n"] / (report.horizon * len(report.origins))
        binding = champion is not None and n_nodes >= settings.fewest_series
        for promised in COVERAGES:
            column = f"coverage_{100 * promised:.0f}"
            pair = Pair(own=own[column], other=None if other is None else other[column])
            found.append(_coverage(level, promised, pair, bound, step, binding))
    return found


def limit(check: str, unit: str, found: Pair, times: float, most: float, binding: bool) -> Finding:
    """Whether a cost is within `times` the champion's, and within `most` where that is not 0."""
    if found.own is None:
        return Finding(
            check=check,
            subject=ALL,
            passed=False,
            expected="a measurement",
            found="none",
            blocks=False,
        )
    bounds = [times * found.other] if found.other is not None else []
    bounds += [most] if most > 0 else []
    allowed = min(bounds, default=float("inf"))
    expected = f"at most {allowed:.3g} {unit}" if bounds else f"no limit to {unit}"
    than = "" if found.other is None else f" (champion: {found.other:.3g})"
    return Finding(
        check=check,
        subject=ALL,
        passed=found.own <= allowed,
        expected=f"{expected}{than}",
        found=f"{found.own:.3g}",
        blocks=binding,
        value=found.own,
        limit=allowed if bounds else None,
    )


def _coverage(level: str, promised: float, found: Pair, bound: float, step: float, binding: bool) -> Finding:
    own = NOTHING if found.own is None else found.own - promised
    other = None if found.other is None else found.other - promised
    allowed = _allowed(other, bound, step)
    than = "" if found.other is None else f" (champion: {100 * found.other:.1f} %)"
    place = "" if level == SERIES else f", sums by {level}"
    return Finding(
        check="coverage",
        subject=f"{100 * promised:.0f} % band{place}",
        passed=abs(own) <= allowed,
        expected=f"{100 * promised:.0f} % of the truth inside, within {100 * allowed:.1f} points{than}",
        found=f"{100 * (own + promised):.1f} %",
        blocks=binding,
        value=own + promised,
        limit=allowed,
    )


def _allowed(other: float | None, bound: float, step: float) -> float:
    """How far from ideal a number may be: within its bound, or the champion's distance where that is larger;
    and within a step of the champion's."""
    if other is None:
        return bound
    return min(max(bound, abs(other)), abs(other) + step)
