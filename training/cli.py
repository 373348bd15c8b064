"""`surgecast train`, `backtest`, `publish`, `explain`, `forecast` and `mlflow`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from forecast.cli.options import DEFAULT_HOME, HomeOption, JsonOption
from forecast.errors import BusyError, UsageError
from forecast.home import Home
from forecast.times import iso

if TYPE_CHECKING:
    from forecast.evaluation.backtest import BacktestReport
    from forecast.evaluation.comparison import Comparison
    from training.jobs import BacktestPlan, TrainJob

commands = typer.Typer()
CutoffOption = Annotated[
    str | None,
    typer.Option(
        metavar="TIME", help="Last period whose demand may be seen, as 2024-06-18; the store's last."
    ),
]
HorizonOption = Annotated[int | None, typer.Option(min=1, help="Periods ahead; the settings', else 28.")]
MinutesOption = Annotated[
    float | None, typer.Option(help="Minutes of training at most, a backtest's model included.")
]
StepsOption = Annotated[int | None, typer.Option(min=1, help="Optimiser steps of a fit at most.")]
SeedOption = Annotated[int | None, typer.Option(min=0, help="Same seed, data and steps: same model.")]
DeviceOption = Annotated[
    Literal["auto", "cpu", "cuda"] | None, typer.Option(help="Where to compute; auto takes a GPU.")
]
DevicesOption = Annotated[
    int | None, typer.Option(min=1, help="GPUs, or processes on the CPU, that share the work; all GPUs.")
]
EventOption = Annotated[
    str | None,
    typer.Option(
        metavar="KIND", help="Origins before each of the last --origins days of this kind of event instead."
    ),
]
LeadOption = Annotated[
    list[int] | None,
    typer.Option(min=1, metavar="DAYS", help="Days from origin to event; may be given again. 14 and 7."),
]
StrideOption = Annotated[int | None, typer.Option(min=1, help="Periods between origins; one horizon.")]


@commands.command()
def train(
    home: HomeOption = DEFAULT_HOME,
    cutoff: CutoffOption = None,
    horizon: HorizonOption = None,
    minutes: MinutesOption = None,
    steps: StepsOption = None,
    seed: SeedOption = None,
    device: DeviceOption = None,
    devices: DevicesOption = None,
    backtest_origins: Annotated[
        int,
        typer.Option(min=0, help="Past origins to backtest on first, with a model that ends before them."),
    ] = 2,
    promote: Annotated[bool, typer.Option(help="Make the new model the champion.")] = True,
    as_json: JsonOption = False,
) -> None:
    """Train a model on the store's demand, backtest it, register it and make it the champion."""
    from forecast.cli.output import print_json
    from training import jobs

    plan = jobs.BacktestPlan(origins=backtest_origins)
    job = _job(Home(home), cutoff, horizon, (minutes, steps, seed, device, devices), plan, promote)
    made = jobs.train(Home(home), job)
    facts = {
        "bundle": made.bundle.bundle_id,
        "version": made.registered.version,
        "champion": made.promoted,
        "run": made.run_id,
        **made.bundle.facts,
    }
    if as_json:
        print_json({**facts, "backtest": None if made.report is None else report_json(made.report)})
        return
    if made.report is not None:
        _print_report(made.report)
    role = "champion" if made.promoted else "registered, not promoted"
    typer.echo(
        f"bundle {made.bundle.bundle_id}, version {made.registered.version} ({role}):"
        f" {facts['series']:,} series up to {iso(str(facts['origin']))}, {facts['steps']:,} steps"
    )


