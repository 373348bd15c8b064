"""`surgecast monitor`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from forecast.cli.options import DEFAULT_HOME, HomeOption, JsonOption
from forecast.errors import UsageError
from forecast.home import Home

if TYPE_CHECKING:
    from training.monitoring.watch import Wanted


def monitor(
    home: HomeOption = DEFAULT_HOME,
    since: Annotated[
        str | None, typer.Option(metavar="DAY", help="Show origins from this day on, as 2024-06-18.")
    ] = None,
    by: Annotated[
        Literal["segment", "platform", "week", "event"] | None,
        typer.Option(help="A second table: by segment, platform, week of the horizon or event."),
    ] = None,
    check: Annotated[
        bool,
        typer.Option(
            "--check", help="Exit with status 1 where a threshold of the settings (monitor) is crossed."
        ),
    ] = False,
    retrain: Annotated[
        bool,
        typer.Option(
            "--retrain", help="Then run `surgecast retrain`, once for the same findings and demand."
        ),
    ] = False,
    metrics_port: Annotated[
        int | None,
        typer.Option(
            min=1, max=65535, help="Go on, and answer Prometheus on this port of 127.0.0.1 (9465 is usual)."
        ),
    ] = None,
    metrics_file: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.prom",
            help="Write metrics for the node exporter's textfile collector.",
            dir_okay=False,
        ),
    ] = None,
    every: Annotated[
        float | None, typer.Option(min=0.01, metavar="MINUTES", help="Go on, a round every so often; 60.")
    ] = None,
    log: Annotated[bool, typer.Option(help="Log rounds that scored something as runs of MLflow.")] = True,
    as_json: JsonOption = False,
) -> None:
    """Score published forecasts against what came true since, warn, and ask for a retraining."""
    from training.monitoring.watch import once, watch

    wanted = _wanted(since, by, retrain, metrics_file, log, as_json)
    if metrics_port is None and every is None:
        if not once(Home(home), wanted) and check:
            raise typer.Exit(1)
        return
    for name, given in (("--json", as_json), ("--check", check), ("--by", by is not None)):
        if given:
            raise UsageError(f"{name}: expected a single round, found --metrics-port or --every beside it")
    watch(Home(home), wanted, port=metrics_port, minutes=60.0 if every is None else every)


def _wanted(
    since: str | None, by: str | None, retrain: bool, metrics_file: Path | None, log: bool, as_json: bool
) -> Wanted:
    from datetime import datetime

    import numpy as np

    from training.monitoring.gauges import check_metrics_file
    from training.monitoring.watch import Wanted

    if metrics_file is not None:
        check_metrics_file(metrics_file)
    day = None
    if since is not None:
        try:
            moment = datetime.fromisoformat(since)
        except ValueError as error:
            raise UsageError(f"--since: expected a day such as 2024-06-18, found {since!r}") from error
        if moment.tzinfo is not None:
            raise UsageError(f"--since: expected a day without a zone, found {since!r}")
        day = np.datetime64(moment, "s")
    return Wanted(since=day, by=by, retrain=retrain, metrics_file=metrics_file, log=log, as_json=as_json)
