"""The same forecasts, or the model that makes them, behind MLflow's and Ray Serve's servers: same requests,
same generator, same run.

Each server has the same one core, with one worker, and the generator the other.
"""

from __future__ import annotations

import http.client
import json
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import Final

import grpc
import numpy as np
from surgecast.v1 import forecast_pb2

from forecast.cli.output import say
from forecast.errors import SurgecastError, UsageError
from forecast.forecasts import Floats
from serving.bench.bench import PROBE_S, Bench
from serving.bench.driver import pinned
from serving.bench.load import Job
from serving.bench.peers.processes import PEERS, check_installed, mlflow_server, ray_server
from serving.bench.questions import BATCH
from serving.bench.reads import SERIES, WARM_S, batch, batch_job

TIMEOUT_S: Final = 60.0
"""A peer may take its time."""


def parse_peers(text: str) -> tuple[str, ...]:
    """Names of `PEERS` from a list with commas, each once. Raises UsageError for one that is not known,
    NotFoundError for one that is not installed."""
    names = tuple(dict.fromkeys(name.strip() for name in text.split(",")))
    for name in names:
        if name not in PEERS:
            raise UsageError(f"--vs: expected some of {', '.join(PEERS)}, found {name!r}")
        check_installed(name)
    return names


@dataclass(frozen=True, kw_only=True)
class Peer:
    """A peer: its server, our requests in its own form, and the means (n, H) that it answers with."""

    server: AbstractContextManager[str]
    requests: Sequence[bytes]
    job: Job
    means: Callable[[str, bytes], Floats]


def versus(bench: Bench, peers: Sequence[str], core: int) -> None:
    """vs_NAME_ratio: our forecasts a second over theirs, both on `core`; NAME_forecasts_per_s and NAME_p99_ms
    beside ours; for NAME with its hyphens as underscores.

    Raises SurgecastError when a peer's numbers are not ours.
    """
    if not any(name == "batch_forecasts_per_s" for name in bench.samples.results()):
        batch(bench)
    for name in peers:
        say(f"starting {name}")
        label = name.replace("-", "_")
        make, live = (_mlflow if name.startswith("mlflow") else _rayserve), name.endswith("-model")
        peer = make(bench, live=live)
        with pinned(core), peer.server as address:
            _same(bench, name, peer.means(address, peer.requests[0]))
            job = replace(peer.job, address=address)
            bench.run(replace(job, seconds=WARM_S))
            for _ in range(bench.config.repeats):
                found = bench.run(job)
                speed = {f"{label}_forecasts_per_s": SERIES * found.good_per_s}
                bench.samples.add(speed | {f"{label}_p99_ms": found.p99_ms})
        results = bench.samples.results()
        if not results[f"{label}_forecasts_per_s"]:
            raise SurgecastError(f"{name}: expected answers within --seconds {job.seconds:g}, found none")
        ratio = results["batch_forecasts_per_s"] / results[f"{label}_forecasts_per_s"]
        bench.facts[f"vs_{label}_ratio"] = ratio


def _mlflow(bench: Bench, *, live: bool) -> Peer:
    requests = []
    for content in bench.questions.batches(100, SERIES):
        keys = forecast_pb2.BatchGetForecastsRequest.FromString(content).keys
        columns = {name: [getattr(key, name) for key in keys] for name in ("item", "location", "platform")}
        requests.append(json.dumps({"inputs": columns}).encode())
    file = bench.file("mlflow", requests)
    return Peer(
        server=mlflow_server(bench.stage.home, bench.folder, live=live),
        requests=requests,
        job=replace(batch_job(bench), kind="http", path="/invocations", requests=file, timeout_s=TIMEOUT_S),
        means=_mlflow_means,
    )


def _mlflow_means(address: str, request: bytes) -> Floats:
    connection = http.client.HTTPConnection(address, timeout=TIMEOUT_S)
    try:
        connection.request("POST", "/invocations", request, {"Content-Type": "application/json"})
        reply = connection.getresponse()
        content = reply.read()
    finally:
        connection.close()
    if reply.status != http.client.OK:
        raise SurgecastError(f"mlflow: expected forecasts, found {content[:200].decode(errors='replace')}")
    return np.array(json.loads(content)["predictions"]["mean"], np.float32)


def _rayserve(bench: Bench, *, live: bool) -> Peer:
    return Peer(
        server=ray_server(bench.stage.home, bench.folder, live=live),
        requests=bench.questions.batches(100, SERIES),
        job=replace(batch_job(bench), timeout_s=TIMEOUT_S),
        means=_grpc_means,
    )


def _grpc_means(address: str, request: bytes) -> Floats:
    options = (("grpc.max_receive_message_length", -1), ("grpc.enable_http_proxy", 0))
    with grpc.insecure_channel(address, options) as channel:
        content: bytes = channel.unary_unary(BATCH)(request, timeout=PROBE_S, wait_for_ready=True)
    reply = forecast_pb2.BatchGetForecastsResponse.FromString(content)
    return np.array([forecast.mean for forecast in reply.forecasts], np.float32)


def _same(bench: Bench, name: str, theirs: Floats) -> None:
    ours = _grpc_means(bench.server.address, bench.questions.batches(1, SERIES)[0])
    if ours.shape != theirs.shape or not np.allclose(ours, theirs, rtol=1e-4):
        raise SurgecastError(f"{name}: expected the numbers of our server, found others")
