"""`surgecast bench m5`, `freshretail`, `stockouts` and `peaks`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

import typer

from forecast.cli.options import JsonOption

DataOption = Annotated[
    Path, typer.Option("--data", metavar="DIR", help="Folder of the data set.", file_okay=False)
]
OutOption = Annotated[Path, typer.Option(metavar="OUT.parquet", help="Where to write.", dir_okay=False)]
DeviceOption = Annotated[
    Literal["auto", "cpu", "cuda"], typer.Option(help="Where to compute; auto takes a GPU.")
]
DevicesOption = Annotated[
    int | None, typer.Option(min=1, help="GPUs, or processes on the CPU, that share the work; all GPUs.")
]
MinutesOption = Annotated[float, typer.Option(help="Minutes for everything, training and scoring.")]
StepsOption = Annotated[int | None, typer.Option(min=1, help="Optimiser steps at most.")]
MembersOption = Annotated[
    int, typer.Option(min=1, max=16, help="Networks, trained in turn, whose forecasts are averaged.")
]
SeedOption = Annotated[int, typer.Option(min=0, help="Same seed, data and steps: same model.")]

HEADLINES = (
    *("wrmsse", "wspl", "wql", "wape", "wape_mean", "bias", "coherence_error"),
    *("forecast_bias", "ignoring_bias", "forecast_wql", "ignoring_wql", "recovered_bias", "sales_bias"),
    *("fit_seconds", "seconds"),
)


def m5(
    data: DataOption,
    out: OutOption,
    cutoff: Annotated[int, typer.Option(min=1, help="Last day that may be seen (d_CUTOFF).")] = 1941,
    minutes: MinutesOption = 25.0,
    steps: StepsOption = None,
    seed: SeedOption = 0,
    members: MembersOption = 3,
    device: DeviceOption = "auto",
    devices: DevicesOption = None,
    bundle: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Save the model here too.", file_okay=False)
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Train on M5, write the next 28 days of all 12 levels, and score them where they are known."""
    from training.bench.m5 import bench_m5
    from training.options import training_config

    training = training_config(minutes, steps, seed, device, members=members, devices=devices)
    results = bench_m5(data, cutoff=cutoff, out=out, training=training, bundle_dir=bundle)
    _print("m5", results, as_json=as_json)


def freshretail(
    data: DataOption,
    out: OutOption,
    cutoff: Annotated[str, typer.Option(metavar="DAY", help="Last day that may be seen.")] = "2024-06-18",
    horizon: Annotated[int, typer.Option(min=1, help="Days ahead.")] = 7,
    minutes: MinutesOption = 25.0,
    steps: StepsOption = None,
    seed: SeedOption = 0,
    device: DeviceOption = "auto",
    as_json: JsonOption = False,
) -> None:
    """Train on FreshRetailNet, write the days after the cutoff, and score them where they are known."""
    from training.bench.freshretail import bench_freshretail
    from training.options import parse_day, training_config

    day = parse_day(cutoff)
    training = training_config(minutes, steps, seed, device)
    results = bench_freshretail(data, cutoff=day, horizon=horizon, out=out, training=training)
    _print("freshretail", results, as_json=as_json)


def stockouts(
    data: DataOption,
    cutoff: Annotated[str, typer.Option(metavar="DAY", help="Last day that may be seen.")] = "2024-06-11",
    horizon: Annotated[int, typer.Option(min=1, help="Days ahead.")] = 7,
    series: Annotated[int, typer.Option(min=1, help="Random series to take.")] = 5000,
    minutes: MinutesOption = 10.0,
    steps: StepsOption = None,
    seed: SeedOption = 0,
    device: DeviceOption = "auto",
    as_json: JsonOption = False,
) -> None:
    """Hide demand of FreshRetailNet behind stock-outs, and see whether it is found."""
    from training.bench.stockouts import bench_stockouts
    from training.options import parse_day, training_config

    day = parse_day(cutoff)
    training = training_config(minutes, steps, seed, device)
    results = bench_stockouts(data, cutoff=day, horizon=horizon, n_series=series, training=training)
    _print("stockouts", results, as_json=as_json)


