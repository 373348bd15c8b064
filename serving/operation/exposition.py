"""The Prometheus metrics of all processes of a server, added up, on a loopback port of their own."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from forecast.errors import BusyError
from serving.operation.metrics import Family, Tally, families, places
from serving.operation.state import ServingState

LOOPBACK: Final = "127.0.0.1"
_STATM: Final = "/proc/{pid}/statm"


class Exposition(Collector):
    """What Prometheus reads. The process that shows the metrics needs not be one that serves.

    tallies: the numbers of each process. states: what each process that serves now serves, by its name.
    workers: how many should.
    """

    def __init__(
        self, tallies: Sequence[Tally], states: Callable[[], Mapping[str, ServingState]], workers: int
    ) -> None:
        self._tallies = tallies
        self._states = states
        self._workers = workers
        self._began = time.time()

    def collect(self) -> Iterator[Metric]:
        """All metrics as they are now."""
        for family in families():
            yield self._added_up(family)
        states = self._states()
        yield _number("surgecast_workers", "Processes that should serve.", self._workers)
        yield _number("surgecast_workers_serving", "Processes that serve.", len(states))
        yield _number("surgecast_start_timestamp_seconds", "When the server was started.", self._began)
        yield from _about_snapshots(list(states.values()))
        yield _memory({"parent": os.getpid()} | {name: state.pid for name, state in states.items()})

    def _added_up(self, family: Family) -> Metric:
        if family.kind == "histogram":
            return self._histogram(family)
        kind = CounterMetricFamily if family.kind == "counter" else GaugeMetricFamily
        metric = kind(family.name, family.text, labels=family.labels)
        for child in family.children:
            value = self._sum(places()[family.name, child])
            if value or family.kind == "gauge" or not family.labels:
                metric.add_metric(child, value)
        return metric

    def _histogram(self, family: Family) -> Metric:
        metric = HistogramMetricFamily(family.name, family.text, labels=family.labels)
        ends = [*(f"{end:g}" for end in family.ends), "+Inf"]
        for child in family.children:
            at = places()[family.name, child]
            buckets, total = [], 0.0
            for number, end in enumerate(ends):
                total += self._sum(at + number)
                buckets.append((end, total))
            if total or not family.labels:
                metric.add_metric(child, buckets, self._sum(at + len(ends)))
        return metric

    def _sum(self, at: int) -> float:
        return sum(tally.cells[at] for tally in self._tallies)


def _number(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(name, text, value=value)


def _about_snapshots(states: list[ServingState]) -> Iterator[Metric]:
    """What serves: where processes differ for a moment, the oldest snapshot and the last to begin count."""
    info = GaugeMetricFamily(
        "surgecast_model_info",
        "Processes that serve a snapshot.",
        labels=("model_version", "snapshot", "bundle"),
    )
    for labels, number in Counter((s.model_version, s.snapshot, s.bundle) for s in states).items():
        info.add_metric(labels, number)
    yield info
    different = len({state.snapshot for state in states})
    yield _number("surgecast_snapshots_serving", "Snapshots that serve; 1 where processes agree.", different)
    live = sum(state.live for state in states)
    yield _number("surgecast_live_ready", "Processes whose live model answers.", live)
    sound = bool(states) and not any(state.refused_reason for state in states)
    yield _number("surgecast_publication_sound", "1 where what is published serves, 0 where not.", sound)
    if states:
        created = min(state.create_seconds for state in states)
        since = max(state.since_seconds for state in states)
        yield _number("surgecast_snapshot_created_timestamp_seconds", "When it was written.", created)
        yield _number("surgecast_snapshot_serving_timestamp_seconds", "When it began to serve.", since)
        yield _number("surgecast_snapshot_age_seconds", "Since it was written.", time.time() - created)


def _memory(processes: Mapping[str, int]) -> Metric:
    metric = GaugeMetricFamily(
        "surgecast_resident_bytes", "Resident memory; shared maps count in each.", labels=("process",)
    )
    page = os.sysconf("SC_PAGE_SIZE")
    for name, pid in processes.items():
        try:
            pages = int(Path(_STATM.format(pid=pid)).read_text(encoding="ascii").split()[1])
        except (OSError, IndexError):
            continue  # gone since, or a system that does not tell
        metric.add_metric((name,), pages * page)
    return metric


@contextmanager
def exposed(exposition: Exposition, port: int) -> Iterator[str]:
    """Answer http://127.0.0.1:PORT/metrics until the end; gives that address, or nothing where port is 0.

    BusyError where the port is taken.
    """
    if not port:
        yield ""
        return
    registry = CollectorRegistry()
    registry.register(exposition)
    try:
        server, thread = start_http_server(port, LOOPBACK, registry)
    except OSError as error:
        found = error.strerror or str(error)
        raise BusyError("metrics port", expected=f"to listen on {LOOPBACK}:{port}", found=found) from error
    try:
        yield f"http://{LOOPBACK}:{port}/metrics"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
