"""The registry: versions of the model `surgecast` in MLflow, and the aliases that say what they are.

A version is a bundle: its id is a tag of the version, its files lie in the home's bundles folder and, as a
copy, among the artifacts of the run that made it. MLflow never loads it, so there is nothing to unpickle.

champion     the version that serves
previous     the champion before it, to which a rollback goes
challenger   a version that was made to become champion and is not yet, or was kept back
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

from forecast.cli.output import say
from forecast.errors import NotFoundError
from forecast.home import Home
from forecast.model.bundle import Bundle
from forecast.snapshot.pointer import manifest_of
from forecast.snapshot.rollback import open_rollback, reconcile
from forecast.times import iso
from training.tracking import Run, connect

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

MODEL: Final = "surgecast"
CHAMPION: Final = "champion"
PREVIOUS: Final = "previous"
CHALLENGER: Final = "challenger"
PROMOTED: Final = "promoted"
"""Tags of a version: when it became champion (UTC, ISO 8601), ..."""
PROMOTED_WHY: Final = "promoted_why"
"""... why, empty where the promotion gate agreed, ..."""
BEFORE: Final = "champion_before"
"""... the version that was champion until then; ..."""
ROLLED_BACK: Final = "rolled_back"
"""... when somebody went back from it to an older one, ..."""
ROLLED_BACK_WHY: Final = "rolled_back_why"
"""... and why."""
ARTIFACT: Final = "bundle"


@dataclass(frozen=True, kw_only=True)
class Registered:
    """A registered version of the model."""

    version: str
    bundle_id: str
    run_id: str


@dataclass(frozen=True, kw_only=True)
class Version:
    """A version with all that the registry knows of it. created: UTC. aliases: in alphabetical order.

    tags: facts of its bundle, and `twin_id`, `cutoff`, `data_version`, `job`, `purpose`, `promoted` ... where
    they are known.
    """

    version: str
    bundle_id: str
    run_id: str
    created: datetime
    aliases: tuple[str, ...]
    tags: Mapping[str, str]

    @property
    def twin_id(self) -> str:
        """The bundle of the same recipe on the demand before its backtest; empty where there is none."""
        return self.tags.get("twin_id", "")

    @property
    def cutoff(self) -> str:
        """Last period whose demand it has seen, without the hour where that is midnight."""
        return iso(self.tags.get("origin") or self.tags.get("cutoff", ""))

    @property
    def gone_back_from(self) -> bool:
        """Whether somebody went back from it, and nobody has promoted it since."""
        return ROLLED_BACK in self.tags


def bundle_folder(home: Home, bundle_id: str) -> Path:
    """Where a bundle lies in a home."""
    return home.bundles_dir / bundle_id


def folder_bytes(folder: Path) -> int:
    """Bytes of all files in a folder and below; 0 where it is not there."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


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
        if alias == CHAMPION:
            promote(run.home, str(made.version), reason=None)
        else:
            run.client.set_registered_model_alias(MODEL, alias, made.version)
    return _registered(made)


def find(home: Home, alias: str = CHAMPION) -> Registered:
    """The version that an alias points to. Raises NotFoundError when there is none, or it was deleted."""
    missing = NotFoundError(alias, expected="a registered model; `surgecast train` makes one", found="none")
    if not home.mlflow_db.is_file():
        raise missing
    client = connect(home)
    version = _aliases(client).get(alias)
    if version is None and (there := _search(client)):
        expected = "one of the versions; `surgecast models promote VERSION` makes it champion"
        raise NotFoundError(alias, expected=expected, found=f"none of {len(there)} is")
    if version is None:
        raise missing
    found = _version(client, version)
    if found is None:
        expected = "a version that is there; `surgecast models list` shows them, `models promote` takes one"
        raise NotFoundError(alias, expected=expected, found=f"version {version}, which was deleted")
    return _registered(found)


def versions(home: Home) -> list[Version]:
    """All versions, the oldest first."""
    if not home.mlflow_db.is_file():
        return []
    client = connect(home)
    names: dict[str, list[str]] = {}
    for alias, version in _aliases(client).items():
        names.setdefault(version, []).append(alias)
    found = [
        Version(
            version=str(one.version),
            bundle_id=one.tags.get("bundle_id", ""),
            run_id=str(one.run_id or ""),
            created=datetime.fromtimestamp(one.creation_timestamp / 1000, UTC),
            aliases=tuple(sorted(names.get(str(one.version), []))),
            tags=dict(one.tags),
        )
        for one in _search(client)
    ]
    return sorted(found, key=lambda one: int(one.version))


