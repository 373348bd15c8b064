"""Swaps between the snapshots of a home under full load: `python -m tests.bench.hot_swaps --home HOME`.

Prints `hot_swap_failed_calls` and `hot_swap_mixed_replies`, which must be 0, and the calls answered.
A home needs two snapshots of the same series; `surgecast publish` with two cutoffs makes them.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from typing import Annotated

import typer

from forecast.cli.options import HomeOption
from forecast.errors import InputError
from forecast.home import Home
from forecast.snapshot import Pointer, Snapshot, move_pointer
from tests.support.operating import Load, until

SETTLE_S = 1.0
"""Seconds of load between two swaps."""


def main(
    home: HomeOption,
    swaps: Annotated[int, typer.Option(min=1)] = 20,
    workers: Annotated[int, typer.Option(min=1)] = 1,
    threads: Annotated[int, typer.Option(min=1, help="Callers, each with a connection.")] = 4,
) -> None:
    """Swap under load and count what went wrong; the pointer is where it was at the end."""
    place = Home(home)
    before = Pointer.read(place).snapshot
    opened = {path.name: Snapshot.open(path) for path in sorted(place.snapshots_dir.glob("[!.]*"))}
    key = next(iter(opened[before].index))
    means = {name: s.mean_SH[s.index[key]] for name, s in opened.items() if key in s.index}
    if len(means) < 2:
        raise InputError("home", expected="two snapshots of the same series", found=str(len(means)))
    command = [sys.executable, "-m", "forecast.cli.main", "serve", "--home", str(home), "--port", "0"]
    server = subprocess.Popen(
        [*command, "--workers", str(workers), "--json"], stdout=subprocess.PIPE, text=True
    )
    try:
        address = _address(server)
        names = [name for name in means if name != before] + [before]
        keys = dict(zip(("item", "location", "platform"), key, strict=True))
        with Load(address, means, n_threads=threads, key=keys) as load:
            for number in range(swaps):
                name = names[number % len(names)]
                move_pointer(place, name)
                seen = load.served[name]
                until(lambda name=name, seen=seen: load.served[name] > seen, 60)
                time.sleep(SETTLE_S)
    finally:
        move_pointer(place, before)
        server.terminate()
        server.wait()
    failed, mixed = len(load.failed), len(load.mixed)
    results = {"hot_swap_failed_calls": failed, "hot_swap_mixed_replies": mixed, "calls": load.calls}
    print(
        json.dumps({"bench": "hot_swaps", "swaps": swaps, "workers": workers, "results": results}, indent=2)
    )
    raise typer.Exit(1 if failed or mixed else 0)


def _address(server: subprocess.Popen[str]) -> str:
    text = ""
    for line in server.stdout or ():
        text += line
        if line.rstrip() == "}":
            return str(json.loads(text)["address"])
    raise InputError("server", expected="to serve", found=f"status {server.wait()}")


if __name__ == "__main__":
    typer.run(main)
