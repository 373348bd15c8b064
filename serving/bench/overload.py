"""Three times what the server can do, for a while: what it accepts stays quick, the rest is refused."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from forecast.cli.output import say
from serving.bench.bench import Bench
from serving.bench.reads import IN_FLIGHT, WARM_S, batch_job
from serving.bench.tally import BIN_S
from serving.errors import REFUSED

SERIES: Final = 250
"""Of a batch here: so large that the generator, on one core too, can ask for three times what is possible."""
TIMES: Final = 3
LIGHT: Final = 0.2
"""Share of the capacity at which the server counts as unloaded."""
FULL: Final = 0.9
"""Share of the capacity that is full speed again."""
SECOND: Final = round(1 / BIN_S)
"""Bins over which speed is looked at."""
LATE_MS: Final = 50.0
"""A generator that sends its calls later than this does not keep its schedule."""


def overload(bench: Bench) -> None:
    """overload_p99_ratio: p99 of accepted calls over that of the unloaded server, both from the moment a call
    was due. overload_rejected_share: refused with RESOURCE_EXHAUSTED. overload_bare_refusals: of them, those
    without RetryInfo. overload_failed_calls: what failed otherwise. overload_recovery_s: until full speed."""
    job = batch_job(bench, SERIES)
    bench.run(replace(job, seconds=WARM_S))
    capacity = max(bench.run(job).good_per_s for _ in range(bench.config.repeats))
    light = bench.run(replace(job, concurrency=0, rate=LIGHT * capacity, seconds=3 * bench.config.seconds))
    flood = replace(
        job,
        concurrency=0,
        rate=TIMES * capacity,
        seconds=bench.config.overload_s,
        after=IN_FLIGHT,
        after_s=3 * bench.config.seconds,
    )
    found, after = bench.generator.run(flood)
    refused = found.codes.get(REFUSED, 0)
    if found.late_p99_ms > LATE_MS:
        say(f"overload: the generator sent calls {found.late_p99_ms:.0f} ms late (p99): its core is too slow")
    if found.problem:
        say(f"overload: {found.failed - refused} calls failed otherwise, the first with {found.problem}")
    recovery_s = recovered(after.good_by_bin, FULL * capacity)
    if math.isnan(recovery_s):
        say(f"overload: no full speed again within {after.seconds:.0f} s")
    bench.facts.update(
        {
            "overload_capacity_calls_per_s": capacity,
            "overload_offered_ratio": found.calls / found.seconds / capacity,
            "overload_accepted_per_s": found.good_per_s,
            "overload_unloaded_p99_ms": light.p99_ms,
            "overload_p50_ms": found.p50_ms,
            "overload_p99_ms": found.p99_ms,
            "overload_p99_ratio": found.p99_ms / light.p99_ms,
            "overload_rejected_share": refused / found.calls,
            "overload_bare_refusals": found.bare_refusals,
            "overload_failed_calls": found.failed - refused,
            "overload_sent_late_p99_ms": found.late_p99_ms,
            "overload_recovery_s": recovery_s,
        }
    )


def recovered(good_by_bin: Sequence[int], per_s: float) -> float:
    """Seconds after which a whole second had so many answers a second; NaN where none had."""
    for first in range(max(len(good_by_bin) - SECOND + 1, 1)):
        part = good_by_bin[first : first + SECOND]
        if sum(part) >= per_s * BIN_S * len(part):
            return first * BIN_S
    return math.nan
