"""What every measure of the bench needs: the server, the generator, questions, and where numbers go."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import grpc
from grpc_status import rpc_status

from forecast.bench.samples import Samples
from forecast.cli.output import say
from forecast.errors import SurgecastError, UsageError
from serving.bench.driver import Generator, RunningServer
from serving.bench.homes import Stage
from serving.bench.load import Job, Kind, save_requests
from serving.bench.questions import Questions
from serving.bench.tally import Outcome
from serving.errors import ABSENT

PROBE_S: Final = 60.0
"""How long the first call of a method may take, which may have to prepare something."""


@dataclass(frozen=True, kw_only=True)
class ServeBench:
    """How to measure.

    seconds: of one repeat. repeats: of which medians and spreads are taken. swaps: of the snapshot, under
    load. overload_s: how long the server gets three times what it can do. soak_minutes: of the long run; 0:
    none. only: the measures to take. seed: of the questions.
    """

    seconds: float = 1.5
    repeats: int = 3
    swaps: int = 20
    overload_s: float = 60.0
    soak_minutes: float = 0.0
    only: tuple[str, ...]
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("seconds", "overload_s"):
            if not getattr(self, name) > 0:
                raise UsageError(f"{name}: expected more than 0, found {getattr(self, name)}")


@dataclass(frozen=True, kw_only=True)
class Bench:
    """A bench under way. samples: numbers of repeats. facts: numbers taken once. skipped: measures that were
    not taken, and why."""

    config: ServeBench
    stage: Stage
    server: RunningServer
    generator: Generator
    questions: Questions
    folder: Path
    samples: Samples = field(default_factory=Samples)
    facts: dict[str, float] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)

    def file(self, name: str, requests: Sequence[bytes]) -> str:
        """Requests in a file for the generator, written once for each name."""
        path = self.folder / f"{name}.requests"
        if not path.exists():
            save_requests(path, requests)
        return str(path)

    def job(self, path: str, requests: str, *, kind: Kind = "grpc", seconds: float | None = None) -> Job:
        """A job on the server, of one repeat; its loop is still to be said."""
        return Job(
            kind=kind,
            address=self.server.address,
            path=path,
            requests=requests,
            seconds=self.config.seconds if seconds is None else seconds,
            seed=self.config.seed,
        )

    def run(self, job: Job) -> Outcome:
        """Run a job whose calls should be answered. Says what failed; raises SurgecastError where all did."""
        outcome = self.generator.run(job)[0]
        self.check(job, outcome)
        return outcome

    def check(self, job: Job, outcome: Outcome) -> None:
        """Say how many calls failed; SurgecastError where all did."""
        if outcome.calls and not outcome.good:
            raise SurgecastError(f"{job.path}: expected answers, found {outcome.problem or outcome.codes}")
        if outcome.failed:
            say(f"{job.path}: {outcome.failed} of {outcome.calls} calls failed: {outcome.codes}")
        self.facts["failed_calls"] = self.facts.get("failed_calls", 0) + outcome.failed

    def skip(self, reason: str, *metrics: str) -> None:
        """Leave metrics out, and say so."""
        for metric in metrics:
            self.skipped[metric] = reason
            say(f"skipped {metric}: {reason}")

    def lacks(self, path: str, request: bytes, *, stream: bool = False) -> str | None:
        """Why the server does not answer a method that it may not have; None where it answers.

        Raises SurgecastError for any other failure.
        """
        failure = self.failure(path, request, stream=stream)
        if failure is None:
            return None
        code, text = failure
        if code == ABSENT:
            return f"{path.rpartition('/')[2]} is {ABSENT} by this server"
        raise SurgecastError(f"{path}: expected an answer, found {code}: {text}")

    def failure(self, path: str, request: bytes, *, stream: bool = False) -> tuple[str, str] | None:
        """Ask once; the code and words of a failure, None where it was answered."""
        options = (("grpc.max_receive_message_length", -1), ("grpc.enable_http_proxy", 0))
        with grpc.insecure_channel(self.server.address, options) as channel:
            try:
                if stream:
                    for _piece in channel.unary_stream(path)(request, timeout=PROBE_S):
                        pass
                else:
                    channel.unary_unary(path)(request, timeout=PROBE_S)
            except grpc.RpcError as error:
                status = rpc_status.from_call(error)
                return error.code().name, status.message if status else error.details() or ""
        return None
