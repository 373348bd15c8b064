"""Reads of forecasts: batches, single ones, and how long single ones take at half of the most."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from serving.bench.bench import Bench
from serving.bench.load import Job
from serving.bench.questions import BATCH, GET
from serving.bench.tally import Outcome

SERIES: Final = 100
"""Of a batch."""
IN_FLIGHT: Final = 4
"""Batches at once: the server always has the next one."""
CALLERS: Final = (2, 4, 8)
"""Single calls at once that are tried; the best saturates. The server takes more for a standing queue."""
WARM_S: Final = 0.5


def batch_job(bench: Bench, series: int = SERIES, seconds: float | None = None) -> Job:
    """Batches in a closed loop."""
    requests = bench.file(f"batch-{series}", bench.questions.batches(100, series))
    return replace(bench.job(BATCH, requests, seconds=seconds), concurrency=IN_FLIGHT)


def single_job(bench: Bench, seconds: float | None = None) -> Job:
    """Single forecasts; the loop is still to be said."""
    return bench.job(GET, bench.file("single", bench.questions.singles(5_000)), seconds=seconds)


def batch(bench: Bench) -> None:
    """batch_forecasts_per_s: forecasts of one series, all periods and quantiles, a second; batch_p99_ms."""
    job = batch_job(bench)
    bench.run(replace(job, seconds=WARM_S))
    for _ in range(bench.config.repeats):
        found = bench.run(job)
        bench.samples.add({"batch_forecasts_per_s": SERIES * found.good_per_s, "batch_p99_ms": found.p99_ms})


def saturation(bench: Bench) -> Job:
    """The closed loop of single calls that gets the most answers, after a warm-up."""
    job = single_job(bench)
    bench.run(replace(job, concurrency=CALLERS[0], seconds=WARM_S))
    tried = [replace(job, concurrency=callers) for callers in CALLERS]
    return max(tried, key=lambda one: bench.generator.run(replace(one, seconds=WARM_S))[0].good_per_s)


def single(bench: Bench) -> None:
    """single_calls_per_s, the most; then single_p50, p99 and p999_ms_at_half_load in an open loop."""
    job = saturation(bench)
    for _ in range(bench.config.repeats):
        bench.samples.add({"single_calls_per_s": bench.run(job).good_per_s})
    bench.facts["single_callers"] = job.concurrency
    most = bench.samples.results()["single_calls_per_s"]
    for repeat in range(bench.config.repeats):
        half = replace(job, concurrency=0, rate=most / 2, seed=bench.config.seed + repeat)
        bench.samples.add(_latencies(bench.run(half)))


def _latencies(found: Outcome) -> dict[str, float]:
    return {
        "single_p50_ms_at_half_load": found.p50_ms,
        "single_p99_ms_at_half_load": found.p99_ms,
        "single_p999_ms_at_half_load": found.p999_ms,
        "half_load_sent_late_p99_ms": found.late_p99_ms,
    }
