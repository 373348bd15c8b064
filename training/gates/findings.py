"""What a gate found: every check with what was expected and found, kept with the job and shown to people."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Literal

from forecast.cli.output import plain

if TYPE_CHECKING:
    import polars as pl

Gate = Literal["data", "promotion"]


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One check of a gate.

    check: its name, as `volume`. subject: what was looked at (a day, a store, a feature, a segment), `all`
    for everything. passed: whether it holds. blocks: whether the gate fails where it does not hold; else it
    is a warning. value, limit: the numbers that were held against each other, None where there are none.
    """

    check: str
    subject: str
    passed: bool
    expected: str
    found: str
    blocks: bool = True
    value: float | None = None
    limit: float | None = None

    def sentence(self) -> str:
        """`volume, 2024-06-18: expected ..., found ...`."""
        place = self.check if self.subject == "all" else f"{self.check}, {self.subject}"
        return f"{place}: expected {self.expected}, found {self.found}"


@dataclass(frozen=True, kw_only=True)
class GateReport:
    """All findings of a gate, in the order of its checks."""

    gate: Gate
    findings: tuple[Finding, ...]

    @property
    def passed(self) -> bool:
        """Whether nothing that blocks failed."""
        return not self.failures

    @property
    def failures(self) -> tuple[Finding, ...]:
        """What stopped the gate."""
        return tuple(one for one in self.findings if one.blocks and not one.passed)

    @property
    def warnings(self) -> tuple[Finding, ...]:
        """What does not hold but does not stop."""
        return tuple(one for one in self.findings if not one.blocks and not one.passed)

    def frame(self) -> pl.DataFrame:
        """One row a finding: check, subject, passed, blocks, expected, found, value, limit."""
        import polars as pl

        schema = {
            "check": pl.String,
            "subject": pl.String,
            "passed": pl.Boolean,
            "expected": pl.String,
            "found": pl.String,
            "blocks": pl.Boolean,
            "value": pl.Float64,
            "limit": pl.Float64,
        }
        return pl.DataFrame([asdict(one) for one in self.findings], schema=schema)

    def facts(self) -> Mapping[str, object]:
        """The report as plain values."""
        return {
            "gate": self.gate,
            "passed": self.passed,
            "findings": [plain(asdict(one)) for one in self.findings],
        }
