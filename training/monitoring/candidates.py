"""Which published snapshots can be scored, which of them must be scored (again), and why others cannot."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import Final

import numpy as np
import polars as pl

from forecast.demand.panel import STEP, Panel
from forecast.errors import IntegrityError, NotFoundError
from forecast.home import Home
from forecast.snapshot.format import MANIFEST, Manifest, is_id, read_manifest
from training.monitoring.scoring import known_periods

SCORING: Final = 1
"""Counts the ways of scoring: what an earlier one found is found anew."""


@dataclass(frozen=True, kw_only=True)
class Skipped:
    """A snapshot that cannot be scored, and why."""

    snapshot: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class Waiting:
    """A snapshot of which nothing has come true yet."""

    manifest: Manifest

    @property
    def first(self) -> np.datetime64:
        """The period whose demand it waits for."""
        return self.manifest.origin + STEP[self.manifest.period]


@dataclass(frozen=True, kw_only=True)
class Ripe:
    """A snapshot of which `n_periods` are known. `basis`: a hash of the demand that its scores rest on."""

    manifest: Manifest
    n_periods: int
    basis: str


@dataclass(frozen=True, kw_only=True)
class Candidates:
    """All published snapshots, each in one of three lists, by origin."""

    ripe: tuple[Ripe, ...]
    waiting: tuple[Waiting, ...]
    skipped: tuple[Skipped, ...]


def find_candidates(home: Home, outline: Panel, ledger: pl.DataFrame) -> Candidates:
    """Look at the manifests of all snapshots of a home, beside the outline and the ledger of its store.

    NotFoundError where there is no snapshot at all.
    """
    names = sorted(path.name for path in home.snapshots_dir.glob("*") if path.is_dir() and is_id(path.name))
    if not names:
        expected = f"a published one in {home.snapshots_dir}; `surgecast publish` makes one"
        raise NotFoundError("snapshot", expected=expected, found="none")
    ripe: list[Ripe] = []
    waiting: list[Waiting] = []
    skipped: list[Skipped] = []
    for name in names:
        try:
            manifest = read_manifest(home.snapshots_dir / name / MANIFEST)
        except (IntegrityError, OSError) as error:
            skipped.append(Skipped(snapshot=name, reason=str(error)))
            continue
        reason = _misfit(manifest, outline)
        if reason:
            skipped.append(Skipped(snapshot=name, reason=reason))
        elif n_periods := known_periods(outline, manifest.origin, manifest.horizon):
            ripe.append(Ripe(manifest=manifest, n_periods=n_periods, basis=_basis(manifest, ledger)))
        else:
            waiting.append(Waiting(manifest=manifest))
    return Candidates(
        ripe=tuple(sorted(ripe, key=lambda one: (one.manifest.origin, one.manifest.created))),
        waiting=tuple(sorted(waiting, key=lambda one: one.first)),
        skipped=tuple(skipped),
    )


def _misfit(manifest: Manifest, outline: Panel) -> str:
    """Why forecasts cannot be held against a store; empty where they can."""
    if manifest.period != outline.period:
        return f"period: expected that of the store, {outline.period}, found {manifest.period}"
    if manifest.origin < outline.start:
        return f"origin: expected {outline.start} or later, the store's demand, found {manifest.origin}"
    if off := (manifest.origin - outline.start) % STEP[outline.period]:
        return f"origin: expected in step with the store's {outline.period}s, found {off} beside them"
    return ""


def _basis(manifest: Manifest, ledger: pl.DataFrame) -> str:
    """A hash of the imports whose demand reaches up to the end of the horizon: another import changes nothing
    of what was forecast, nor of what a seasonal naive knew."""
    end = manifest.origin + manifest.horizon * STEP[manifest.period]
    moment = end.astype("datetime64[us]").item()
    imports = ledger.filter(pl.col("first") <= moment).select("import", "hashes").rows()
    return hashlib.sha256(json.dumps([SCORING, imports]).encode()).hexdigest()[:16]
