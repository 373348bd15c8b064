"""Three times as many calls as a server can answer: `python -m tests.bench.overload --home HOME`.

Prints `overload_p99_ratio`: the 99th percentile of accepted calls while a flood of three times the capacity
lasts, over that of calls on an idle server; below 3 is good. The calls that are timed come from this process,
the flood from another, so that the flood's own queue is not measured. Prints what the flood got back too, and
the seconds after it until nothing is refused.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from typing import Annotated, Any

import grpc
import numpy as np
import typer
from surgecast.v1 import forecast_pb2

from forecast.cli.options import HomeOption
from forecast.errors import InputError
from forecast.home import Home
from forecast.snapshot import Pointer, Snapshot
from tests.support.flood import Flood, has_retry, open_channel

BATCH = "/surgecast.v1.ForecastService/BatchGetForecasts"
PACE_S = 0.01
app = typer.Typer()


class Asked:
    """Calls that were timed: seconds of those that were answered, and how many were refused."""

    def __init__(self) -> None:
        self.seconds: list[float] = []
        self.refused = 0
        self.unexplained = 0

    def once(self, call: Any, content: bytes) -> bool:
        """Whether one call was answered."""
        began = time.perf_counter()
        try:
            call(content, timeout=10)
        except grpc.RpcError as error:
            self.refused += 1
            self.unexplained += not has_retry(error)
            return False
        self.seconds.append(time.perf_counter() - began)
        return True

    def lasting(self, call: Any, content: bytes, seconds: float, pace: float) -> Asked:
        """Ask for some seconds, with a pause after each."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self.once(call, content)
            time.sleep(pace)
        return self

    @property
    def p99_ms(self) -> float:
        """The 99th percentile."""
        return float(np.percentile(self.seconds, 99) * 1e3)


def _content(home: Home, n_series: int) -> bytes:
    snapshot = Snapshot.open(home.snapshots_dir / Pointer.read(home).snapshot)
    keys = list(snapshot.index)
    chosen = (keys[n % len(keys)] for n in range(n_series))
    series = [forecast_pb2.SeriesKey(item=i, location=x, platform=p) for i, x, p in chosen]
    return forecast_pb2.BatchGetForecastsRequest(keys=series).SerializeToString()


@app.command()
def flood(address: str, content: str, rate: float, seconds: float) -> None:
    """The other process: ask `rate` times a second and print what came back."""
    with Flood(address, BATCH, bytes.fromhex(content), rate) as sent:
        time.sleep(seconds)
    print(json.dumps({"codes": sent.codes, "unexplained": sent.unexplained, "unsent": sent.unsent}))


@app.command()
def measure(
    home: HomeOption,
    seconds: Annotated[float, typer.Option(help="How long the flood lasts.")] = 60.0,
    series: Annotated[int, typer.Option(help="Series in each call.")] = 100,
) -> None:
    """Start a server on a home, measure it idle, flooded and after."""
    command = [
        sys.executable,
        "-m",
        "forecast.cli.main",
        "serve",
        "--home",
        str(home),
        "--port",
        "0",
        "--json",
    ]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        results = _measured(_address(server), _content(Home(home), series), seconds)
    finally:
        server.terminate()
        server.wait()
    print(
        json.dumps({"bench": "overload", "series": series, "seconds": seconds, "results": results}, indent=2)
    )


def _measured(address: str, content: bytes, seconds: float) -> dict[str, object]:
    with open_channel(address) as channel:
        call = channel.unary_unary(BATCH)
        Asked().lasting(call, content, 1.0, 0.0)  # warm
        capacity = _capacity(address, content)
        idle = Asked().lasting(call, content, 10.0, PACE_S)
        arguments = [address, content.hex(), str(3 * capacity), str(seconds)]
        other = subprocess.Popen(
            [sys.executable, "-m", "tests.bench.overload", "flood", *arguments],
            stdout=subprocess.PIPE,
            text=True,
        )
        time.sleep(2.0)
        flooded = Asked().lasting(call, content, seconds - 2.0, PACE_S)
        flood_text, _ = other.communicate()
        ended = time.monotonic()
        while Asked().lasting(call, content, 0.5, PACE_S).refused:
            pass
        recovered = time.monotonic() - ended
    got = json.loads(flood_text)
    return {
        "overload_p99_ratio": flooded.p99_ms / idle.p99_ms,
        "idle_p99_ms": idle.p99_ms,
        "accepted_p99_ms": flooded.p99_ms,
        "capacity_calls_per_s": capacity,
        "offered_calls_per_s": sum(got["codes"].values()) / seconds,
        "flood": got["codes"],
        "refused_without_retry_info": got["unexplained"] + flooded.unexplained,
        "recovered_after_s": recovered,
        "capacity_after_calls_per_s": _capacity(address, content),
    }


def _capacity(address: str, content: bytes) -> float:
    """Calls per second of four callers that each wait for their answer."""
    seconds = 3.0
    with open_channel(address) as channel:
        call = channel.unary_unary(BATCH)
        end, answered = time.monotonic() + seconds, 0
        waiting = [call.future(content, timeout=10) for _ in range(4)]
        while time.monotonic() < end:
            answered += waiting.pop(0).exception() is None
            waiting.append(call.future(content, timeout=10))
        for one in waiting:
            one.exception()
    return answered / seconds


def _address(server: subprocess.Popen[str]) -> str:
    text = ""
    for line in server.stdout or ():
        text += line
        if line.rstrip() == "}":
            return str(json.loads(text)["address"])
    raise InputError("server", expected="to serve", found=f"status {server.wait()}")


if __name__ == "__main__":
    app()
