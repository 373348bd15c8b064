"""What a home holds of models: versions, bundles, snapshots, and what of it serves."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from forecast.errors import IntegrityError, NotFoundError
from forecast.home import Home
from forecast.model.bundle import FILES, FORMAT
from forecast.snapshot.format import Manifest
from forecast.snapshot.pointer import Pointer, manifest_of, readable_pointer
from training.registry import ARTIFACT, Version, aliases_of, bundle_folder, versions
from training.retraining.champion import expect_no_versions

HERE: Final = "here"
COPIED: Final = "gone, a copy is in its run"


@dataclass(frozen=True, kw_only=True)
class Inventory:
    """All of it, as of one moment.

    versions: the oldest first. dangling: alias -> version that was deleted. bundles: ids of all that lie in
    the home. snapshots: the oldest first. unreadable: names of snapshots whose manifest cannot be read.
    pointer: None where nothing was published or it is damaged.
    """

    versions: tuple[Version, ...]
    dangling: dict[str, str]
    bundles: tuple[str, ...]
    snapshots: tuple[Manifest, ...]
    unreadable: tuple[str, ...]
    pointer: Pointer | None

    @property
    def without_version(self) -> tuple[str, ...]:
        """Bundles that are neither a version's nor the twin of one."""
        known = {name for one in self.versions for name in (one.bundle_id, one.twin_id)}
        return tuple(name for name in self.bundles if name not in known)

    @property
    def serving(self) -> Manifest | None:
        """The snapshot that the pointer names, if it can be read."""
        return self.snapshot(self.pointer.snapshot) if self.pointer else None

    def snapshot(self, name: str | None) -> Manifest | None:
        """A snapshot by its id."""
        return next((one for one in self.snapshots if one.id == name), None)

    def newest(self, bundle_id: str) -> Manifest | None:
        """The newest snapshot that was made with a bundle."""
        found = [one for one in self.snapshots if one.bundle_id == bundle_id]
        return found[-1] if found else None


def take_inventory(home: Home) -> Inventory:
    """Look at everything; nothing large is read.

    Raises NotFoundError where MLflow's database is gone although one of its versions serves.
    """
    if not home.mlflow_db.is_file():
        expect_no_versions(home)
    found = versions(home)
    numbers = {one.version for one in found}
    snapshots, unreadable = _snapshots(home)
    return Inventory(
        versions=tuple(found),
        dangling={alias: number for alias, number in aliases_of(home).items() if number not in numbers},
        bundles=tuple(_folders(home.bundles_dir)),
        snapshots=snapshots,
        unreadable=unreadable,
        pointer=readable_pointer(home),
    )


def bundle_state(home: Home, version: Version) -> str:
    """`here`, or what is wrong with a version's bundle. Its bytes are not checked."""
    path = bundle_folder(home, version.bundle_id) / "bundle.json"
    if not version.bundle_id:
        return "not named"
    if not path.is_file():
        return COPIED if bundle_copy(home, version).is_dir() else "gone"
    try:
        found = json.loads(path.read_bytes())["format"]
    except (ValueError, TypeError, KeyError):
        return "damaged"
    if found != FORMAT:
        return f"format {found}, of another release"
    return HERE if all((path.parent / name).is_file() for name in FILES) else "damaged"


def run_folder(home: Home, run_id: str) -> Path:
    """Where the files of a run lie."""
    return home.mlflow_artifacts / (run_id or "none") / "artifacts"


def bundle_copy(home: Home, version: Version) -> Path:
    """Where a version's run keeps a copy of its bundle."""
    return run_folder(home, version.run_id) / ARTIFACT


def _snapshots(home: Home) -> tuple[tuple[Manifest, ...], tuple[str, ...]]:
    found: list[tuple[str, int, Manifest]] = []
    unreadable: list[str] = []
    for name in _folders(home.snapshots_dir):
        try:
            manifest = manifest_of(home, name)
        except (NotFoundError, IntegrityError):
            unreadable.append(name)
        else:
            written = (home.snapshots_dir / name).stat().st_mtime_ns  # `created` counts whole seconds
            found.append((manifest.created, written, manifest))
    return tuple(one for *_, one in sorted(found, key=lambda one: one[:2])), tuple(unreadable)


def _folders(parent: Path) -> list[str]:
    return sorted(path.name for path in parent.glob("[!.]*") if path.is_dir())
