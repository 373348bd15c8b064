"""What happened to the calls of one stretch of load, in numbers.

A latency counts from the moment at which a call was due, not from when it was sent: a generator that a slow
server holds up must not leave the waiting out (coordinated omission).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

OK: Final = "OK"
BIN_S: Final = 0.25
"""Width of the bins in which answers are counted, seconds."""


class Reply(NamedTuple):
    """How a call ended.

    code: `OK`, or the name of what it failed with. content: the answer of a unary call. size: bytes of all
    pieces. retry: whether a failure says when to ask again. text: the words of a failure.
    """

    code: str
    content: bytes = b""
    size: int = 0
    retry: bool = False
    text: str = ""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """A stretch of load, counted.

    seconds: its length. calls: those that ended, in it or after it. codes: of all calls. good_per_s: answers
    that came within the stretch, a second. p50_ms, p99_ms, p999_ms, worst_ms: of good answers, from the
    moment a call was due; NaN without any. late_p99_ms: how long after that moment calls were sent. bytes: of
    all answers. bare_refusals: refusals that do not say when to ask again. mixed: good answers that are none
    of the known ones. good_by_bin: good answers that came in each `BIN_S` of the stretch. problem: the words
    of the first failure that is no refusal.
    """

    seconds: float
    calls: int
    codes: dict[str, int]
    good_per_s: float
    p50_ms: float
    p99_ms: float
    p999_ms: float
    worst_ms: float
    late_p99_ms: float
    bytes: int
    bare_refusals: int
    mixed: int
    good_by_bin: list[int]
    problem: str

    @property
    def good(self) -> int:
        """Calls that were answered."""
        return self.codes.get(OK, 0)

    @property
    def failed(self) -> int:
        """Calls that were not."""
        return self.calls - self.good


@dataclass
class Tally:
    """Counts calls. refusal: the code of a server that has too much to do. Times: one clock, seconds."""

    refusal: str
    codes: Counter[str] = field(default_factory=Counter)
    latency: list[float] = field(default_factory=list)
    late: list[float] = field(default_factory=list)
    ends: list[float] = field(default_factory=list)
    size: int = 0
    bare_refusals: int = 0
    mixed: int = 0
    problem: str = ""

    def add(self, due: float, sent: float, end: float, reply: Reply, known: Sequence[bytes] | None) -> None:
        """One call; known: the answers that it may get, None where any will do."""
        self.codes[reply.code] += 1
        self.late.append(sent - due)
        self.size += reply.size
        if reply.code == OK:
            self.latency.append(end - due)
            self.ends.append(end)
            self.mixed += known is not None and reply.content not in known
        elif reply.code == self.refusal:
            self.bare_refusals += not reply.retry
        elif not self.problem:
            self.problem = f"{reply.code}: {reply.text}"

    def outcome(self, began: float, seconds: float) -> Outcome:
        """The stretch that began then."""
        offset = np.asarray(self.ends) - began
        in_time = offset[(offset >= 0) & (offset < seconds)]
        n_bins = max(round(seconds / BIN_S), 1)
        bins, _ = np.histogram(in_time, n_bins, (0.0, n_bins * BIN_S))
        p50, p99, p999, worst = milliseconds(self.latency, (50, 99, 99.9, 100))
        return Outcome(
            seconds=seconds,
            calls=self.codes.total(),
            codes=dict(self.codes),
            good_per_s=len(in_time) / seconds,
            p50_ms=p50,
            p99_ms=p99,
            p999_ms=p999,
            worst_ms=worst,
            late_p99_ms=milliseconds(self.late, (99,))[0],
            bytes=self.size,
            bare_refusals=self.bare_refusals,
            mixed=self.mixed,
            good_by_bin=bins.tolist(),
            problem=self.problem,
        )


def milliseconds(seconds: Sequence[float], percents: Sequence[float]) -> list[float]:
    """Percentiles of durations in ms; NaN where there are none."""
    if not seconds:
        return [float("nan")] * len(percents)
    return [1e3 * value for value in np.percentile(seconds, percents).tolist()]


def schedule(rate: float, seconds: float, seed: int) -> NDArray[np.float64]:
    """When the calls of an open loop are due, seconds from its begin, ascending: independent of each other,
    so that they come in clumps as planners do (a Poisson process, but of exactly `rate` calls a second).
    """
    random = np.random.default_rng(seed)
    return np.sort(random.uniform(0.0, seconds, max(round(rate * seconds), 1)))
