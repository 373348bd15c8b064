"""What is known of an installation's models and jobs: read from MLflow, the pointer and the jobs' ledgers.

Nothing is written, and nothing has to be there.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from forecast.errors import SurgecastError
from forecast.home import Home
from forecast.snapshot.format import Manifest
from forecast.snapshot.pointer import Pointer, manifest_of, readable_pointer
from forecast.times import iso
from training.registry import CHAMPION, MODEL
from training.tracking import EXPERIMENT, connect

if TYPE_CHECKING:
    from mlflow import MlflowClient

MOST_RUNS: Final = 200
"""Of each purpose, the newest."""
PURPOSES: Final = ("retrain", "train", "monitor")
JOBS: Final = "jobs"
PARENT: Final = "mlflow.parentRunId"


@dataclass(frozen=True, kw_only=True)
class RunFacts:
    """A run without a parent: what it was for, when, and its metrics."""

    run_id: str
    experiment_id: str
    name: str
    purpose: str
    status: str
    started: datetime
    cutoff: str
    tags: Mapping[str, str]
    metrics: Mapping[str, float]


@dataclass(frozen=True, kw_only=True)
class VersionFacts:
    """A registered version. aliases: as `champion`. run_id: of the run that made it."""

    version: str
    bundle_id: str
    cutoff: str
    aliases: tuple[str, ...]
    made: datetime
    run_id: str
    tags: Mapping[str, str]

    @property
    def is_champion(self) -> bool:
        """Whether it is the one that serves."""
        return CHAMPION in self.aliases


@dataclass(frozen=True, kw_only=True)
class JobFacts:
    """A retraining job by its ledger: what came of it (promoted, kept, failed ...) and why."""

    key: str
    status: str
    reason: str
    began: str
    cutoff: str


@dataclass(frozen=True, kw_only=True)
class Serving:
    """What servers read now: the snapshot and when it was put there."""

    pointer: Pointer
    manifest: Manifest


@dataclass(frozen=True, kw_only=True)
class History:
    """All of it, newest first."""

    versions: tuple[VersionFacts, ...]
    runs: tuple[RunFacts, ...]
    jobs: tuple[JobFacts, ...]
    serving: Serving | None

    @property
    def champion(self) -> VersionFacts | None:
        """The version that the alias names."""
        return next((one for one in self.versions if one.is_champion), None)

    def run(self, run_id: str) -> RunFacts | None:
        """A run by its id, if it is among those that were read."""
        return next((one for one in self.runs if one.run_id == run_id), None)


def read_history(home: Home) -> History:
    """Read the home's story. Raises what `training.tracking` raises where the database is in trouble."""
    versions: tuple[VersionFacts, ...] = ()
    runs: tuple[RunFacts, ...] = ()
    if home.mlflow_db.is_file():
        client = connect(home)
        versions, runs = _versions(client), _runs(client)
    return History(versions=versions, runs=runs, jobs=_jobs(home), serving=_serving(home))


def _versions(client: MlflowClient) -> tuple[VersionFacts, ...]:
    aliases: dict[str, list[str]] = {}
    for model in client.search_registered_models(f"name = '{MODEL}'"):
        for alias, version in model.aliases.items():
            aliases.setdefault(str(version), []).append(alias)
    found = [
        VersionFacts(
            version=str(row.version),
            bundle_id=row.tags.get("bundle_id", ""),
            cutoff=iso(row.tags.get("cutoff") or row.tags.get("origin", "")),
            aliases=tuple(sorted(aliases.get(str(row.version), []))),
            made=_moment(row.creation_timestamp),
            run_id=str(row.run_id or ""),
            tags=dict(row.tags),
        )
        for row in client.search_model_versions(f"name = '{MODEL}'", max_results=1000)
    ]
    return tuple(sorted(found, key=lambda one: int(one.version), reverse=True))


def _runs(client: MlflowClient) -> tuple[RunFacts, ...]:
    experiment = client.get_experiment_by_name(EXPERIMENT)
    if experiment is None:
        return ()
    rows = [
        row
        for purpose in PURPOSES
        for row in client.search_runs(
            [experiment.experiment_id],
            f"tags.purpose = '{purpose}'",
            max_results=MOST_RUNS,
            order_by=["attributes.start_time DESC"],
        )
        if PARENT not in row.data.tags
    ]
    rows.sort(key=lambda row: row.info.start_time, reverse=True)
    return tuple(
        RunFacts(
            run_id=row.info.run_id,
            experiment_id=str(row.info.experiment_id),
            name=row.info.run_name,
            purpose=row.data.tags.get("purpose", ""),
            status=row.info.status,
            started=_moment(row.info.start_time),
            cutoff=iso(row.data.tags.get("cutoff", "")),
            tags=dict(row.data.tags),
            metrics=dict(row.data.metrics),
        )
        for row in rows
    )


def _jobs(home: Home) -> tuple[JobFacts, ...]:
    found = []
    for path in (home.root / JOBS).glob("*/job.json"):
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            facts = {name: str(content.get(name, "")) for name in ("status", "reason", "began", "cutoff")}
        except (OSError, ValueError, AttributeError):
            continue  # one that is being written, or was damaged: its job will say so
        found.append(JobFacts(key=path.parent.name, **{**facts, "cutoff": iso(facts["cutoff"])}))
    return tuple(sorted(found, key=lambda one: one.began, reverse=True))


def _serving(home: Home) -> Serving | None:
    pointer = readable_pointer(home)
    if pointer is None:
        return None
    try:
        return Serving(pointer=pointer, manifest=manifest_of(home, pointer.snapshot))
    except SurgecastError:
        return None


def _moment(milliseconds: int) -> datetime:
    return datetime.fromtimestamp(milliseconds / 1000, UTC)
