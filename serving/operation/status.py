"""What a running server says of itself: over gRPC how it is, from its metrics how much it does."""

from __future__ import annotations

import time
import urllib.error
import urllib.request
from collections import Counter
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from http.client import HTTPException
from itertools import pairwise
from typing import Final

import numpy as np
from prometheus_client.parser import text_string_to_metric_families

from forecast.errors import SurgecastError
from forecast.times import iso
from serving.client import Client
from serving.operation.exposition import LOOPBACK
from serving.server import LIVE, PUBLICATION, SERVICES

WATCHED_S: Final = 1.0
"""Seconds over which calls are counted."""
TIMEOUT_S: Final = 5.0

Metrics = dict[tuple[str, tuple[tuple[str, str], ...]], float]


@dataclass(frozen=True, kw_only=True)
class Status:
    """A server as it is now. None (or empty) is what could not be learnt; times are UTC in ISO 8601.

    healthy: every service and the publication are SERVING and so are all workers, of one snapshot; a server
    without a live model is healthy, and so is one whose metrics are not to be had. health: by service, of the
    process that answered. snapshots: processes by what they serve. calls_per_s, p99_ms: of all processes over
    the last second. trouble: what is wrong, or why something could not be learnt.
    """

    address: str
    healthy: bool = False
    health: dict[str, str] = field(default_factory=dict)
    snapshot: str = ""
    model_version: str = ""
    origin: str = ""
    created: str = ""
    age_s: float | None = None
    serving_since: str = ""
    refused: str = ""
    snapshots: dict[str, int] = field(default_factory=dict)
    workers: int | None = None
    workers_serving: int | None = None
    worker_restarts: int | None = None
    calls_per_s: float | None = None
    p99_ms: float | None = None
    trouble: str = ""


def ask(client: Client, metrics_port: int) -> Status:
    """The status of the server that a client asks; its metrics are read where the port is not 0."""
    status = Status(address=client.address)
    try:
        health = {service: client.health(service) for service in (*SERVICES, PUBLICATION, LIVE)}
        needed = {health[service] for service in (*SERVICES, PUBLICATION)}
        status = replace(status, health=health, healthy=needed == {"SERVING"})
        serving = client.serving_model()
    except SurgecastError as error:
        return replace(status, healthy=False, trouble=str(error))
    now = np.datetime64(datetime.now(UTC).replace(tzinfo=None), "s")
    status = replace(
        status,
        snapshot=serving.source.snapshot,
        model_version=serving.source.model_version,
        origin=iso(serving.source.origin),
        created=iso(serving.created),
        age_s=float((now - serving.created) / np.timedelta64(1, "s")),
        refused=serving.refused,
    )
    if not metrics_port:
        return replace(status, trouble="no metrics: the server's --metrics-port shows calls and workers")
    try:
        return _with_metrics(status, metrics_port)
    except (OSError, ValueError, HTTPException) as error:
        reason = error.reason if isinstance(error, urllib.error.URLError) else error
        trouble = f"metrics of {LOOPBACK}:{metrics_port}: expected an answer, found {reason}"
        return replace(status, trouble=trouble)


def _with_metrics(status: Status, port: int) -> Status:
    before, began = _read(port), time.monotonic()
    time.sleep(WATCHED_S)
    after, seconds = _read(port), time.monotonic() - began
    snapshots = _snapshots(after)
    if status.snapshot not in snapshots and status.snapshot not in _snapshots(before):
        found = _listed(snapshots) or "no snapshot"
        other = f"expected those of {status.snapshot}, found those of another server: {found}"
        return replace(status, trouble=f"metrics of {LOOPBACK}:{port}: {other}")
    apart = len(snapshots) > 1 and len(_snapshots(before)) > 1  # in a swap they differ for a moment
    since = datetime.fromtimestamp(_one(after, "surgecast_snapshot_serving_timestamp_seconds"), UTC)
    wanted, serving = (int(_one(after, f"surgecast_workers{part}")) for part in ("", "_serving"))
    calls = _total(after, "surgecast_calls_total") - _total(before, "surgecast_calls_total")
    return replace(
        status,
        healthy=status.healthy and wanted == serving and not apart,
        serving_since=iso(since.replace(tzinfo=None, microsecond=0)),
        snapshots=snapshots,
        workers=wanted,
        workers_serving=serving,
        worker_restarts=int(_one(after, "surgecast_worker_restarts_total")),
        calls_per_s=calls / seconds,
        p99_ms=_p99_ms(before, after),
        trouble=f"workers serve {len(snapshots)} different snapshots: {_listed(snapshots)}" if apart else "",
    )


def _read(port: int) -> Metrics:
    url = f"http://{LOOPBACK}:{port}/metrics"
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # no proxy leads to this machine
    with opener.open(url, timeout=TIMEOUT_S) as answer:
        text = answer.read().decode()
    samples = (s for family in text_string_to_metric_families(text) for s in family.samples)
    return {(sample.name, tuple(sorted(sample.labels.items()))): sample.value for sample in samples}


def _one(metrics: Metrics, name: str) -> float:
    value = metrics.get((name, ()))
    if value is None:
        raise ValueError(f"no {name}")
    return value


def _snapshots(metrics: Metrics) -> dict[str, int]:
    """Processes by the snapshot that they serve."""
    found = Counter[str]()
    for (name, labels), value in metrics.items():
        if name == "surgecast_model_info":
            found[dict(labels)["snapshot"]] += int(value)
    return dict(found)


def _listed(snapshots: dict[str, int]) -> str:
    return ", ".join(f"{snapshot} in {number}" for snapshot, number in snapshots.items())


def _total(metrics: Metrics, name: str) -> float:
    return sum(value for (found, _labels), value in metrics.items() if found == name)


def _p99_ms(before: Metrics, after: Metrics) -> float | None:
    """The 99th percentile of the calls between two readings, all methods together; None without calls."""
    counts: dict[float, float] = {0.0: 0.0}
    for key, value in after.items():
        name, labels = key
        if name == "surgecast_call_seconds_bucket":
            end = float(dict(labels)["le"])
            counts[end] = counts.get(end, 0.0) + value - before.get(key, 0.0)
    ends = sorted(counts)
    wanted = 0.99 * counts[ends[-1]]
    if not wanted:
        return None
    for low, high in pairwise(ends):
        if counts[high] >= wanted:
            inside = (wanted - counts[low]) / (counts[high] - counts[low])
            return 1e3 * (low if high == float("inf") else low + inside * (high - low))
    return None
