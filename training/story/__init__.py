"""What is logged of a backtest and of a gate."""

from __future__ import annotations

from collections.abc import Sequence

from forecast.demand.panel import Panel
from forecast.evaluation.backtest import BacktestReport
from forecast.evaluation.backtest_table import headline
from training.gates.findings import GateReport
from training.tracking import Run


def log_backtest(
    run: Run,
    panel: Panel,
    report: BacktestReport,
    origins: Sequence[int],
    *,
    own: str,
    rivals: Sequence[str] = (),
) -> None:
    """Metrics of a backtest."""
    run.metrics({f"backtest/{name}": value for name, value in headline(report).items()})


def log_gate(run: Run, report: GateReport) -> None:
    """The findings as a table."""
    run.table(report.frame(), f"gates/{report.gate}")
