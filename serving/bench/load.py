"""Load from one event loop: raw requests in, raw answers out, so that asking costs little."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, Protocol

from serving.bench.tally import Outcome, Reply, Tally, schedule

Kind = Literal["grpc", "grpc-stream", "http"]
SIZE_BYTES: Final = 4


@dataclass(frozen=True, kw_only=True)
class Job:
    """What to ask and how.

    kind, address, path: whom: a method's full name, or the path of a URL. requests: a file of raw requests
        (`save_requests`), asked one after the other and again from the start.
    concurrency: calls in flight of a closed loop. rate: calls a second of an open loop, in place of it. each:
        every request once, one at a time, in place of both, as far as the seconds go.
    seconds: length of the loop. after: once an open loop is over, calls in flight of a closed loop of
        `after_s` seconds that follows at once.
    timeout_s: how long a call may take. connections: of gRPC, taken in turn. learn: keep the answers as known
        ones (with `each`). check: count the answers that are none of the known ones.
    """

    kind: Kind
    address: str
    path: str
    requests: str
    concurrency: int = 0
    rate: float = 0.0
    each: bool = False
    seconds: float = 1.0
    after: int = 0
    after_s: float = 0.0
    timeout_s: float = 10.0
    connections: int = 4
    learn: bool = False
    check: bool = False
    seed: int = 0


class Target(Protocol):
    """Somebody to ask."""

    async def ask(self, request: bytes) -> Reply:
        """One call; never raises for what the other side does."""

    async def aclose(self) -> None:
        """End all connections."""


class Load:
    """The calls of a job on a target; `stop` ends its loops before their time.

    known: for each request, the answers that it may get.
    """

    def __init__(self, job: Job, target: Target, requests: Sequence[bytes], known: list[list[bytes]]) -> None:
        self.job = job
        self._target = target
        self._requests = requests
        self._known = known
        self._turn = itertools.count()
        self._stopped = asyncio.Event()

    def stop(self) -> None:
        """Begin no more calls."""
        self._stopped.set()

    async def run(self, refusal: str) -> list[Outcome]:
        """One outcome, and that of the loop that follows where the job has one; then all connections end."""
        async with aclosing(self._target):
            return await self._run(refusal)

    async def _run(self, refusal: str) -> list[Outcome]:
        job = self.job
        if job.each:
            return [await self._each(Tally(refusal))]
        if not job.rate:
            return [await self._closed(Tally(refusal), job.concurrency, job.seconds)]
        return await self._open(Tally(refusal), Tally(refusal))

    async def _each(self, tally: Tally) -> Outcome:
        began = _now()
        for turn, known in enumerate(self._known):
            if turn and (self._stopped.is_set() or _now() >= began + self.job.seconds):
                break
            content = await self._one(tally, _now())
            if self.job.learn:
                known.append(content)
        return tally.outcome(began, max(_now() - began, 1e-9))

    async def _closed(self, tally: Tally, concurrency: int, seconds: float) -> Outcome:
        began = _now()

        async def worker() -> None:
            while _now() < began + seconds and not self._stopped.is_set():
                await self._one(tally, _now())

        async with asyncio.TaskGroup() as group:
            for _ in range(concurrency):
                group.create_task(worker())
        return tally.outcome(began, min(_now() - began, seconds))

    async def _open(self, tally: Tally, later: Tally) -> list[Outcome]:
        job, began = self.job, _now()
        outcomes = []
        async with asyncio.TaskGroup() as group:  # waits for the last answers
            for offset in schedule(job.rate, job.seconds, job.seed).tolist():
                due = began + offset
                await asyncio.sleep(max(due - _now(), 0.0))
                if self._stopped.is_set():
                    break
                group.create_task(self._one(tally, due))
            await asyncio.sleep(max(began + job.seconds - _now(), 0.0))
            if job.after:
                outcomes.append(await self._closed(later, job.after, job.after_s))
        return [tally.outcome(began, job.seconds), *outcomes]

    async def _one(self, tally: Tally, due: float) -> bytes:
        turn = next(self._turn) % len(self._requests)
        sent = _now()
        reply = await self._target.ask(self._requests[turn])
        tally.add(due, sent, _now(), reply, self._known[turn] if self.job.check else None)
        return reply.content


def _now() -> float:
    return asyncio.get_running_loop().time()


def save_requests(path: Path, requests: Sequence[bytes]) -> None:
    """Write raw requests: the size of each in four bytes, and its bytes."""
    with path.open("wb") as file:
        for request in requests:
            file.write(len(request).to_bytes(SIZE_BYTES, "big") + request)


def read_requests(path: Path) -> list[bytes]:
    """What `save_requests` wrote."""
    content, requests, at = path.read_bytes(), [], 0
    while at < len(content):
        begin = at + SIZE_BYTES
        at = begin + int.from_bytes(content[at:begin], "big")
        requests.append(content[begin:at])
    return requests
