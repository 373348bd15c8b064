"""Which model is champion, read from MLflow's database without importing mlflow, which takes seconds.

A database that does not look as expected is left to mlflow itself.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from typing import Final

from forecast.errors import NotFoundError
from forecast.home import Home
from forecast.snapshot.pointer import manifest_of, readable_pointer

MODEL: Final = "surgecast"
CHAMPION: Final = "champion"
PATIENCE_S: Final = 2.0
"""Seconds to wait here for somebody who writes; mlflow waits longer."""
_TAGS: Final = (
    "select tag.key, tag.value from registered_model_aliases alias"
    " join model_versions version on version.name = alias.name and version.version = alias.version"
    " join model_version_tags tag on tag.name = alias.name and tag.version = alias.version"
    " where alias.name = ? and alias.alias = ? and version.current_stage <> 'Deleted_Internal'"
)
_VERSION: Final = "select version from registered_model_aliases where name = ? and alias = ?"


@dataclass(frozen=True, kw_only=True)
class Champion:
    """A version of the model and its tags: `bundle_id`, `origin`, `twin_id` and so on."""

    version: str
    tags: Mapping[str, str]

    @property
    def bundle_id(self) -> str:
        """The bundle that it holds."""
        return self.tags.get("bundle_id", "")

    @property
    def twin_id(self) -> str:
        """Its twin's bundle: the same recipe on the demand before its backtest; empty where it has none."""
        return self.tags.get("twin_id", "")

    @property
    def origin(self) -> str:
        """Last period whose demand it has seen, in ISO 8601."""
        return self.tags.get("origin", "")


def champion_of(home: Home) -> Champion | None:
    """The champion of a home; None where there is none, or the alias points to a version that is gone.

    Raises NotFoundError where MLflow's database is gone although a registered version serves.
    """
    if not home.mlflow_db.is_file():
        expect_no_versions(home)
        return None
    try:
        return _peek(home)
    except sqlite3.Error:
        return _ask(home)


def expect_no_versions(home: Home) -> None:
    """Raise NotFoundError where a registered version serves; for homes without MLflow's database."""
    pointer = readable_pointer(home)
    if pointer is None or not (home.snapshots_dir / pointer.snapshot).is_dir():
        return
    version = manifest_of(home, pointer.snapshot).model_version
    if version:
        expected = f"MLflow's database, for version {version} serves"
        found = "no such file: put it back, or begin a new one with `surgecast train`"
        raise NotFoundError(str(home.mlflow_db), expected=expected, found=found)


def _peek(home: Home) -> Champion | None:
    uri = f"{home.mlflow_db.absolute().as_uri()}?mode=ro"
    with closing(sqlite3.connect(uri, uri=True, timeout=PATIENCE_S)) as database:
        rows = database.execute(_VERSION, (MODEL, CHAMPION)).fetchall()
        tags = dict(database.execute(_TAGS, (MODEL, CHAMPION)).fetchall())
    return Champion(version=str(rows[0][0]), tags=tags) if rows and "bundle_id" in tags else None


def _ask(home: Home) -> Champion | None:
    """The same through mlflow, in as many seconds as it takes."""
    from training.registry import find
    from training.tracking import connect

    try:
        version = find(home).version
    except NotFoundError:
        return None
    found = connect(home).get_model_version(MODEL, version)
    return Champion(version=version, tags=dict(found.tags))
