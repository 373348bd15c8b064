"""`surgecast data check`: whether the demand in the store is fit to train on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from forecast.cli.options import DEFAULT_HOME, HomeOption, JsonOption
from forecast.home import Home

if TYPE_CHECKING:
    from training.gates.findings import Finding, GateReport


def check(
    home: HomeOption = DEFAULT_HOME,
    cutoff: Annotated[
        str | None,
        typer.Option(
            metavar="TIME",
            help="Last period that is looked at, as 2024-06-18; the store's last, which must be new.",
        ),
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="Show what is as expected, too.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Check whether the demand in the store is fit to train on; exit status 1 when it is not.

    Every retraining begins with this. Thresholds stand in the section data_gate of surgecast.toml; what is
    known and all right (a store that closed) goes to its `accepted`.
    """
    from datetime import datetime
    from zoneinfo import ZoneInfo

    import numpy as np

    from forecast.cli.output import print_json, progress
    from forecast.settings import load_settings
    from training.gates.data import check_data
    from training.options import parse_cutoff

    place, until = Home(home), parse_cutoff(cutoff)
    settings = load_settings(place)
    today = np.datetime64(datetime.now(ZoneInfo(settings.demand.timezone)).date())
    with progress("checking"):
        report = check_data(place, settings.data_gate, cutoff=until, today=today)
    if as_json:
        print_json(report.facts())
    else:
        print_report(report, everything=everything)
    raise typer.Exit(0 if report.passed else 1)


def print_report(report: GateReport, *, everything: bool) -> None:
    """A gate's report as a person reads it: what stops, what warns, and how much was as expected."""
    from forecast.cli.output import print_table, say

    wrong = [*report.failures, *report.warnings]
    shown = report.findings if everything else tuple(wrong)
    if shown:
        rows = [(_mark(one), one.check, one.subject, one.expected, one.found) for one in shown]
        print_table(("", "check", "what", "expected", "found"), rows)
    good = len(report.findings) - len(wrong)
    more = "" if everything else " (--all shows them)"
    counts = f"{len(report.failures)} stop, {len(report.warnings)} warn, {good} as expected{more}"
    say(f"{report.gate} gate: {'passed' if report.passed else 'FAILED'}; {counts}")


def _mark(finding: Finding) -> str:
    if finding.passed:
        return "ok"
    return "STOP" if finding.blocks else "warning"