@commands.command()
def backtest(
    home: HomeOption = DEFAULT_HOME,
    cutoff: CutoffOption = None,
    horizon: HorizonOption = None,
    minutes: MinutesOption = None,
    steps: StepsOption = None,
    seed: SeedOption = None,
    device: DeviceOption = None,
    devices: DevicesOption = None,
    origins: Annotated[int, typer.Option(min=1, help="Past origins to forecast from.")] = 4,
    stride: StrideOption = None,
    event: EventOption = None,
    lead: LeadOption = None,
    as_json: JsonOption = False,
) -> None:
    """Forecast past periods from rolling origins, or from those before an event, and compare with simple
    methods.
    """
    from forecast.cli.output import print_json
    from forecast.evaluation.event_origins import LEADS
    from training import jobs

    if event is None and lead:
        raise UsageError("--lead: expected --event beside it, found none")
    if event is not None and stride is not None:
        raise UsageError("--stride: expected none beside --event, whose days set the origins, found one")
    plan = jobs.BacktestPlan(origins=origins, stride=stride, event=event, leads=tuple(lead or LEADS))
    job = _job(Home(home), cutoff, horizon, (minutes, steps, seed, device, devices), plan, False)
    report = jobs.score_past(Home(home), job)
    if as_json:
        print_json(report_json(report))
        return
    _print_report(report)


def publish(
    home: HomeOption = DEFAULT_HOME,
    bundle: Annotated[str | None, typer.Option(help="Id of a bundle; the champion's.")] = None,
    cutoff: CutoffOption = None,
    device: DeviceOption = None,
    as_json: JsonOption = False,
) -> None:
    """Forecast all series with the champion and publish the snapshot that servers map."""
    from forecast.cli.output import print_json
    from forecast.settings import load_settings
    from training import publishing
    from training.options import parse_cutoff

    place = Home(home)
    settings = load_settings(place, {"training.device": device}).training
    snapshot = publishing.publish(
        place,
        bundle_id=bundle,
        cutoff=parse_cutoff(cutoff),
        device=settings.device,
        devices=settings.number_of_devices,
    )
    if as_json:
        print_json({"snapshot": snapshot, "folder": place.snapshots_dir / snapshot})
        return
    typer.echo(snapshot)