def cold(
    data: DataOption,
    cutoff: Annotated[int, typer.Option(min=1, help="Last day that may be seen (d_CUTOFF).")] = 1885,
    share: Annotated[float, typer.Option(min=0.0, max=1.0, help="Share of the items that is hidden.")] = 0.05,
    series: Annotated[
        int, typer.Option(metavar="N", min=1, help="Take every N-th item, in all stores; 1: all.")
    ] = 1,
    minutes: MinutesOption = 50.0,
    steps: StepsOption = None,
    seed: SeedOption = 0,
    device: DeviceOption = "auto",
    as_json: JsonOption = False,
) -> None:
    """Hide items and a store of M5 entirely, forecast them, and compare with a model that knows them."""
    from forecast.bench.machine import machine
    from forecast.cli.output import print_json
    from training.bench.cold import bench_cold, print_cold
    from training.options import training_config

    results = bench_cold(
        data,
        cutoff=cutoff,
        share=share,
        every=series,
        training=training_config(minutes, steps, seed, device),
    )
    if as_json:
        print_json({"bench": "cold", "machine": machine(), "results": results})
        return
    print_cold(results)


def peaks(
    data: DataOption,
    cutoff: Annotated[
        list[int], typer.Option(min=1, help="Last day that may be seen (d_CUTOFF); may be given again.")
    ],
    bundle: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", help="Our model; else one is trained up to the first cutoff.", file_okay=False
        ),
    ] = None,
    forecasts: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=FILE.npz",
            help="Another forecaster: mean_SH and quantiles_SHQ; {cutoff} in the name stands for the cutoff.",
        ),
    ] = None,
    minutes: MinutesOption = 25.0,
    steps: StepsOption = None,
    seed: SeedOption = 0,
    device: DeviceOption = "auto",
    as_json: JsonOption = False,
) -> None:
    """Score M5's peaks and named events, ours against simple methods and forecasts from files."""
    from forecast.bench.machine import machine
    from forecast.cli.output import print_json
    from forecast.evaluation.backtest_table import print_backtest, print_calibration, print_comparisons
    from training.bench.peaks import bench_peaks
    from training.jobs import MODEL_NAME
    from training.options import training_config

    found = bench_peaks(
        data,
        cutoffs=cutoff,
        bundle=bundle,
        forecasts=forecasts or [],
        training=training_config(minutes, steps, seed, device),
    )
    if as_json:
        print_json({"bench": "peaks", "machine": machine(), "results": found.results})
        return
    print_backtest(found.report)
    print_comparisons(found.comparisons)
    print_calibration(found.report, MODEL_NAME)
    _print_after_and_outlook(found.results, list(found.report.statistics))


def _print_after_and_outlook(results: Mapping[str, float], names: list[str]) -> None:
    from forecast.cli.output import print_table

    after = ("after_peak_ratio", "after_seen_peak_ratio", "after_peak_ratio_plain")
    called = ("peak_count_bias", "peak_units_bias", "peak_selection_bias")
    rows: list[tuple[str | float, ...]] = [
        (name, *(results[f"{key}/{name.replace(' ', '_')}"] for key in (*after, *called))) for name in names
    ]
    headings = ("after / quiet", "seen at origin", "all series", "peaks called", "their units", "selection")
    print_table(("forecaster", *headings), rows, title="After peaks (ratio of WQL), and peaks called (bias)")


def _print(name: str, results: Mapping[str, float], *, as_json: bool) -> None:
    from forecast.bench.machine import machine
    from forecast.cli.output import print_json, print_table

    if as_json:
        print_json({"bench": name, "machine": machine(), "results": results})
        return
    rows = [(metric, results[metric]) for metric in HEADLINES if metric in results]
    print_table(("metric", "value"), rows, title=name)
    levels = [n for n in range(1, 13) if f"wrmsse_level_{n}" in results]
    if levels:
        parts = ("wrmsse", "wspl", "coverage_50", "coverage_80", "coverage_95")
        cells = [(n, *(results[f"{part}_level_{n}"] for part in parts)) for n in levels]
        print_table(("level", "WRMSSE", "WSPL", "50 %", "80 %", "95 %"), cells)
