"""The promotion gate."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from forecast.evaluation.backtest import BacktestReport
from forecast.promotion_settings import PromotionSettings
from training.gates.findings import Finding, GateReport


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What a model costs to use."""

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
    """Whether the challenger is no worse than the others over all."""
    findings = []
    for other in filter(None, (champion, naive)):
        gap = report.difference(challenger, other).estimate
        findings.append(
            Finding(
                check="wql",
                subject=f"against {other}",
                passed=gap <= 0,
                expected="no more",
                found=f"{gap:+.4f}",
                value=gap,
                limit=0.0,
            )
        )
    return GateReport(gate="promotion", findings=tuple(findings))
