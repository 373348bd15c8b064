"""The generator's process: reads jobs from its standard input, one JSON object a line, and prints outcomes.

{"do": "load", "job": {...}, "refusal": CODE} begins a job; {"do": "stop"} ends its loops early. It answers
each job with one line, a list of outcomes. It ends with its input, so that it never outlives who started it.
"""

from __future__ import annotations

import asyncio
import json
import selectors
import sys
from contextlib import aclosing, suppress
from dataclasses import asdict
from pathlib import Path

from serving.bench.load import Job, Load, read_requests
from serving.bench.targets import target_of


class Generator:
    """Runs one job at a time; keeps requests and known answers from job to job."""

    def __init__(self) -> None:
        self._requests: dict[str, list[bytes]] = {}
        self._known: dict[str, list[list[bytes]]] = {}
        self._load: Load | None = None

    async def obey(self, source: asyncio.StreamReader) -> None:
        """Obey the lines of an input to its end."""
        async with asyncio.TaskGroup() as group:  # a job that breaks ends it all, so that nobody waits for it
            tasks = []
            async for line in source:
                order = json.loads(line)
                if order["do"] == "stop":
                    self._stop()
                else:
                    tasks.append(group.create_task(self._run(Job(**order["job"]), order["refusal"])))
            for task in tasks:
                task.cancel()

    def _stop(self) -> None:
        if self._load is not None:
            self._load.stop()

    async def _run(self, job: Job, refusal: str) -> None:
        if job.requests not in self._requests:
            self._requests[job.requests] = read_requests(Path(job.requests))
            self._known[job.requests] = [[] for _ in self._requests[job.requests]]
        async with aclosing(target_of(job)) as target:
            self._load = Load(job, target, self._requests[job.requests], self._known[job.requests])
            outcomes = await self._load.run(refusal)
        sys.stdout.write(json.dumps([asdict(outcome) for outcome in outcomes]) + "\n")
        sys.stdout.flush()


async def main() -> None:
    """Obey the standard input."""
    reader = asyncio.StreamReader(limit=1 << 20)
    await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), sys.stdin
    )
    await Generator().obey(reader)


if __name__ == "__main__":
    # `select` waits to the microsecond, where `epoll` rounds up to the next millisecond.
    runner = asyncio.Runner(loop_factory=lambda: asyncio.SelectorEventLoop(selectors.SelectSelector()))
    with suppress(KeyboardInterrupt), runner:
        runner.run(main())
