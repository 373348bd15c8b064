"""Verdicts of gates, as the ledger keeps them and as people are told."""

from __future__ import annotations

from collections.abc import Mapping

from training.gates.findings import Finding, Gate, GateReport


def read_gate(facts: Mapping[str, object]) -> GateReport:
    """A gate's report from its facts."""
    gate, findings = facts["gate"], facts["findings"]
    assert isinstance(findings, list)
    kind: Gate = "data" if gate == "data" else "promotion"
    return GateReport(gate=kind, findings=tuple(Finding(**one) for one in findings))


def stopped(gate: GateReport) -> str:
    """Why a gate did not let a job pass, in one line."""
    first, *others = gate.failures
    more = f" (and {len(others)} more)" if others else ""
    return f"{gate.gate} gate: {first.sentence()}{more}"
