"""The promotion gate: may a challenger take the champion's place? Judged by a backtest of both on the same
origins, which neither has seen.

A fresh model is wanted: one that is as good as the champion passes, for it knows newer demand. What it must
not do is lose. The rules, their numbers in `[promotion]` of the settings:

wql             Overall it is not worse by more than a margin, and the upper end of the interval by series is
                not either (non-inferiority). Where the interval is wider than the margin, so that no model
                could show this, it must not be worse on average.
wql over time   A warning where it was surely worse in these weeks, however small the loss.
naive           Its interval against seasonal naive lies wholly below 0.
segment, peaks  No slice on which it is surely worse than the slice's margin allows. Many slices are looked
                at, so that some would show a loss by chance: Holm (Scandinavian Journal of Statistics 6,
                1979) keeps the chance that an equal model fails here at all at 1 - confidence. No gain
                elsewhere makes up for such a loss: who wins on average and loses at peaks is kept back.
bias, coverage  Within their limits (or not beyond the champion's, where that is), and not worse than the
                champion's by more than a step. Coverage of the 50, 80 and 95 % bands: of series, and of sums.
latency, size   Not more than so many times the champion's, nor than a limit of one's own. Where all series
                are scored within a second, being slower is a warning: nobody waits, and how busy the
                machine was would decide.

What rests on too few series, or is not known, is a warning and keeps nobody back. Without a champion only
`naive` keeps a challenger back; of the others, those that need no champion are warnings.

The margins are about twice what equally good models of M5 differ by: four fits of a store's 3,049 series, at
three origins, differed by up to 0.5 % overall, 1.0 % at peaks, and 2.1 points of bias.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from forecast.evaluation.backtest import BacktestReport
from forecast.promotion_settings import PromotionSettings
from training.gates.findings import Finding, GateReport
from training.gates.promotion_accuracy import against_naive, over_time, overall, slice_findings
from training.gates.promotion_limits import Pair, bias, coverage_findings, limit

FELT_SECONDS: Final = 1.0
"""Scoring all series in less is no trouble to anybody, however much longer it takes than before."""


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What a model costs to use: seconds to score 1,000 series, and bytes of its bundle on disk."""

    seconds_per_1000_series: float
    bundle_bytes: int


def judge(
    report: BacktestReport,
    *,
    challenger: str,
    champion: str | None,
    naive: str,
    costs: Mapping[str, Cost],
    settings: PromotionSettings,
) -> GateReport:
    """Judge a challenger by a backtest.

    challenger, champion, naive: names of forecasters in the report; champion None: there is none. costs: by
    the same names, as far as they are known. Raises UsageError for a name that the report does not have.
    """
    findings: list[Finding] = []
    if champion is not None:
        findings.append(overall(report, challenger, champion, settings))
        findings += over_time(report, challenger, champion)
    findings.append(against_naive(report, challenger, naive, settings))
    if champion is not None:
        findings += slice_findings(report, challenger, champion, settings)
    findings.append(bias(report, challenger, champion, settings))
    findings += coverage_findings(report, challenger, champion, settings)
    own, other = costs.get(challenger), costs.get(champion or "")
    findings += _cost_findings(own, other, settings, report.n_series, champion is not None)
    return GateReport(gate="promotion", findings=tuple(findings))


def _cost_findings(
    own: Cost | None, other: Cost | None, settings: PromotionSettings, n_series: int, binding: bool
) -> list[Finding]:
    seconds = Pair(
        own=None if own is None else own.seconds_per_1000_series,
        other=None if other is None else other.seconds_per_1000_series,
    )
    megabytes = Pair(
        own=None if own is None else own.bundle_bytes / 1e6,
        other=None if other is None else other.bundle_bytes / 1e6,
    )
    own_limit = settings.seconds_per_1000_series
    felt = own_limit > 0 or (seconds.own or 0.0) * n_series / 1_000 >= FELT_SECONDS
    return [
        limit("latency", "s for 1,000 series", seconds, settings.slower, own_limit, binding and felt),
        limit("size", "MB", megabytes, settings.larger, settings.bundle_mb, binding),
    ]
