"""A round of monitoring as a run of MLflow."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Final

import numpy as np
import polars as pl

from forecast.home import Home
from forecast.snapshot.format import EVENTS, read_spans
from forecast.times import iso
from training.gates.findings import Finding
from training.monitoring.picture import EventDays, latest_of_each_origin, plot_over_time
from training.monitoring.report import wide
from training.monitoring.rounds import Round
from training.monitoring.table import overall
from training.tracking import Run

PURPOSE: Final = "monitor"
BY_ORIGIN: Final = ("wql", "wape", "bias", "coverage_50", "coverage_80", "coverage_95", "naive_wql", "fva")
SEGMENT_METRICS: Final = ("wql", "fva")


def log_round(home: Home, found: Round) -> str:
    """Log a round as one run; its id. A metric's steps are the origins, as 20261101."""
    name = f"monitor {iso(found.last)}"
    tags = {
        "purpose": PURPOSE,
        "job": PURPOSE,
        "data_version": found.data_version,
        "cutoff": str(found.last),
        "bundle_id": found.promise.bundle,
        "findings": ", ".join(sorted({one.check for one in found.failures})) or "none",
    }
    with Run(home, name, tags=tags) as run:
        whole = latest_of_each_origin(overall(found.scores))
        segments = found.scores.filter(pl.col("dimension") == "segment")
        for row in whole.iter_rows(named=True):
            values = {f"monitor/{metric}": row[metric] for metric in BY_ORIGIN}
            for part in segments.filter(pl.col("snapshot") == row["snapshot"]).iter_rows(named=True):
                segment = part["value"].replace(" ", "_")
                values |= {f"monitor/{metric}/{segment}": part[metric] for metric in SEGMENT_METRICS}
            known = {metric: value for metric, value in values.items() if value is not None}
            run.metrics(known, step=step_of(row["origin"], found.period))
        run.table(wide(found.scores), "monitor/scores")
        if found.findings:
            run.table(_findings(found.findings), "monitor/findings")
        run.picture(
            plot_over_time(whole, event_days(home, whole["snapshot"].to_list())), "pictures/over-time.png"
        )
    return run.run_id


def step_of(origin: datetime, period: str) -> int:
    """An origin as a step that a person can read: 20261101, of an hour 2026110115."""
    return int(origin.strftime("%Y%m%d%H" if period == "hour" else "%Y%m%d"))


def event_days(home: Home, snapshots: Sequence[str]) -> list[EventDays]:
    """The days of the events that were published with these snapshots; those of a snapshot that is gone or
    damaged are not known."""
    found: set[EventDays] = set()
    for snapshot in snapshots:
        try:
            spans = read_spans((home.snapshots_dir / snapshot / EVENTS).read_text(encoding="utf-8"))
        except (OSError, ValueError, TypeError, KeyError):
            continue
        found |= {EventDays(span.start, span.end, span.name) for span in spans if span.phase == "day"}
    return sorted(found, key=lambda one: (np.datetime64(one.start), one.name))


def _findings(findings: Sequence[Finding]) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "check": [one.check for one in findings],
            "subject": [one.subject for one in findings],
            "passed": [one.passed for one in findings],
            "blocks": [one.blocks for one in findings],
            "expected": [one.expected for one in findings],
            "found": [one.found for one in findings],
        }
    )
