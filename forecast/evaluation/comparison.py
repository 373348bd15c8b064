"""Better, worse or even: one forecaster against each other one, with two intervals on the difference."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from forecast.evaluation.backtest import ALL, BacktestReport
from forecast.evaluation.bootstrap import Interval
from forecast.evaluation.diebold_mariano import DieboldMariano

Verdict = Literal["better", "worse", "even"]
PEAK: Final[str] = "peak"


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """The WQL of a forecaster minus another's on a slice.

    wql, other_wql: of both. by_series: 95 % bootstrap interval, would other series agree. over_time: 95 %
    interval of Diebold and Mariano, would other times agree; None where too few periods are scored.
    """

    where: str
    against: str
    wql: float
    other_wql: float
    by_series: Interval
    over_time: DieboldMariano | None

    @property
    def share(self) -> float:
        """The difference as a share of the other's WQL; negative is better."""
        return self.wql / self.other_wql - 1 if self.other_wql > 0 else float("nan")

    @property
    def verdict(self) -> Verdict:
        """`better` or `worse` only where every interval there is agrees."""
        intervals = [self.by_series, *([self.over_time.interval] if self.over_time else [])]
        if all(interval.high < 0 for interval in intervals):
            return "better"
        return "worse" if all(interval.low > 0 for interval in intervals) else "even"

    def facts(self) -> Mapping[str, object]:
        """The comparison as plain values."""
        over_time = None
        if self.over_time is not None:
            interval = self.over_time.interval
            over_time = {
                "low": interval.low,
                "high": interval.high,
                "p_value": self.over_time.p_value,
                "periods": self.over_time.n,
                "lags": self.over_time.lags,
            }
        return {
            "slice": self.where,
            "against": self.against,
            "wql": self.wql,
            "other_wql": self.other_wql,
            "share": self.share,
            "by_series": {"low": self.by_series.low, "high": self.by_series.high},
            "over_time": over_time,
            "verdict": self.verdict,
        }


def compare(report: BacktestReport, own: str, wanted: Sequence[str] = (ALL, PEAK)) -> list[Comparison]:
    """`own` against every other forecaster, on each of the slices that has demand to score."""
    table = report.table()
    wql = {(row["slice"], row["forecaster"]): (row["wql"], row["units"]) for row in table.to_dicts()}
    return [
        Comparison(
            where=where,
            against=other,
            wql=wql[where, own][0],
            other_wql=wql[where, other][0],
            by_series=report.difference(own, other, where=where),
            over_time=report.difference_over_time(own, other, where=where),
        )
        for where in wanted
        for other in report.statistics
        if other != own and wql.get((where, other), (0.0, 0.0))[1] > 0
    ]
