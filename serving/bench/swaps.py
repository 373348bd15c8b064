"""Swaps of the snapshot under full load: no call may fail, no answer may mix two snapshots."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Final

from forecast.bench.samples import Samples
from forecast.errors import SurgecastError
from forecast.snapshot import move_pointer
from serving.bench.bench import Bench
from serving.bench.questions import BATCH
from serving.bench.reads import IN_FLIGHT, SERIES
from serving.client import Client

REQUESTS: Final = 20
"""Batches whose answers from either snapshot are known byte by byte."""
SWAP_S: Final = 60.0
"""How long a swap may take."""
DWELL_S: Final = 0.2
"""How long a snapshot serves at least."""


def swaps(bench: Bench) -> None:
    """hot_swap_failed_calls and hot_swap_mixed_replies (answers that are byte by byte neither snapshot's)
    while batches are asked for without a pause; hot_swap_s, from the pointer's move to the first answer."""
    other = bench.stage.other
    if other is None:
        reason = "the home has one snapshot of this horizon; publish another"
        bench.skip(reason, "hot_swap_failed_calls", "hot_swap_mixed_replies")
        return
    requests = bench.file("swaps", bench.questions.batches(REQUESTS, SERIES))
    job = bench.job(BATCH, requests, seconds=SWAP_S * (bench.config.swaps + 1))
    swapped = Samples()
    with Client(bench.server.address, timeout_s=SWAP_S) as client:
        for snapshot in (other, bench.stage.snapshot):
            _swap(bench, client, snapshot)
            bench.run(replace(job, each=True, learn=True))
        load = replace(job, concurrency=IN_FLIGHT, check=True)
        bench.generator.begin(load)
        for n in range(bench.config.swaps):
            time.sleep(DWELL_S)
            to = bench.stage.snapshot if n % 2 else other
            swapped.add({"hot_swap_s": _swap(bench, client, to)})
        time.sleep(DWELL_S)
        found = bench.generator.stop()[0]
        bench.check(load, found)
        _swap(bench, client, bench.stage.snapshot)
    bench.facts.update(
        swapped.results()
        | {
            "hot_swaps": bench.config.swaps,
            "hot_swap_calls": found.calls,
            "hot_swap_failed_calls": found.failed,
            "hot_swap_mixed_replies": found.mixed,
            "hot_swap_p99_ms": found.p99_ms,
        }
    )


def _swap(bench: Bench, client: Client, snapshot: str) -> float:
    """Serve another snapshot; seconds until it answers. Raises SurgecastError when that takes too long."""
    began = time.monotonic()
    move_pointer(bench.stage.home, snapshot)
    while (serving := client.serving_model()).source.snapshot != snapshot:
        if time.monotonic() > began + SWAP_S:
            found = serving.refused or serving.source.snapshot
            raise SurgecastError(f"swap: expected {snapshot} to serve in {SWAP_S:g} s, found {found}")
        time.sleep(0.02)
    return time.monotonic() - began
