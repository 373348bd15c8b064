"""What Prometheus reads of monitoring: over HTTP on the loopback address, or from a file."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Final
from zoneinfo import ZoneInfo

import numpy as np
import polars as pl
from prometheus_client import CollectorRegistry, start_http_server, write_to_textfile
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from forecast.demand.panel import STEP
from forecast.errors import BusyError, UsageError
from training.monitoring.judge import CHECKS, DAY
from training.monitoring.rounds import Round
from training.monitoring.tally import BANDS

LOOPBACK: Final = "127.0.0.1"
SECONDS_A_DAY: Final = 86_400.0
ACCURACY: Final = {
    "wql": "Weighted quantile loss of recent published forecasts.",
    "wape": "Weighted absolute percentage error of their median.",
    "bias": "Sum of mean forecasts over the demand, minus 1.",
    "fva": "Forecast value added: 1 - WQL / WQL of the seasonal naive.",
    "naive_wql": "WQL of the seasonal naive from the same origins.",
}
"""Column of the scores -> what it is, as `surgecast_monitor_COLUMN` by segment."""


class Gauges(Collector):
    """The last round as gauges; ages are those of the moment of the question. zone: of the store's times."""

    def __init__(self, zone: str) -> None:
        self._zone = ZoneInfo(zone)
        self._round: Round | None = None
        self._at = 0.0
        self._failed = False

    def show(self, found: Round) -> None:
        """Show this round from now on."""
        self._round, self._at, self._failed = found, time.time(), False

    def fail(self) -> None:
        """The last round failed: what the one before found stays."""
        self._failed = True

    def collect(self) -> Iterator[Metric]:
        """All gauges."""
        yield _gauge(
            "surgecast_monitor_round_failed", "1 where the last round of scoring failed.", self._failed
        )
        if self._round is None:
            return
        found = self._round
        yield _gauge(
            "surgecast_monitor_last_round_timestamp_seconds", "When scores were last up to date.", self._at
        )
        yield from _accuracy(found.recent)
        yield _findings(found)
        now = time.time()
        created = datetime.fromisoformat(found.newest).timestamp()
        yield _gauge(
            "surgecast_monitor_snapshot_age_days",
            "Days since the newest snapshot was made.",
            max(now - created, 0.0) / SECONDS_A_DAY,
        )
        yield _gauge(
            "surgecast_monitor_data_age_days",
            "Days since the end of the last period with demand.",
            max(now - self._end(found), 0.0) / SECONDS_A_DAY,
        )
        if found.promise.trained_until is not None:
            days = float((found.last - found.promise.trained_until) / DAY)
            text = "Days of demand that the model that serves was not trained on."
            yield _gauge("surgecast_monitor_training_age_days", text, days)

    def _end(self, found: Round) -> float:
        """The end of the store's last period, in seconds since 1970."""
        end: datetime = (found.last + STEP[found.period]).astype("datetime64[us]").item()
        return end.replace(tzinfo=self._zone).timestamp()


def registry_of(gauges: Gauges) -> CollectorRegistry:
    """A registry of these gauges alone."""
    registry = CollectorRegistry()
    registry.register(gauges)
    return registry


@contextmanager
def exposed(gauges: Gauges, port: int | None) -> Iterator[str]:
    """Answer http://127.0.0.1:PORT/metrics until the end; gives that address, nothing where no port is given.

    BusyError where the port is taken.
    """
    if port is None:
        yield ""
        return
    try:
        server, thread = start_http_server(port, LOOPBACK, registry_of(gauges))
    except OSError as error:
        found = error.strerror or str(error)
        raise BusyError("metrics port", expected=f"to listen on {LOOPBACK}:{port}", found=found) from error
    try:
        yield f"http://{LOOPBACK}:{server.server_port}/metrics"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def check_metrics_file(path: Path) -> None:
    """UsageError unless the node exporter's textfile collector could read this file, and we write it."""
    folder = path.absolute().parent
    if path.suffix != ".prom":
        raise UsageError(f"--metrics-file: expected a name ending in .prom, found {path}")
    if not folder.is_dir() or not os.access(folder, os.W_OK) or path.is_dir():
        raise UsageError(f"--metrics-file: expected a file in a folder that can be written to, found {path}")


def write_metrics(gauges: Gauges, path: Path) -> None:
    """Replace the file at once: the collector reads the old one or the new one."""
    write_to_textfile(str(path), registry_of(gauges))


def _accuracy(recent: pl.DataFrame) -> Iterator[Metric]:
    """By segment, and `all`; what is not known is left out."""
    rows = list(recent.filter(pl.col("dimension").is_in(["all", "segment"])).iter_rows(named=True))
    for name, text in ACCURACY.items():
        metric = GaugeMetricFamily(f"surgecast_monitor_{name}", text, labels=("segment",))
        _fill(metric, (((row["value"],), row[name]) for row in rows))
        yield metric
    coverage = GaugeMetricFamily(
        "surgecast_monitor_coverage", "Share of the demand in the central band.", labels=("segment", "band")
    )
    _fill(coverage, (((row["value"], band), row[f"coverage_{band}"]) for row in rows for band in BANDS))
    yield coverage
    scored = GaugeMetricFamily(
        "surgecast_monitor_scored", "Periods of series that were scored.", labels=("segment",)
    )
    _fill(scored, (((row["value"],), row["n"]) for row in rows))
    yield scored


def _fill(metric: GaugeMetricFamily, samples: Iterable[tuple[tuple[str, ...], float | None]]) -> None:
    for labels, value in samples:
        if value is not None and np.isfinite(value):
            metric.add_metric(labels, value)


def _findings(found: Round) -> Metric:
    metric = GaugeMetricFamily(
        "surgecast_monitor_finding",
        "1 where the model that serves crosses a threshold of [monitor] in surgecast.toml.",
        labels=("check",),
    )
    crossed = {one.check for one in found.failures}
    for check in CHECKS:
        metric.add_metric((check,), float(check in crossed))
    return metric


def _gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(name, text, value=value)
