"""What makes a job the same job: the demand, the cutoff, the configuration, the code, and the champion that
it starts from. The same again is nothing to do, or goes on where it was killed."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from forecast.home import Home
from forecast.settings import Settings

DECIDES: Final = ("demand", "events", "training", "retrain", "data_gate", "promotion")
"""Sections of the settings that say what a job does."""
IDLE: Final = ("retrain.keep_jobs",)
"""Settings of these sections that change nothing of what it makes."""
CODE: Final = ("forecast", "training")
SOURCES: Final = (".py", ".toml")


@dataclass(frozen=True, kw_only=True)
class Basis:
    """What a job is given. `cutoff`: last period whose demand may be seen, in ISO 8601; `config` and `code`:
    hashes."""

    data_version: str
    cutoff: str
    config: str
    code: str

    @property
    def digest(self) -> str:
        """A hash of all of it."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()

    def key(self, champion: str) -> str:
        """The name of the job that starts from this bundle, empty for none: the cutoff and a hash."""
        digest = hashlib.sha256(f"{self.digest} {champion}".encode()).hexdigest()
        return f"{self.cutoff[:13].removesuffix('T00').replace('T', '-')}-{digest[:12]}"


def config_version(home: Home, settings: Settings) -> str:
    """A hash of the settings that say what a job does, and of the home's own calendars of events."""
    content = settings.model_dump(mode="json", include=set(DECIDES))
    for name in IDLE:
        section, key = name.split(".")
        content.get(section, {}).pop(key, None)
    digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode())
    _add_files(digest, home.events_dir, (".toml", ".csv"))
    return digest.hexdigest()[:16]


def code_version() -> str:
    """A hash of the sources of `forecast` and `training`, wherever they are installed."""
    digest = hashlib.sha256()
    root = Path(__file__).parents[2]
    for room in CODE:
        _add_files(digest, root / room, SOURCES)
    return digest.hexdigest()[:16]


def _add_files(digest: hashlib._Hash, folder: Path, suffixes: tuple[str, ...]) -> None:
    for path in sorted(folder.rglob("*")):
        if path.suffix in suffixes and path.is_file():
            digest.update(f"{path.relative_to(folder)}\0".encode())
            digest.update(hashlib.sha256(path.read_bytes()).digest())