def aliases_of(home: Home) -> dict[str, str]:
    """Alias -> version, also of those whose version was deleted."""
    return _aliases(connect(home)) if home.mlflow_db.is_file() else {}


def promote(home: Home, version: str, *, reason: str | None) -> None:
    """Make a version champion; the champion of now becomes `previous`. Once more changes nothing.

    reason: why, where somebody decided it; None where the promotion gate did.
    Raises NotFoundError where there is no such version.
    """
    client = connect(home)
    if _version(client, version) is None:
        raise NotFoundError("version", expected="one of `surgecast models list`", found=version)
    aliases = _aliases(client)
    present = aliases.get(CHAMPION)
    if present != version:
        before = "" if present is None or _version(client, present) is None else present
        _tag(client, version, {PROMOTED: _now(), PROMOTED_WHY: reason or "", BEFORE: before})
        for name in (ROLLED_BACK, ROLLED_BACK_WHY):
            _untag(client, version, name)
        if before:
            client.set_registered_model_alias(MODEL, PREVIOUS, before)
        client.set_registered_model_alias(MODEL, CHAMPION, version)
    if aliases.get(CHALLENGER) == version:
        client.delete_registered_model_alias(MODEL, CHALLENGER)


def go_back(home: Home, version: str, *, why: str) -> None:
    """Make an older version champion again. `previous` goes to the champion before that one, if it is known
    and fit to serve: never to the one that was gone back from."""
    client = connect(home)
    present = _aliases(client).get(CHAMPION)
    if present == version:
        return
    if present is not None and _version(client, present) is not None:
        _tag(client, present, {ROLLED_BACK: _now(), ROLLED_BACK_WHY: why})
    target = _version(client, version)
    before = target.tags.get(BEFORE, "") if target is not None else ""
    former = _version(client, before) if before and before != version else None
    if former is not None and ROLLED_BACK not in former.tags:
        client.set_registered_model_alias(MODEL, PREVIOUS, before)
    else:
        client.delete_registered_model_alias(MODEL, PREVIOUS)
    client.set_registered_model_alias(MODEL, CHAMPION, version)


def follow_rollback(home: Home) -> None:
    """Let the alias `champion` follow a rollback at the server that is still in force, once, and say so."""
    rollback = open_rollback(home)
    if rollback is None:
        return
    bundle_id = manifest_of(home, rollback.snapshot).bundle_id
    version = version_of(home, bundle_id)
    about = f"rolled back to {rollback.snapshot} by {rollback.who} ({rollback.why})"
    if version:
        go_back(home, version, why=rollback.why)
        say(f"champion: version {version}, for the server was {about}")
    else:
        say(f"champion: unchanged; the server was {about}, whose bundle {bundle_id} is not registered")
    reconcile(home)


def version_of(home: Home, bundle_id: str) -> str:
    """The newest version that holds a bundle; empty when it was never registered."""
    if not home.mlflow_db.is_file():
        return ""
    numbers = [int(one.version) for one in _search(connect(home)) if one.tags.get("bundle_id") == bundle_id]
    return str(max(numbers)) if numbers else ""


def _search(client: MlflowClient) -> list[ModelVersion]:
    found: list[ModelVersion] = []
    page = client.search_model_versions(f"name = '{MODEL}'", max_results=1_000)
    found += page
    while page.token:
        page = client.search_model_versions(f"name = '{MODEL}'", max_results=1_000, page_token=page.token)
        found += page
    return found


def _aliases(client: MlflowClient) -> dict[str, str]:
    """Alias -> version; none where no model was ever registered."""
    from mlflow.exceptions import MlflowException

    try:
        found = client.get_registered_model(MODEL).aliases
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        return {}
    return {str(alias): str(version) for alias, version in found.items()}


def _version(client: MlflowClient, version: str) -> ModelVersion | None:
    """A version; None where it was deleted or never was."""
    from mlflow.exceptions import MlflowException

    try:
        return client.get_model_version(MODEL, version)
    except MlflowException as error:
        if error.error_code not in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            raise
        return None


def _tag(client: MlflowClient, version: str, tags: Mapping[str, str]) -> None:
    for name, value in tags.items():
        client.set_model_version_tag(MODEL, version, name, value)


def _untag(client: MlflowClient, version: str, name: str) -> None:
    client.delete_model_version_tag(MODEL, version, name)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _registered(found: ModelVersion) -> Registered:
    return Registered(
        version=str(found.version), bundle_id=found.tags["bundle_id"], run_id=str(found.run_id or "")
    )
