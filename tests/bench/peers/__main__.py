"""`python -m tests.bench.peers m5 --data DIR`: our forecasts beside those of other libraries."""

from __future__ import annotations

import sys
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from forecast.cli.options import JsonOption
from forecast.errors import SurgecastError, UsageError

if TYPE_CHECKING:
    from tests.bench.peers.task import Task

app = typer.Typer(no_args_is_help=True, help=__doc__, pretty_exceptions_enable=False)

DataOption = Annotated[
    Path, typer.Option("--data", metavar="DIR", help="Folder of the data set.", file_okay=False)
]
SeriesOption = Annotated[str, typer.Option(metavar="N|all", help="About so many series, whole items.")]
PeersOption = Annotated[str, typer.Option(metavar="NAME,NAME", help="Which peers; 'none' for ours alone.")]
MinutesOption = Annotated[
    float,
    typer.Option(
        "--minutes-each", min=0.05, help="For each of ours and theirs that can be cut short, per cutoff."
    ),
]
OursOption = Annotated[
    list[str] | None,
    typer.Option(
        metavar="BUNDLE|train|none", help="Saved bundle (repeat: the youngest that fits), or train."
    ),
]
OutOption = Annotated[
    Path, typer.Option(metavar="DIR", help="Where forecasts are kept and found again.", file_okay=False)
]
OUT = Path("build/peers")
DEFAULT_PEERS = "lightgbm,mlforecast,nhits,tide,tft,seasonal-naive,autoets"


@app.command()
def m5(
    data: DataOption,
    cutoff: Annotated[
        list[int] | None, typer.Option(min=1, help="Last day that may be seen (1913); repeat.")
    ] = None,
    series: SeriesOption = "all",
    peers: PeersOption = DEFAULT_PEERS,
    minutes_each: MinutesOption = 6.0,
    ours: OursOption = None,
    out: OutOption = OUT,
    as_json: JsonOption = False,
) -> None:
    """M5: 28 days after each cutoff, all 12 levels."""
    n_series = _count(series)
    run = _Comparison(peers, minutes_each, ours, out, as_json=as_json)
    from tests.bench.peers.task import m5_tasks

    run("m5", m5_tasks(data, cutoff or [1913], n_series))


@app.command()
def freshretail(
    data: DataOption,
    cutoff: Annotated[
        list[str] | None,
        typer.Option(metavar="DAY", help="Last day held back (2024-06-18); repeat."),
    ] = None,
    series: SeriesOption = "all",
    peers: PeersOption = DEFAULT_PEERS,
    minutes_each: MinutesOption = 6.0,
    ours: OursOption = None,
    out: OutOption = OUT,
    as_json: JsonOption = False,
) -> None:
    """FreshRetailNet: the last 7 days up to each cutoff held back, days in stock scored."""
    from tests.bench.peers.task import freshretail_tasks
    from training.options import parse_day

    days: list[date] = [parse_day(text) for text in cutoff or ["2024-06-18"]]
    n_series = _count(series)
    run = _Comparison(peers, minutes_each, ours, out, as_json=as_json)
    run("freshretail", freshretail_tasks(data, days, n_series))


class _Comparison:
    """Everything checked that can be checked before data is read; then called with the tasks."""

    def __init__(
        self, peers: str, minutes: float, ours: list[str] | None, out: Path, *, as_json: bool
    ) -> None:
        from tests.bench.peers.registry import parse_names

        names = parse_names(peers)
        wanted = ours or ["train"]
        if len(wanted) > 1 and {"train", "none"} & set(wanted):
            raise UsageError(f"ours: expected bundles, or train or none alone, found {', '.join(wanted)}")
        if not names and wanted == ["none"]:
            raise UsageError("peers, ours: expected somebody to compare, found none")
        from tests.bench.peers.runner import contenders  # takes seconds

        bundles = [] if wanted[0] in ("train", "none") else [Path(text) for text in wanted]
        self.everyone = contenders(names, minutes, bundles, train=wanted == ["train"])
        self.out = out
        self.as_json = as_json

    def __call__(self, dataset: str, tasks: list[Task]) -> None:
        from forecast.bench.machine import machine
        from forecast.cli.output import print_json
        from tests.bench.peers.runner import check_tasks, run
        from tests.bench.peers.table import as_json, print_results

        check_tasks(tasks)
        results = run(tasks, self.everyone, self.out)
        if self.as_json:
            print_json({"bench": f"peers {dataset}", "machine": machine(), "results": as_json(results)})
        else:
            print_results(results)


def _count(series: str) -> int | None:
    if series == "all":
        return None
    if not series.isdecimal() or int(series) < 1:
        raise UsageError(f"series: expected all or a number from 1 on, found {series!r}")
    return int(series)


def main() -> None:
    """Run; expected errors end as one line on stderr."""
    try:
        app()
    except SurgecastError as error:
        sys.stderr.write(f"error: {error}\n")
        sys.exit(error.exit_status)


if __name__ == "__main__":
    main()
