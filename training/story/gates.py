"""What a gate leaves in MLflow: its verdict, its findings as a table and as text, and the drift as a
picture."""

from __future__ import annotations

from forecast.evaluation.plots import Drift, plot_drift
from training.gates.findings import Finding, GateReport
from training.tracking import Run


def log_gate(run: Run, report: GateReport) -> None:
    """Log a gate's report in `run`: the tag `gate.NAME`, `gates/NAME` as table and Markdown, counts."""
    verdict = "passed" if report.passed else "failed"
    run.tag({f"gate.{report.gate}": verdict})
    run.metrics(
        {
            f"gate/{report.gate}/checks": float(len(report.findings)),
            f"gate/{report.gate}/failures": float(len(report.failures)),
            f"gate/{report.gate}/warnings": float(len(report.warnings)),
        }
    )
    run.table(report.frame(), f"gates/{report.gate}")
    run.text(gate_markdown(report), f"gates/{report.gate}.md")
    measures = [one for one in map(_measure, report.findings) if one is not None]
    if measures:
        run.picture(plot_drift(measures), "pictures/drift.png")


def gate_markdown(report: GateReport) -> str:
    """The findings for a person: what stopped it first, then warnings, then all that holds."""
    title = f"# {report.gate.capitalize()} gate: {'passed' if report.passed else 'failed'}\n"
    held = [one for one in report.findings if one.passed]
    parts = [
        ("What stopped it", report.failures),
        ("Warnings", report.warnings),
        ("What holds", held),
    ]
    lines = [
        f"\n## {name}\n\n" + "".join(f"- {one.sentence()}\n" for one in found)
        for name, found in parts
        if found
    ]
    return title + "".join(lines)


def _measure(finding: Finding) -> Drift | None:
    """A finding of drift as a bar; None for any other."""
    value, limit = finding.value, finding.limit
    if not finding.check.startswith("drift") or value is None or not limit:
        return None
    measure = finding.check.removeprefix("drift").strip(" -:")
    subject = f"{finding.subject} ({measure})" if measure else finding.subject
    return Drift(subject=subject, value=abs(value), limit=abs(limit), blocks=finding.blocks)
