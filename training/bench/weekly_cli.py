"""`surgecast bench weekly`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from forecast.cli.options import JsonOption


def weekly(
    data: Annotated[Path, typer.Option("--data", metavar="DIR", help="Folder of M5.", file_okay=False)],
    weeks: Annotated[int, typer.Option(min=1, help="Weekly cutoffs.")] = 4,
    until: Annotated[
        int | None,
        typer.Option(
            metavar="DAY", min=1, help="The last cutoff (d_DAY).  [default: the last with 28 known days]"
        ),
    ] = None,
    store: Annotated[str | None, typer.Option(help="A store of M5, such as CA_1.  [default: all]")] = None,
    every: Annotated[int, typer.Option(metavar="N", min=1, help="Take every N-th series; 1: all.")] = 1,
    scratch: Annotated[
        bool, typer.Option("--scratch/--no-scratch", help="Train from scratch every week as well.")
    ] = True,
    minutes: Annotated[
        float | None, typer.Option(help="Minutes of a fit from scratch; a warm start has a quarter.")
    ] = 25.0,
    steps: Annotated[int | None, typer.Option(min=1, help="Its optimiser steps at most.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Same seed, data and steps: same models.")] = 0,
    device: Annotated[
        Literal["auto", "cpu", "cuda"], typer.Option(help="Where to compute; auto takes a GPU.")
    ] = "auto",
    as_json: JsonOption = False,
) -> None:
    """Retrain weekly on M5, going on from last week's model, and compare with scratch and with never."""
    from forecast.bench.machine import machine
    from forecast.cli.output import print_json
    from training.bench.weekly import Part, Weeks, bench_weekly, print_weekly
    from training.options import training_config

    results = bench_weekly(
        data,
        weeks=Weeks(count=weeks, until=until),
        part=Part(store=store, every=every),
        training=training_config(minutes, steps, seed, device),
        scratch=scratch,
    )
    if as_json:
        print_json({"bench": "weekly", "machine": machine(), "results": results})
        return
    print_weekly(results)
