"""What the run of a version tells: scores, gates, parameters, the model card."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from forecast.home import Home
from training.gates.findings import Finding
from training.jobs import MODEL_NAME
from training.models.inventory import run_folder
from training.registry import Version
from training.tracking import connect

if TYPE_CHECKING:
    from mlflow.entities import Run as MlflowRun

Row = dict[str, Any]
BY_SLICE: Final = "backtest/by-slice.json"
GATE: Final = "gates/promotion.json"
CARD: Final = "model-card.md"
REASON: Final = "reason"
"""Tag of a version that a job kept back: why."""
STOPPED: Final = "stopped"
"""Fact of a bundle whose training was given up."""


@dataclass(frozen=True, kw_only=True)
class Told:
    """What MLflow has of a version's run; empty where it has nothing, or the run is gone."""

    metrics: dict[str, float]
    parameters: dict[str, str]
    tags: dict[str, str]

    @property
    def wql(self) -> float | None:
        """Of the backtest."""
        return self.metrics.get(f"backtest/wql/{MODEL_NAME}")

    @property
    def gate(self) -> str:
        """`passed`, `failed`, or empty where no promotion gate looked at it."""
        return self.tags.get("gate.promotion", "")


def told(home: Home, version: Version) -> Told:
    """Ask MLflow for a version's run."""
    run = _run(home, version.run_id)
    if run is None:
        return Told(metrics={}, parameters={}, tags={})
    data = run.data
    return Told(metrics=dict(data.metrics), parameters=dict(data.params), tags=dict(data.tags))


def scores(home: Home, run_id: str) -> list[Row]:
    """Rows of a run's backtest: slice, forecaster and metrics; none where there is no such table."""
    return _table(home, run_id, BY_SLICE)


def gate_findings(home: Home, version: Version) -> list[Finding]:
    """What the promotion gate found of a version; none where it did not look at it."""
    return [Finding(**row) for row in _table(home, version.run_id, GATE)]


def card(home: Home, version: Version) -> str:
    """The model card in Markdown; empty where there is none."""
    path = run_folder(home, version.run_id) / CARD
    return path.read_text(encoding="utf-8") if path.is_file() else ""


def kept_back(home: Home, version: Version) -> str:
    """Why a version was kept back by the promotion gate or its training; empty where it was not."""
    if STOPPED in version.tags:
        return version.tags[STOPPED]
    failures = [one.sentence() for one in gate_findings(home, version) if one.blocks and not one.passed]
    if failures:
        return "; ".join(failures)
    if version.tags.get(REASON):
        return version.tags[REASON]
    return "the promotion gate failed" if told(home, version).gate == "failed" else ""


def origin_scores(home: Home, version: Version) -> dict[str, list[Row]]:
    """Origin of the backtest -> its rows as `scores`, of runs that kept them apart."""
    run = _run(home, version.run_id)
    if run is None:
        return {}
    client = connect(home)
    wanted = f"tags.mlflow.parentRunId = '{version.run_id}'"
    children = client.search_runs([run.info.experiment_id], wanted, max_results=1_000)
    found = {
        one.data.tags["origin"]: scores(home, one.info.run_id)
        for one in children
        if "origin" in one.data.tags
    }
    return {origin: rows for origin, rows in sorted(found.items()) if rows}


def _run(home: Home, run_id: str) -> MlflowRun | None:
    from mlflow.exceptions import MlflowException

    if not run_id:
        return None
    try:
        return connect(home).get_run(run_id)
    except MlflowException as error:
        if error.error_code not in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            raise
        return None


def _table(home: Home, run_id: str, name: str) -> list[Row]:
    path = run_folder(home, run_id) / name
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return [dict(zip(content["columns"], row, strict=True)) for row in content["data"]]
    except (OSError, ValueError, KeyError, TypeError):  # written by hand, or not at all
        return []
