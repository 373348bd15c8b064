"""An outside check: nghttp2's h2load sends one real GetForecast again and again.

A gRPC error is HTTP 200 as well, and h2load does not look at trailers. But an error carries no message: only
an answer has DATA frames, of a known size. So the bytes of data that h2load counts say how many calls were
answered.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Final

import grpc

from forecast.cli.output import say
from forecast.cli.processes import started
from forecast.errors import SurgecastError
from serving.bench.bench import PROBE_S, Bench
from serving.bench.driver import pinned
from serving.bench.questions import GET

PROGRAM: Final = "h2load"
CALLS: Final = 2_000
"""Of the first run, which says how many make up one repeat."""
STREAMS: Final = 16
LIMIT_S: Final = 120.0


def h2load(bench: Bench, core: int) -> None:
    """h2load_calls_per_s: answered calls a second; h2load_failed_calls: those without an answer."""
    if shutil.which(PROGRAM) is None:
        reason = f"{PROGRAM} is not installed (Debian's nghttp2-client has it)"
        bench.skip(reason, "h2load_calls_per_s")
        return
    request = bench.questions.singles(1)[0]
    with grpc.insecure_channel(bench.server.address) as channel:
        answer: bytes = channel.unary_unary(GET)(request, timeout=PROBE_S)
    body = bench.folder / "h2load.body"
    body.write_bytes(framed(request))
    size = len(framed(answer))
    rate, _ = _run(bench, body, size, CALLS, core)
    failed = 0
    for _ in range(bench.config.repeats):
        calls = max(round(rate * bench.config.seconds), STREAMS)
        per_s, answered = _run(bench, body, size, calls, core)
        bench.samples.add({"h2load_calls_per_s": per_s})
        failed += calls - answered
    bench.facts["h2load_failed_calls"] = failed
    if failed:
        say(f"{PROGRAM}: {failed} calls were not answered")


def framed(message: bytes) -> bytes:
    """A message as gRPC sends it: not compressed, its length, its bytes."""
    return b"\x00" + len(message).to_bytes(4, "big") + message


def _run(bench: Bench, body: Path, size: int, calls: int, core: int) -> tuple[float, int]:
    """So many calls; answered ones a second, and how many those are."""
    command = [PROGRAM, "-n", str(calls), "-c", "1", "-m", str(STREAMS), "-t", "1", "-d", str(body)]
    command += ["-H", "content-type: application/grpc", "-H", "te: trailers"]
    command.append(f"http://{bench.server.address}{GET}")
    with pinned(core), started(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
        try:
            printed, _ = process.communicate(timeout=LIMIT_S)
        except subprocess.TimeoutExpired as error:
            raise SurgecastError(f"{PROGRAM}: expected an end within {LIMIT_S:g} s, found none") from error
    if process.returncode != 0:
        raise SurgecastError(f"{PROGRAM}: {(printed.strip().splitlines() or ['failed'])[-1]}")
    seconds, data = parse_report(printed)
    answered = data // size
    return answered / seconds, answered


def parse_report(printed: str) -> tuple[float, int]:
    """Seconds and bytes of data of h2load's report. Raises SurgecastError for something else."""
    finished = re.search(r"^finished in ([\d.]+)(us|ms|s|m)\b", printed, re.MULTILINE)
    traffic = re.search(r"^traffic: .*\((\d+)\) data$", printed, re.MULTILINE)
    if finished is None or traffic is None:
        words = " ".join(printed.split())[-200:]
        raise SurgecastError(f"{PROGRAM}: expected lines `finished in` and `traffic`, found {words!r}")
    unit = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0}[finished[2]]
    return float(finished[1]) * unit, int(traffic[1])
