"""`surgecast retrain`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from forecast.cli.options import DEFAULT_HOME, HomeOption, JsonOption
from forecast.errors import SurgecastError, UsageError
from forecast.home import Home
from forecast.times import iso

if TYPE_CHECKING:
    from training.retraining.request import Outcome


def retrain(
    home: HomeOption = DEFAULT_HOME,
    cutoff: Annotated[
        str | None,
        typer.Option(metavar="DAY", help="Last period whose demand may be seen; the store's last."),
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Settings for this job, like surgecast.toml, which they win over."),
    ] = None,
    promote_anyway: Annotated[
        bool, typer.Option("--promote-anyway", help="Promote whatever the promotion gate says; see --reason.")
    ] = False,
    reason: Annotated[
        str | None, typer.Option(metavar="TEXT", help="Why --promote-anyway; kept with the version.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Check the data, train a challenger, and let it serve if it is better; again and again, safe to kill."""
    from forecast.cli.main import KEPT
    from forecast.cli.output import print_json
    from forecast.cli.processes import ended_by_signals
    from forecast.settings import load_settings
    from training.options import parse_cutoff
    from training.retraining.job import retrain as run
    from training.retraining.request import RetrainRequest

    if promote_anyway and not (reason or "").strip():
        raise UsageError("--promote-anyway: expected --reason beside it, found none")
    if reason is not None and not promote_anyway:
        raise UsageError("--reason: expected --promote-anyway beside it, found none")
    place = Home(home)
    request = RetrainRequest(
        settings=load_settings(place, file=config),
        cutoff=parse_cutoff(cutoff),
        promote_anyway=reason or "",
    )
    with ended_by_signals():
        outcome = run(place, request)
    if as_json:
        print_json(outcome_json(outcome))
    else:
        _print_gates(outcome)
        if outcome.status != "failed":
            typer.echo(_line(outcome))
    if outcome.status == "failed":
        raise SurgecastError(outcome.reason)
    if outcome.status == "kept":
        raise typer.Exit(KEPT)


def _print_gates(outcome: Outcome) -> None:
    """What did not hold, gate by gate."""
    from forecast.cli.output import print_table
    from training.retraining.verdicts import read_gate

    for name, facts in outcome.gates.items():
        report = read_gate(facts)
        rows = [
            ("stop" if one.blocks else "warning", one.check, one.subject, one.expected, one.found)
            for one in (*report.failures, *report.warnings)
        ]
        if rows:
            print_table(("", "check", "what", "expected", "found"), rows, title=f"{name} gate")


def outcome_json(outcome: Outcome) -> dict[str, object]:
    """An outcome as one JSON object."""
    from dataclasses import asdict

    return asdict(outcome)


def _line(outcome: Outcome) -> str:
    if outcome.status == "nothing":
        return f"nothing to do: {outcome.reason}"
    until = iso(outcome.cutoff)
    made = f"version {outcome.version}, bundle {outcome.bundle_id}, trained up to {until}"
    if outcome.status == "promoted":
        return f"promoted: {made}; snapshot {outcome.snapshot} ({outcome.reason})"
    return f"kept the champion: {made} stays back; {outcome.reason}"
