"""What a planner asks beyond single forecasts: exports, sums, surges, what-ifs."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Final

from serving.bench.bench import Bench
from serving.bench.process import memory_mb
from serving.bench.questions import AGGREGATE, EXPORT, SIMULATE, SURGES
from serving.errors import RETRIED

LISTS: Final = 50
"""Questions about surges in one repeat at most."""
SUMS_S: Final = 10.0
"""How long the questions about sums may take, seconds."""
SCENARIOS: Final = 500
"""What-ifs in one repeat at most."""
WARM_UP_S: Final = 30.0
"""How long a server may take to warm its live model up."""


def export(bench: Bench) -> None:
    """export_series_days_per_s: series times periods, with the mean and nine quantiles; and by how much the
    server's memory grows meanwhile, export_memory_growth_mb."""
    requests = bench.questions.export()
    reason = bench.lacks(EXPORT, requests[0], stream=True)
    if reason is not None:
        bench.skip(reason, "export_series_days_per_s")
        return
    manifest = bench.questions.snapshot.manifest
    job = replace(bench.job(EXPORT, bench.file("export", requests), kind="grpc-stream"), concurrency=1)
    job = replace(job, timeout_s=120.0)
    with _peak_memory(bench.server.pid) as grown:
        for _ in range(bench.config.repeats):
            found = bench.run(job)
            size = manifest.n_series * manifest.horizon
            bench.samples.add({"export_series_days_per_s": size / found.p50_ms * 1e3})
    bench.facts["export_memory_growth_mb"] = grown[0]


@contextmanager
def _peak_memory(pid: int) -> Iterator[list[float]]:
    """By how many MB the private memory of a process was over its begin at most, in a list of one."""
    before, over = memory_mb(pid), threading.Event()
    grown = [0.0]

    def watch() -> None:
        while not over.wait(0.02):
            grown[0] = max(grown[0], memory_mb(pid) - before)

    watcher = threading.Thread(target=watch, name="memory", daemon=True)
    watcher.start()
    try:
        yield grown
    finally:
        over.set()
        watcher.join()


def aggregates(bench: Bench) -> None:
    """aggregate_70_ms: sums of all series by location and the first static label, by period, with quantiles
    (aggregate_70_groups: how many those are); aggregate_top_ms: all in one. aggregate_..._full_ms: of the
    whole horizon, asked once."""
    reason = bench.lacks(AGGREGATE, bench.questions.total())
    if reason is not None:
        bench.skip(reason, "aggregate_70_ms", "aggregate_top_ms")
        return
    bench.facts["aggregate_70_groups"] = bench.questions.n_groups
    for name, groups in (("aggregate_70", bench.questions.groups), ("aggregate_top", [])):
        whole, *shorter = bench.questions.sums(groups)
        job = replace(bench.job(AGGREGATE, bench.file(f"{name}-full", [whole])), each=True, timeout_s=60.0)
        bench.facts[f"{name}_full_ms"] = bench.run(job).p50_ms
        rest = replace(job, requests=bench.file(name, shorter or [whole]), seconds=SUMS_S)
        bench.facts[f"{name}_ms"] = bench.run(rest).p50_ms


def surges(bench: Bench) -> None:
    """surges_ms: the first page of surges of single series."""
    requests = bench.questions.surges(LISTS * bench.config.repeats + 1)
    reason = bench.lacks(SURGES, requests.pop())
    if reason is not None:
        bench.skip(reason, "surges_ms")
        return
    for repeat in range(bench.config.repeats):
        part = bench.file(f"surges-{repeat}", requests[repeat * LISTS : (repeat + 1) * LISTS])
        bench.samples.add({"surges_ms": bench.run(replace(bench.job(SURGES, part), each=True)).p50_ms})


def whatif(bench: Bench) -> None:
    """whatif_p99_ms: what-ifs of one series, one at a time, answered by the live model; whatif_p50_ms."""
    requests = bench.questions.scenarios(SCENARIOS * bench.config.repeats + 1, bench.stage.home)
    reason = "the home has no bundle whose model knows a feature or an event ahead"
    if requests:
        reason = _why_not(bench, requests.pop())
    if reason:
        bench.skip(reason, "whatif_p99_ms")
        return
    for repeat in range(bench.config.repeats):
        part = bench.file(f"whatif-{repeat}", requests[repeat * SCENARIOS : (repeat + 1) * SCENARIOS])
        found = bench.run(replace(bench.job(SIMULATE, part), each=True))
        bench.samples.add({"whatif_p99_ms": found.p99_ms, "whatif_p50_ms": found.p50_ms})


def _why_not(bench: Bench, request: bytes) -> str:
    """Why there is no live model, where there is none; waits for one that warms up."""
    end = time.monotonic() + WARM_UP_S
    while (failure := bench.failure(SIMULATE, request)) is not None:
        code, text = failure
        if code != RETRIED or time.monotonic() > end:
            return f"SimulateScenario answered {code}: {text}"
        time.sleep(0.2)
    return ""
