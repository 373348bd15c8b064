"""From what a user types to a version, and from a version to its bundle."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from forecast.cli.output import say
from forecast.errors import IntegrityError, NotFoundError, UsageError
from forecast.home import Home
from forecast.model.bundle import FILES, Bundle
from training.models.inventory import bundle_copy
from training.registry import Version, aliases_of, bundle_folder, versions

SHORTEST: Final = 4
"""Characters of a bundle's id that name it at least."""


def choose(home: Home, text: str) -> Version:
    """The version that a number, an alias or the beginning of a bundle's id names.

    Raises NotFoundError, with those there are, where it names none or one that was deleted; UsageError where
    it names several bundles.
    """
    found = versions(home)
    by_number = {one.version: one for one in found}
    aliases = aliases_of(home)
    if text in aliases and aliases[text] not in by_number:
        expected = f"{_there(found)}; `surgecast models promote VERSION` sets the alias anew"
        gone = f"alias {text}, of version {aliases[text]}, which was deleted"
        raise NotFoundError("version", expected=expected, found=gone)
    number = aliases.get(text, text)
    if number in by_number:
        return by_number[number]
    matches = {
        one.bundle_id: one for one in found if len(text) >= SHORTEST and one.bundle_id.startswith(text)
    }
    if len(matches) > 1:
        raise UsageError(
            f"version: expected the id of one bundle, found {text}: {', '.join(sorted(matches))}"
        )
    if matches:
        return next(iter(matches.values()))  # the newest of those that hold this bundle
    raise NotFoundError("version", expected=_there(found), found=_not_there(home, text))


def fetch_bundle(home: Home, version: Version) -> Bundle:
    """Load a version's bundle, from the copy among the files of its run where it is gone from the home.

    Raises NotFoundError where it is in neither place, IntegrityError where it is damaged or of a newer
    format.
    """
    folder = bundle_folder(home, version.bundle_id)
    if not version.bundle_id or not folder.is_dir():
        copy = bundle_copy(home, version)
        if not version.bundle_id or not copy.is_dir():
            expected = f"that of version {version.version} in {home.bundles_dir}, or a copy in {copy}"
            ways = (
                "neither; another version can serve (`surgecast models list`), or `surgecast train` makes one"
            )
            raise NotFoundError("bundle", expected=expected, found=ways)
        _restore(copy, folder, version)
        say(f"version {version.version}: its bundle {version.bundle_id} was gone and is back, from its run")
    return Bundle.load(folder)


def _restore(copy: Path, folder: Path, version: Version) -> None:
    found = Bundle.load(copy).bundle_id
    if found != version.bundle_id:
        raise IntegrityError(str(copy), expected=f"bundle {version.bundle_id}", found=found)
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    try:
        for name in (*FILES, "bundle.json"):
            shutil.copyfile(copy / name, temporary / name)
            with (temporary / name).open("rb") as file:
                os.fsync(file.fileno())
        temporary.chmod(0o755)
        temporary.rename(folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _there(found: Sequence[Version]) -> str:
    if not found:
        return "one that `surgecast train` made"
    numbers = ", ".join(one.version for one in found[-20:])
    return f"one of {numbers}, an alias or the beginning of a bundle's id"


def _not_there(home: Home, text: str) -> str:
    if len(text) >= SHORTEST and any(path.name.startswith(text) for path in home.bundles_dir.glob("[!.]*")):
        return f"{text}, a bundle that is no version; `surgecast publish --bundle ID` publishes it"
    return text or "none"
