"""`surgecast tune`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from forecast.cli.options import DEFAULT_HOME, HomeOption, JsonOption
from forecast.home import Home

if TYPE_CHECKING:
    from training.tuning.tune import Tuned

SHOWN = 10
"""Trials that the table shows at most."""


def tune(
    home: HomeOption = DEFAULT_HOME,
    trials: Annotated[int | None, typer.Option(min=1, help="Configurations to try at most.")] = None,
    minutes: Annotated[float | None, typer.Option(help="Minutes of the whole search at most.")] = None,
    trial_minutes: Annotated[
        float | None, typer.Option(help="Minutes of a trial's fit; the settings'.")
    ] = None,
    trial_steps: Annotated[
        int | None, typer.Option(min=1, help="Optimiser steps of a trial's fit at most.")
    ] = None,
    cutoff: Annotated[
        str | None, typer.Option(metavar="TIME", help="Last period of demand to use; the store's last.")
    ] = None,
    search: Annotated[
        list[str] | None,
        typer.Option(
            metavar="KEY", help="A setting of the training to search; may be given again. All that can be."
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(metavar="BEST.toml", dir_okay=False, help="Where the best goes; HOME/tuned.toml."),
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the newest search.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Search for a better configuration of the training, and write it as a file for `retrain --config`."""
    from forecast.cli.output import print_json
    from forecast.cli.processes import ended_by_signals
    from forecast.settings import load_settings
    from training.files import check_output
    from training.options import parse_cutoff
    from training.tuning.tune import TuneRequest
    from training.tuning.tune import tune as run

    place = Home(home)
    target = place.root / "tuned.toml" if out is None else out
    flags = {
        "trials": trials,
        "minutes": minutes,
        "trial_minutes": trial_minutes,
        "trial_steps": trial_steps,
        "search": tuple(search) if search else None,
    }
    settings = load_settings(place, {f"tune.{name}": value for name, value in flags.items()})
    check_output(target, place.settings_file)
    request = TuneRequest(settings=settings, out=target, cutoff=parse_cutoff(cutoff), resume=resume)
    with ended_by_signals():
        found = run(place, request)
    if as_json:
        print_json(tuned_json(found, target))
        return
    _print(found, target)


def tuned_json(found: Tuned, out: Path) -> dict[str, object]:
    """A search as one JSON object."""
    from training.tuning.tune import trial_row

    return {
        "study": found.study,
        "best": {"trial": found.best.number, "wql": found.best.value, "training": found.best.params},
        "before": {"wql": trial_row(found.trials[0])["wql"]},
        "seasonal_naive": {"wql": found.naive},
        "out": out,
        "ended": found.ended,
        "origins": [str(found.bench.past.time(origin - 1)) for origin in found.bench.origins],
        "held_out_after": str(found.bench.past.origin),
        "run": found.run_id,
        "trials": [trial_row(trial) for trial in found.trials],
    }


def _print(found: Tuned, out: Path) -> None:
    from forecast.cli.output import print_table
    from training.tuning.tune import trial_row

    rows = sorted(
        (trial_row(trial) for trial in found.trials),
        key=lambda row: (row["wql"] is None, row["wql"] or 0.0, row["trial"]),
    )
    columns = list(rows[0])
    print_table(columns, [[row.get(name) for name in columns] for row in rows[:SHOWN]])
    pruned = sum(row["state"] == "pruned" for row in rows)
    typer.echo(
        f"best: trial {found.best.number} of {len(rows)} ({pruned} pruned), WQL {found.best.value:.4g}"
        f" (settings before: {_number(trial_row(found.trials[0])['wql'])},"
        f" seasonal naive: {found.naive:.4g}): {out}"
    )


def _number(value: float | None) -> str:
    return "none" if value is None else f"{value:.4g}"
