"""`surgecast bench train`, `score` and `panel`: how fast, and with how much memory."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from forecast.cli.options import JsonOption
from forecast.errors import UsageError

DataOption = Annotated[
    Path | None,
    typer.Option("--data", metavar="DIR", help="Folder of M5; else demand is simulated.", file_okay=False),
]
SeriesOption = Annotated[int, typer.Option(min=1, help="Series of the simulated demand.")]
RepeatsOption = Annotated[int, typer.Option(min=1, help="Repeats; their median and spread are printed.")]
SeedOption = Annotated[int, typer.Option(min=0, help="Of the simulated demand, and of the network.")]
DeviceOption = Annotated[
    Literal["auto", "cpu", "cuda"], typer.Option(help="Where to compute; auto takes a GPU.")
]
CutoffOption = Annotated[int, typer.Option(min=1, help="Last day of M5 that may be seen (d_CUTOFF).")]


def train(
    data: DataOption = None,
    series: SeriesOption = 2000,
    store: Annotated[
        str | None,
        typer.Option(help="M5's store, or all; by default all, and CA_1 with --vs."),
    ] = None,
    cutoff: CutoffOption = 1913,
    vs: Annotated[
        Literal["neuralforecast"] | None, typer.Option(help="Measure this library on the same panel too.")
    ] = None,
    peers: Annotated[
        str | None, typer.Option(metavar="A,B", help="Of its models: tide, nhits, tft.  [default: tide]")
    ] = None,
    minutes: Annotated[
        float,
        typer.Option(min=0.0, help="Training of each at most in the race to the best WQL; 0: no race."),
    ] = 5.0,
    every: Annotated[int, typer.Option(min=1, help="Steps between two forecasts of the race.")] = 50,
    windows: Annotated[int, typer.Option(min=1, help="Windows a step of a peer in the race.")] = 256,
    seconds: Annotated[float, typer.Option(min=0.0, help="Training steps of one repeat, at least.")] = 3.0,
    repeats: RepeatsOption = 5,
    seed: SeedOption = 0,
    device: DeviceOption = "auto",
    as_json: JsonOption = False,
) -> None:
    """Measure training: origins a second, the feed's share of a step; beside neuralforecast with --vs."""
    if vs is None and peers is not None:
        raise UsageError(f"--peers: expected --vs neuralforecast beside it, found --peers {peers} alone")
    if data is None and store is not None:
        raise UsageError(f"--store: expected --data DIR beside it, found --store {store} alone")
    from forecast.bench.report import print_results
    from training.bench.neural_training import parse_peers
    from training.bench.race import Race
    from training.bench.speed_data import EVERY_STORE, SpeedData
    from training.bench.train_speed import Laps, bench_train
    from training.config import TrainingConfig

    place = store or (EVERY_STORE if vs is None else "CA_1")
    training = TrainingConfig(seed=seed, device=device)
    results = bench_train(
        SpeedData(folder=data, series=series, seed=seed, cutoff=cutoff, store=place),
        training=training,
        laps=Laps(repeats=repeats, seconds=seconds),
        peers=() if vs is None else parse_peers(peers or "tide"),
        run=Race(minutes=minutes, training=training, every=every, windows=windows) if minutes else None,
    )
    print_results("train", results, as_json=as_json)


def score(
    data: DataOption = None,
    series: SeriesOption = 2000,
    cutoff: CutoffOption = 1913,
    scale: Annotated[
        str | None, typer.Option(metavar="N,N", help="Score simulated demand of so many series, too.")
    ] = None,
    members: Annotated[int, typer.Option(min=1, max=16, help="Networks that are averaged.")] = 1,
    repeats: RepeatsOption = 3,
    seed: SeedOption = 0,
    device: DeviceOption = "auto",
    as_json: JsonOption = False,
) -> None:
    """Measure scoring of all series at one origin into a snapshot on disk, as `publish` does."""
    from forecast.bench.report import print_results
    from training.bench.score_speed import ScoreSpeed, bench_score, parse_scale
    from training.bench.speed_data import SpeedData

    results = bench_score(
        SpeedData(folder=data, series=series, seed=seed, cutoff=cutoff),
        scale=parse_scale(scale),
        how=ScoreSpeed(repeats=repeats, device=device, members=members, seed=seed),
    )
    print_results("score", results, as_json=as_json)


def panel(
    data: DataOption = None,
    series: SeriesOption = 2000,
    repeats: RepeatsOption = 3,
    seed: SeedOption = 0,
    device: DeviceOption = "auto",
    as_json: JsonOption = False,
) -> None:
    """Measure loading of the panel from the store: seconds, peak of memory, bytes on the device."""
    from forecast.bench.report import print_results
    from training.bench.panel_speed import bench_panel
    from training.bench.speed_data import SpeedData

    source = SpeedData(folder=data, series=series, seed=seed)
    print_results("panel", bench_panel(source, repeats=repeats, device=device), as_json=as_json)
