"""`surgecast bench serve`: how fast the service is, and how it bears too much load and swaps."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final

import typer

from forecast.cli.options import JsonOption
from forecast.errors import UsageError

OVERLOAD_S: Final = 60.0
SHORT_OVERLOAD_S: Final = 5.0
"""Where demand is simulated, so that all of it takes about two minutes."""

HomeOption = Annotated[
    Path | None,
    typer.Option(
        "--home", file_okay=False, help="Serve a copy of this home's snapshot; the home is left alone."
    ),
]
DataOption = Annotated[
    Path | None,
    typer.Option("--data", metavar="DIR", file_okay=False, help="Folder of M5, to serve its forecasts."),
]
SeriesOption = Annotated[
    int, typer.Option(min=1, help="Series of simulated demand, served where there is neither.")
]
OverloadOption = Annotated[
    float | None,
    typer.Option(help="Ask for three times the capacity so long.  [default: 60; 5 where simulated]"),
]
SoakOption = Annotated[
    float, typer.Option(min=0.0, metavar="MINUTES", help="Watch memory under load for so long.")
]
OnlyOption = Annotated[
    str | None,
    typer.Option(
        metavar="A,B",
        help="Of batch, single, export, aggregates, surges, whatif, swaps, overload.  [default: all]",
    ),
]
VsOption = Annotated[
    str | None,
    typer.Option(
        metavar="A,B",
        help="Measure these servers too: mlflow, rayserve with ready forecasts; mlflow-model, rayserve-model"
        " with the model.",
    ),
]
H2loadOption = Annotated[
    bool, typer.Option("--h2load", help="Let h2load ask too, where nghttp2-client is installed.")
]


def serve(
    home: HomeOption = None,
    data: DataOption = None,
    series: SeriesOption = 2_000,
    seconds: Annotated[float, typer.Option(help="Of one repeat.")] = 1.5,
    repeats: Annotated[int, typer.Option(min=1, help="Repeats; their median and spread are printed.")] = 3,
    swaps: Annotated[int, typer.Option(min=1, help="Swaps of the snapshot under load.")] = 20,
    overload_seconds: OverloadOption = None,
    soak: SoakOption = 0.0,
    only: OnlyOption = None,
    vs: VsOption = None,
    h2load: H2loadOption = False,
    seed: Annotated[int, typer.Option(min=0, help="Of the questions.")] = 0,
    as_json: JsonOption = False,
) -> None:
    """Measure the service: calls a second, latencies, sums, exports, swaps under load, overload."""
    if home is not None and data is not None:
        raise UsageError("--data: expected none beside --home, found one")
    from forecast.bench.report import print_results
    from serving.bench.bench import ServeBench
    from serving.bench.run import MEASURES, Source, bench_serve, parse_measures
    from serving.bench.versus import parse_peers

    overload_s = SHORT_OVERLOAD_S if home is None and data is None else OVERLOAD_S
    config = ServeBench(
        seconds=seconds,
        repeats=repeats,
        swaps=swaps,
        overload_s=overload_s if overload_seconds is None else overload_seconds,
        soak_minutes=soak,
        only=parse_measures(only) if only is not None else tuple(MEASURES),
        seed=seed,
    )
    peers = parse_peers(vs) if vs is not None else ()
    report = bench_serve(config, Source(home=home, m5=data, series=series), peers=peers, outside=h2load)
    print_results("serve", report.results, as_json=as_json, setup=report.setup | {"skipped": report.skipped})
