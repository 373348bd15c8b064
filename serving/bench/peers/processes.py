"""Starting other people's servers, and ending all that they started."""

from __future__ import annotations

import http.client
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from typing import IO, Final

from forecast.cli.processes import started
from forecast.errors import NotFoundError, SurgecastError
from forecast.home import Home
from serving.bench.driver import last_line, wait

MARK: Final = "SURGECAST_BENCH_PEER"
"""In the environment of what a peer starts in groups of its own."""
READY: Final = "ready"
"""What Ray's process prints when it answers."""
START_S: Final = 180.0
END_S: Final = 10.0
PEERS: Final = {
    "mlflow": ("mlflow", "pip install mlflow"),
    "rayserve": ("ray", "pip install 'surgecast[scale]'"),
    "mlflow-model": ("mlflow", "pip install mlflow"),
    "rayserve-model": ("ray", "pip install 'surgecast[scale]'"),
}
"""Name of a peer -> the package that it needs, and how to get it. Those with `model` in their name run the
model for each call, the others are given ready forecasts."""


def check_installed(peer: str) -> None:
    """Raises NotFoundError where the package of a peer is not there."""
    package, command = PEERS[peer]
    if find_spec(package) is None:
        raise NotFoundError(f"--vs {peer}", expected=f"the package {package}", found=f"none ({command})")


@contextmanager
def mlflow_server(home: Home, folder: Path, *, live: bool) -> Iterator[str]:
    """`mlflow models serve` of a home's forecasts, or of its model if `live`, while the context is open;
    yields HOST:PORT."""
    port = _free_port()
    model, log = folder / "mlflow-model", folder / "mlflow.log"
    script = Path(__file__).with_name("mlflow_model.py")
    save = [sys.executable, str(script), str(model), str(home.root), "model" if live else "ready"]
    serve = [sys.executable, "-m", "mlflow", "models", "serve", "--model-uri", str(model)]
    serve += ["--env-manager", "local", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    with _marked() as environment, log.open("w") as words:
        with started(save, stdout=words, stderr=words, environment=environment) as process:
            wait(process, START_S, "mlflow", log)
        with _whole(serve, words, environment) as process:
            _wait_for_ping(process, port, log)
            yield f"127.0.0.1:{port}"


@contextmanager
def ray_server(home: Home, folder: Path, *, live: bool) -> Iterator[str]:
    """Ray Serve's gRPC ingress to a home's forecasts, or to its model if `live`, while the context is open;
    yields HOST:PORT."""
    port, log = _free_port(), folder / "ray.log"
    with _marked() as environment, log.open("w") as words, tempfile.TemporaryDirectory(prefix="r") as place:
        environment |= {"RAY_USAGE_STATS_ENABLED": "0", "RAY_SERVE_THROUGHPUT_OPTIMIZED": "1"}
        command = [sys.executable, "-c", "from serving.bench.peers.ray_app import main; main()"]
        command += ["--home", str(home.root), "--folder", place, "--port", str(port)]
        command += ["--http-port", str(_free_port()), *(["--model"] if live else [])]
        with _whole(command, words, environment) as process:
            if process.stdout is None or READY not in _line(process.stdout):
                raise SurgecastError(f"ray: {last_line(log)}")
            yield f"127.0.0.1:{port}"


@contextmanager
def _whole(
    command: list[str], words: IO[str], environment: dict[str, str]
) -> Iterator[subprocess.Popen[str]]:
    """A process that takes all of its group with it."""
    group = 0
    try:
        with started(command, stdout=subprocess.PIPE, stderr=words, environment=environment) as process:
            group = process.pid
            yield process
    finally:
        if group:
            with suppress(ProcessLookupError):
                os.killpg(group, signal.SIGKILL)


def _line(pipe: IO[str]) -> str:
    """The next line; nothing where none comes in time."""
    return pipe.readline() if select.select([pipe], [], [], START_S)[0] else ""


def _wait_for_ping(process: subprocess.Popen[str], port: int, log: Path) -> None:
    end = time.monotonic() + START_S
    while process.poll() is None and time.monotonic() < end:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        try:
            connection.request("GET", "/ping")
            if connection.getresponse().status == http.client.OK:
                return
        except OSError:  # not yet
            time.sleep(0.1)
        finally:
            connection.close()
    raise SurgecastError(f"mlflow: expected an answer to /ping, found: {last_line(log)}")


@contextmanager
def _marked() -> Iterator[dict[str, str]]:
    """An environment; what was started with it and did not end by itself is killed at the end."""
    mark = uuid.uuid4().hex
    path = os.pathsep.join((str(Path(sys.executable).parent), os.environ.get("PATH", "")))
    try:
        yield {**os.environ, MARK: mark, "PATH": path}
    finally:
        end = time.monotonic() + END_S
        while (left := _with_mark(mark)) and time.monotonic() < end:
            for pid in left:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(0.05)


def _with_mark(mark: str) -> list[int]:
    found, text = [], f"{MARK}={mark}".encode()
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                if text in entry.joinpath("environ").read_bytes():
                    found.append(int(entry.name))
            except OSError:  # gone, or somebody else's
                continue
    return found


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
