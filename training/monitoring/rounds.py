"""One round of monitoring: score what is new, keep it, and judge."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Final

import numpy as np
import polars as pl

from forecast.cli.output import progress, say
from forecast.demand.panel import Panel, Period
from forecast.demand.panel_build import load_shards
from forecast.demand.shards import PanelShards
from forecast.demand.store import DemandStore
from forecast.errors import IntegrityError, NotFoundError
from forecast.home import Home
from forecast.monitor_settings import MonitorSettings
from forecast.snapshot.folders import locked
from forecast.snapshot.reader import Snapshot
from forecast.times import iso
from training.gates.findings import Finding
from training.monitoring.candidates import Candidates, Ripe, Skipped, Waiting, find_candidates
from training.monitoring.judge import judge, recent_scores
from training.monitoring.promise import Promise, promise_of
from training.monitoring.scoring import compare
from training.monitoring.table import fresh, merged, overall, pooled, read_scores, rows_of, write_scores

SERIES_AT_ONCE: Final = 500_000
"""Series of all snapshots that are open at once, whose keys are held: one snapshot at least."""
MOST_OPEN: Final = 32
"""Snapshots that are open at once: each maps six files."""


@dataclass(frozen=True, kw_only=True)
class Round:
    """What a round found.

    last: the store's last period. scores: the rows of the snapshots asked for, see `table`. recent: `pooled`
    rows of all snapshots of the settings' window. new: snapshots that were scored now. newest: when the
    newest snapshot was made, UTC in ISO 8601. findings: of the model that serves.
    """

    period: Period
    last: np.datetime64
    data_version: str
    scores: pl.DataFrame
    recent: pl.DataFrame
    new: tuple[str, ...]
    waiting: tuple[Waiting, ...]
    skipped: tuple[Skipped, ...]
    newest: str
    promise: Promise
    findings: tuple[Finding, ...]

    @property
    def failures(self) -> tuple[Finding, ...]:
        """Findings that stop."""
        return tuple(one for one in self.findings if one.blocks and not one.passed)

    @property
    def warnings(self) -> tuple[Finding, ...]:
        """Findings that do not hold but do not stop."""
        return tuple(one for one in self.findings if not one.blocks and not one.passed)


def look(home: Home, settings: MonitorSettings, *, since: np.datetime64 | None = None) -> Round:
    """Score every published snapshot of which something came true since, unless that was done with the same
    demand, and judge the model that serves.

    since: report only on origins from then on. A second round at the same time waits for the first.
    Raises NotFoundError where there is no demand, no snapshot, or none of which something is known.
    """
    shards = load_shards(home)
    outline = shards.outline
    ledger = DemandStore(home.demand_dir, version=outline.data_version).ledger()
    found = find_candidates(home, outline, ledger)
    home.monitoring_dir.mkdir(parents=True, exist_ok=True)
    with locked(home.monitoring_dir):
        scores, trouble = read_scores(home)
        if trouble:
            say(trouble)
        due = [ripe for ripe in found.ripe if not fresh(scores, ripe)]
        new, damaged = _score(home, shards, due)
        if new:
            scores = merged(scores, new)
            write_scores(home, scores)
    skipped = (*found.skipped, *damaged)
    chosen = _chosen(scores, since, found, skipped, outline)
    newest, bundle = _newest(scores, found)
    promise = promise_of(home, bundle)
    recent = recent_scores(scores, outline.origin, settings.window_days)
    return Round(
        period=outline.period,
        last=outline.origin,
        data_version=outline.data_version,
        scores=chosen,
        recent=pooled(recent),
        new=tuple(str(part["snapshot"][0]) for part in new),
        waiting=found.waiting,
        skipped=skipped,
        newest=newest,
        promise=promise,
        findings=judge(scores, promise, period=outline.period, last=outline.origin, settings=settings),
    )


def _score(home: Home, shards: PanelShards, due: Sequence[Ripe]) -> tuple[list[pl.DataFrame], list[Skipped]]:
    """Rows of each snapshot that is due and whole."""
    if len(shards) == 1:  # held whole, and read once for all snapshots
        ((_, panel),) = shards if due else ((None, shards.outline),)
        shards = PanelShards.of(panel)
    rows: list[pl.DataFrame] = []
    skipped: list[Skipped] = []
    with progress("scoring snapshots", total=len(due) * len(shards)) as advance:
        for batch in _batches(due):
            opened: list[tuple[Ripe, Snapshot]] = []
            for ripe in batch:
                try:
                    opened.append((ripe, Snapshot.open(home.snapshots_dir / ripe.manifest.id)))
                except (IntegrityError, NotFoundError, OSError) as error:
                    skipped.append(Skipped(snapshot=ripe.manifest.id, reason=str(error)))
            if not opened:
                continue
            compared = compare(shards, [snapshot for _, snapshot in opened], advance)
            for (ripe, _), one in zip(opened, compared, strict=True):
                rows.append(rows_of(one, ripe, shards.outline.data_version))
    return rows, skipped


def _batches(due: Sequence[Ripe]) -> Iterator[list[Ripe]]:
    """Snapshots that are open together: each pass over a large store serves several."""
    rest = iter(due)
    while batch := list(islice(rest, 1)):
        n = batch[0].manifest.n_series
        batch += islice(rest, min(max(SERIES_AT_ONCE // max(n, 1), 1), MOST_OPEN) - 1)
        yield batch


def _chosen(
    scores: pl.DataFrame,
    since: np.datetime64 | None,
    found: Candidates,
    skipped: Sequence[Skipped],
    outline: Panel,
) -> pl.DataFrame:
    """The scores from an origin on. NotFoundError, with what is missing, where there are none."""
    if scores.is_empty():
        if found.waiting:
            first = found.waiting[0]
            expected = f"some of {iso(first.first)} or later, which {first.manifest.id} forecast"
            raise NotFoundError("demand", expected=expected, found=f"none after {iso(outline.origin)}")
        named = "; ".join(f"{one.snapshot}: {one.reason}" for one in skipped)
        raise NotFoundError("snapshot", expected="one that can be scored", found=named)
    if since is None:
        return scores
    chosen = scores.filter(pl.col("origin") >= since.astype("datetime64[us]").item())
    if chosen.is_empty():
        latest = str(overall(scores)["origin"][-1]).removesuffix(" 00:00:00")
        last = f"none; the last that could be scored is of {latest}"
        raise NotFoundError("snapshot", expected=f"one of {iso(since)} or later", found=last)
    return chosen


def _newest(scores: pl.DataFrame, found: Candidates) -> tuple[str, str]:
    """When the newest snapshot was made, and its bundle."""
    manifests = [one.manifest for one in found.ripe] + [one.manifest for one in found.waiting]
    made = [(one.created, one.bundle_id) for one in manifests]
    made += list(overall(scores).select("created", "bundle").iter_rows())
    return max(made)
