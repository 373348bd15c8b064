"""A long run: does the server grow?"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from itertools import cycle
from typing import Final, NamedTuple

import numpy as np

from serving.bench.bench import Bench
from serving.bench.load import Job
from serving.bench.process import descriptors, memory_mb, resident_mb, threads
from serving.bench.questions import AGGREGATE, EXPORT, SURGES
from serving.bench.reads import IN_FLIGHT, batch_job, single_job

TURN_S: Final = 5.0
"""One kind of calls is made so long before the next kind comes."""
TENTH: Final = 10


class Held(NamedTuple):
    """What the server holds at a moment: MB, MB, and counts."""

    resident: float
    private: float
    descriptors: float
    threads: float


def soak(bench: Bench) -> None:
    """soak_memory_growth and soak_private_growth (shares, from the second tenth of the run, the first being
    the warm-up, to the last), soak_descriptors_growth and soak_threads_growth (counts) under mixed load."""
    end = time.monotonic() + 60 * bench.config.soak_minutes
    held: list[Held] = []
    calls = failed = 0
    for job in cycle(_jobs(bench)):
        left = end - time.monotonic()
        if left <= 0:
            break
        found = bench.run(replace(job, seconds=min(TURN_S, left)))
        calls, failed = calls + found.calls, failed + found.failed
        pid = bench.server.pid
        held.append(Held(resident_mb(pid), memory_mb(pid), descriptors(pid), threads(pid)))
    first, last = ends(held)
    bench.facts.update(
        {
            "soak_minutes": bench.config.soak_minutes,
            "soak_calls": calls,
            "soak_failed_calls": failed,
            "soak_resident_mb": last.resident,
            "soak_memory_growth": last.resident / first.resident - 1,
            "soak_private_growth": last.private / first.private - 1,
            "soak_descriptors_growth": last.descriptors - first.descriptors,
            "soak_threads_growth": last.threads - first.threads,
        }
    )


def ends(held: Sequence[Held]) -> tuple[Held, Held]:
    """Medians of the second tenth and of the last one."""
    n = max(len(held) // TENTH, 1)
    begin = held[n : 2 * n] or held[-1:]
    return Held(*np.median(begin, axis=0).tolist()), Held(*np.median(held[-n:], axis=0).tolist())


def _jobs(bench: Bench) -> list[Job]:
    """One loop of each kind of call that the server answers."""
    questions = bench.questions
    jobs = [batch_job(bench), replace(single_job(bench), concurrency=IN_FLIGHT)]
    sums, surges, export = questions.sums(questions.groups), questions.surges(50), questions.export()
    if bench.lacks(AGGREGATE, questions.total()) is None:
        jobs.append(replace(bench.job(AGGREGATE, bench.file("soak-sums", sums)), concurrency=1))
    if bench.lacks(SURGES, surges[0]) is None:
        jobs.append(replace(bench.job(SURGES, bench.file("soak-surges", surges)), concurrency=1))
    if bench.lacks(EXPORT, export[0], stream=True) is None:
        job = bench.job(EXPORT, bench.file("export", export), kind="grpc-stream")
        jobs.append(replace(job, concurrency=1, timeout_s=120.0))
    return jobs