@commands.command()
def explain(
    item: Annotated[str, typer.Option(help="The item (SKU).")],
    location: Annotated[str, typer.Option(help="The store or warehouse.")],
    platform: Annotated[str, typer.Option(help="The sales channel.")],
    home: HomeOption = DEFAULT_HOME,
    horizon: Annotated[int | None, typer.Option(min=1, help="Periods ahead; the model's.")] = None,
    bundle: Annotated[str | None, typer.Option(help="Id of a bundle; the champion's.")] = None,
    cutoff: CutoffOption = None,
    device: DeviceOption = None,
    png: Annotated[Path | None, typer.Option(dir_okay=False, help="Draw the parts as a picture too.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Split a series' mean forecast into base level, weekday, season, price, events and stock-outs."""
    from forecast.cli.output import print_json, print_table, say
    from forecast.settings import load_settings
    from training import explaining
    from training.files import check_output
    from training.options import parse_cutoff

    if png is not None:
        if png.suffix.lower() != ".png":
            raise UsageError(f"--png: expected a file name ending in .png, found {png}")
        check_output(png)
    place = Home(home)
    made = explaining.explain_series(
        place,
        (item, location, platform),
        horizon=horizon,
        bundle_id=bundle,
        cutoff=parse_cutoff(cutoff),
        device=load_settings(place, {"training.device": device}).training.device,
    )
    if png is not None:
        if not explaining.save_picture(made, png):
            say("some characters are in no installed font and were left out of the picture")
        say(f"wrote {png}")
    if as_json:
        print_json(explaining.explained_json(made))
        return
    columns, rows = explaining.explained_table(made)
    print_table(columns, rows, title=f"{item} at {location}, {platform}: mean units per {made.panel.period}")


@commands.command()
def forecast(
    table: Annotated[
        Path, typer.Argument(metavar="TABLE", help="Parquet or CSV: a row per series and period.")
    ],
    cutoff: Annotated[str, typer.Option(metavar="TIME", help="Last period whose demand may be seen.")],
    horizon: Annotated[int, typer.Option(min=1, help="Periods ahead.")],
    out: Annotated[Path, typer.Option(metavar="OUT.parquet", help="Where to write.", dir_okay=False)],
    config: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="TOML file: columns, period, calendars, minutes, seed."),
    ] = None,
    minutes: MinutesOption = None,
    steps: StepsOption = None,
    seed: SeedOption = None,
    device: DeviceOption = None,
    as_json: JsonOption = False,
) -> None:
    """Train on one table up to a cutoff and write the forecasts that follow, without a home."""
    from forecast.cli.output import print_json
    from training.files import check_output
    from training.oneshot import forecast_table, read_config
    from training.options import parse_cutoff

    flags: dict[str, object] = {"minutes": minutes, "steps": steps, "seed": seed, "device": device}
    settings = read_config(config, {name: value for name, value in flags.items() if value is not None})
    until = parse_cutoff(cutoff)
    if until is None:
        raise UsageError("cutoff: expected a time, found none")
    if config is not None:
        check_output(out, config)
    facts = forecast_table(table, settings, cutoff=until, horizon=horizon, out=out)
    if as_json:
        print_json(facts)
        return
    typer.echo(f"{facts['series']:,} series, {facts['rows']:,} rows: {out}")


def mlflow(
    home: HomeOption = DEFAULT_HOME,
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port on this machine to listen on.")] = 5000,
) -> None:
    """Open MLflow's pages on this installation's runs and models."""
    import contextlib
    import os
    import signal
    import socket
    import subprocess
    import sys

    from forecast.cli.output import say
    from forecast.errors import NotFoundError
    from training.tracking import ENVIRONMENT, check_database, home_page, ui_command

    place = Home(home)
    if not place.mlflow_db.is_file():
        raise NotFoundError(
            "runs", expected=f"{place.mlflow_db}; `surgecast train` makes it", found="none yet"
        )
    check_database(place.mlflow_db)
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            raise BusyError("port", expected=f"{port} to be free", found=str(error.strerror)) from error
    say(f"MLflow on {home_page(place, port)} ; Ctrl-C ends it")
    signal.signal(signal.SIGTERM, lambda number, _frame: sys.exit(128 + number))  # so that `finally` runs
    # MLflow's server starts processes of its own, which do not end with it: all of them are ended as a group.
    server = subprocess.Popen(
        ui_command(place, port), env={**os.environ, **ENVIRONMENT}, start_new_session=True
    )
    try:
        status = server.wait()
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(server.pid, signal.SIGTERM)
        server.wait()
    raise typer.Exit(1 if status else 0)


def report_json(report: BacktestReport) -> dict[str, object]:
    """A backtest as one JSON object: metrics by slice, differences to each baseline, calibration of sums."""
    return {
        "series": report.n_series,
        "origins": report.origins.astype(str),
        "horizon": report.horizon,
        "table": report.table().to_dicts(),
        "comparisons": [one.facts() for one in _comparisons(report)],
        "calibration": report.calibration().to_dicts(),
    }


def _comparisons(report: BacktestReport) -> list[Comparison]:
    """The model against each baseline: on everything, on peaks, and around the event of the backtest."""
    from forecast.evaluation.backtest import ALL
    from forecast.evaluation.comparison import PEAK, compare
    from forecast.evaluation.slices import is_named_window
    from training.jobs import MODEL_NAME

    return compare(report, MODEL_NAME, (ALL, PEAK, *filter(is_named_window, report.slices)))


def _print_report(report: BacktestReport) -> None:
    from forecast.evaluation.backtest_table import print_backtest, print_calibration, print_comparisons
    from training.jobs import MODEL_NAME

    print_backtest(report)
    print_comparisons(_comparisons(report))
    print_calibration(report, MODEL_NAME)


def _job(
    home: Home,
    cutoff: str | None,
    horizon: int | None,
    fit_flags: tuple[float | None, int | None, int | None, str | None, int | None],
    plan: BacktestPlan,
    promote: bool,
) -> TrainJob:
    """The job that flags, environment and the home's settings ask for."""
    from forecast.settings import load_settings
    from training.jobs import TrainJob
    from training.options import configured, parse_cutoff

    minutes, steps, seed, device, devices = fit_flags
    flags = {"minutes": minutes, "seed": seed, "device": device, "devices": devices, "horizon": horizon}
    settings = load_settings(home, {f"training.{name}": value for name, value in flags.items()}).training
    return TrainJob(
        horizon=settings.horizon,
        training=configured(settings, steps=steps),
        plan=plan,
        cutoff=parse_cutoff(cutoff),
        promote=promote,
    )
