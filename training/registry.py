"""The registry: versions of the model `surgecast` in MLflow, and the alias that says which one serves.

A version is a bundle: its id is a tag of the version, its files lie in the home's bundles folder and, as a
copy, among the artifacts of the run that made it. MLflow never loads it, so there is nothing to unpickle.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from forecast.cli.output import say
from forecast.errors import NotFoundError
from forecast.home import Home
from forecast.model.bundle import Bundle
from forecast.snapshot.pointer import manifest_of
from forecast.snapshot.rollback import open_rollback, reconcile
from training.tracking import Run, connect

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion

MODEL: Final = "surgecast"
CHAMPION: Final = "champion"
ARTIFACT: Final = "bundle"


@dataclass(frozen=True, kw_only=True)
class Registered:
    """A registered version of the model."""

    version: str
    bundle_id: str
    run_id: str


def bundle_folder(home: Home, bundle_id: str) -> Path:
    """Where a bundle lies in a home."""
    return home.bundles_dir / bundle_id


def load_bundle(home: Home, bundle_id: str) -> Bundle:
    """Read a bundle of the home. Raises NotFoundError or IntegrityError."""
    folder = bundle_folder(home, bundle_id)
    if not bundle_id or not folder.is_dir():
        names = sorted(path.name for path in home.bundles_dir.glob("*") if not path.name.startswith("."))
        there = f"one of {', '.join(names)}" if names else "one that `surgecast train` made"
        raise NotFoundError("bundle", expected=there, found=bundle_id if names else "no bundle yet")
    return Bundle.load(folder)


def register(run: Run, bundle: Bundle, folder: Path, *, aliases: tuple[str, ...]) -> Registered:
    """Log a saved bundle with its run, make it a new version and point the aliases to it."""
    from mlflow.exceptions import MlflowException

    run.folder(folder, ARTIFACT)
    try:
        run.client.create_registered_model(MODEL, description="Demand forecasts through sales surges.")
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    tags = {"bundle_id": bundle.bundle_id, **{name: str(value) for name, value in bundle.facts.items()}}
    made = run.client.create_model_version(
        MODEL, source=f"runs:/{run.run_id}/{ARTIFACT}", run_id=run.run_id, tags=tags
    )
    for alias in aliases:
        run.client.set_registered_model_alias(MODEL, alias, made.version)
    return _registered(made)


def find(home: Home, alias: str = CHAMPION) -> Registered:
    """The version that an alias points to. Raises NotFoundError when there is none."""
    missing = NotFoundError(alias, expected="a registered model; `surgecast train` makes one", found="none")
    if not home.mlflow_db.is_file():
        raise missing
    client = connect(home)
    from mlflow.exceptions import MlflowException

    try:
        return _registered(client.get_model_version_by_alias(MODEL, alias))
    except MlflowException as error:
        if error.error_code not in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            raise
        raise missing from error


def follow_rollback(home: Home) -> None:
    """Let the alias `champion` follow a rollback at the server that is still in force, once, and say so."""
    rollback = open_rollback(home)
    if rollback is None:
        return
    bundle_id = manifest_of(home, rollback.snapshot).bundle_id
    version = version_of(home, bundle_id)
    about = f"rolled back to {rollback.snapshot} by {rollback.who} ({rollback.why})"
    if version:
        connect(home).set_registered_model_alias(MODEL, CHAMPION, version)
        say(f"champion: version {version}, for the server was {about}")
    else:
        say(f"champion: unchanged; the server was {about}, whose bundle {bundle_id} is not registered")
    reconcile(home)


def version_of(home: Home, bundle_id: str) -> str:
    """The newest version that holds a bundle; empty when it was never registered."""
    if not home.mlflow_db.is_file():
        return ""
    rows = connect(home).search_model_versions(f"name = '{MODEL}'", max_results=1000)
    numbers = [int(row.version) for row in rows if row.tags.get("bundle_id") == bundle_id]
    return str(max(numbers)) if numbers else ""


def _registered(found: ModelVersion) -> Registered:
    return Registered(
        version=str(found.version), bundle_id=found.tags["bundle_id"], run_id=str(found.run_id or "")
    )


def promote(home: Home, version: str, *, reason: str | None) -> None:
    """Make a version champion."""
    connect(home).set_registered_model_alias(MODEL, CHAMPION, version)
