"""The generator's process: reads jobs from its standard input, one JSON object a line, and prints outcomes.

{"do": "load", "job": {...}, "refusal": CODE} begins a job; {"do": "stop"} ends its loops early. It answers
each job with one line, a list of outcomes. It ends with its input, so that it never outlives who started it.
"""

from __future__ import annotations

import asyncio
import json
import selectors
import sys
from dataclasses import asdict
from pathlib import Path

from serving.bench.load import Job, Load, read_requests
from serving.bench.targets import target_of


class Generator:
    """Runs one job at a time; keeps requests and known answers from job to job."""

    def __init__(self) -> None:
        self._requests: dict[str, list[bytes]] = {}
        self._known: dict[str, list[list[bytes]]] = {}

    async def obey(self, source: asyncio.StreamReader) -> None:
        """Obey the lines of an input to its end."""
        async with asyncio.TaskGroup() as group:  # a job that breaks ends it all, so that nobody waits for it
            load, task = None, None
            async for line in source:
                order = json.loads(line)
                if order["do"] == "load":
                    load = self._load(Job(**order["job"]))
                    task = group.create_task(_run(load, order["refusal"]))
                elif load is not None:
                    load.stop()
            if task is not None:
                task.cancel()

    def _load(self, job: Job) -> Load:
        if job.requests not in self._requests:
            self._requests[job.requests] = read_requests(Path(job.requests))
            self._known[job.requests] = [[] for _ in self._requests[job.requests]]
        return Load(job, target_of(job), self._requests[job.requests], self._known[job.requests])


async def _run(load: Load, refusal: str) -> None:
    outcomes = await load.run(refusal)
    sys.stdout.write(json.dumps([asdict(outcome) for outcome in outcomes]) + "\n")
    sys.stdout.flush()


async def _obey_input() -> None:
    reader = asyncio.StreamReader(limit=1 << 20)
    await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), sys.stdin
    )
    await Generator().obey(reader)


def main() -> None:
    """Obey the standard input."""
    # `select` waits to the microsecond, where `epoll` rounds up to the next millisecond.
    loops = asyncio.Runner(loop_factory=lambda: asyncio.SelectorEventLoop(selectors.SelectSelector()))
    with loops as runner:
        runner.run(_obey_input())
