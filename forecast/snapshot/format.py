"""The format of a snapshot: a folder of arrays that are mapped into memory, a table of series and a manifest.

    manifest.json      what it is, and the size and SHA-256 of every other file
    series.arrow       keys, static categories and summaries of the S series (Arrow IPC file, uncompressed);
                       `no_history`: which of them had no demand at all (snapshots of old do not say)
    events.json        phases of events within history and horizon, with the groups of series that they touch
    mean.npy           (S, H) float32, units
    quantiles.npy      (S, H, Q) float16, shares of `scale`
    scale.npy          (S,) float32, units: the largest power of two up to the largest quantile of each series
    ranks.npy          (S, H, K) uint8, ranks of the joint scenarios
    history.npy        (S, N) float32, units; NaN where missing; ends at the origin
    group.npy          (S,) int32, the group of each series in events.json

A quantile v of a series with scale c is stored as float16(v / c): it comes back within max(|v| * 2**-11, c *
2**-25). Rounding keeps the order, so quantiles never cross.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import asdict, dataclass, fields
from datetime import datetime
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from forecast.demand.panel import STEP, Period
from forecast.errors import IntegrityError
from forecast.forecasts import Floats

FORMAT: Final = 1
MANIFEST: Final = "manifest.json"
SERIES: Final = "series.arrow"
NO_HISTORY: Final = "no_history"
EVENTS: Final = "events.json"
ARRAYS: Final = ("mean", "quantiles", "scale", "ranks", "history", "group")
FILES: Final = (SERIES, EVENTS, *(f"{name}.npy" for name in ARRAYS))
HISTORY: Final[dict[Period, int]] = {"hour": 14 * 24, "day": 180, "week": 156}
"""Observed periods kept beside the forecasts."""

_ID = re.compile(r"[0-9A-Za-z][0-9A-Za-z._-]{0,99}")


@dataclass(frozen=True, kw_only=True)
class FileEntry:
    """Size in bytes and SHA-256 (hexadecimal) of a file."""

    size: int
    sha256: str


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """What a snapshot is. `origin` is datetime64[s]; `created` is UTC in ISO 8601."""

    id: str
    bundle_id: str
    model_version: str
    data_version: str
    created: str
    period: Period
    origin: np.datetime64
    horizon: int
    n_series: int
    n_scenarios: int
    n_history: int
    files: dict[str, FileEntry]


@dataclass(frozen=True, kw_only=True)
class EventSpan:
    """A phase of an event: first period `start`, the period after its last one `end` (datetime64[s]).

    groups: the groups of series (`group_S`) that it touches.
    """

    name: str
    kind: str
    phase: str
    start: np.datetime64
    end: np.datetime64
    intensity: float
    groups: tuple[int, ...]


def is_id(text: str) -> bool:
    """Whether a text may be the identifier of a snapshot, and so the name of a folder."""
    return _ID.fullmatch(text) is not None


def pack_quantiles(quantiles_SHQ: Floats) -> tuple[NDArray[np.float16], Floats]:
    """Quantiles (S, H, Q) as half-precision shares of a scale, and those scales (S,).

    The scale of a series is the largest power of two up to its largest quantile: whole units below 2,048 then
    come back exactly.
    """
    largest_S = np.abs(quantiles_SHQ).max(axis=(1, 2), initial=0.0)
    _, exponent_S = np.frexp(largest_S)
    scale_S = np.where(largest_S > 0, np.ldexp(np.float32(1), exponent_S - 1), 0).astype(np.float32)
    divisor_S = np.where(scale_S > 0, scale_S, 1).astype(np.float32)
    return (quantiles_SHQ / divisor_S[:, None, None]).astype(np.float16), scale_S


def unpack_quantiles(packed_SHQ: NDArray[np.float16], scale_S: Floats) -> Floats:
    """The quantiles (S, H, Q) in units."""
    return np.multiply(packed_SHQ, scale_S[:, None, None], dtype=np.float32)


def file_entry(path: Path) -> FileEntry:
    """Size and hash of a file as it is on disk."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return FileEntry(size=path.stat().st_size, sha256=digest)


def manifest_text(manifest: Manifest) -> str:
    """The manifest as JSON, with a checksum of itself."""
    content = asdict(manifest) | {"format": FORMAT, "origin": str(manifest.origin)}
    return json.dumps(content | {"checksum": _checksum(content)}, indent=1, sort_keys=True)


def read_manifest(path: Path) -> Manifest:
    """Read and check a manifest; IntegrityError when it is not what was written or of a newer format."""
    try:
        return _checked_manifest(json.loads(path.read_text(encoding="utf-8")), path)
    except FileNotFoundError as error:
        raise IntegrityError(str(path), expected="a manifest", found="no such file") from error
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        found = f"{type(error).__name__}: {error}"
        raise IntegrityError(str(path), expected="a manifest in JSON", found=found) from error


def _checked_manifest(content: object, path: Path) -> Manifest:
    if not isinstance(content, dict) or not isinstance(content.get("format"), int):
        raise IntegrityError(str(path), expected="the manifest of a snapshot", found="something else")
    if content["format"] != FORMAT:
        raise IntegrityError(
            str(path), expected=f"format {FORMAT}", found=f"format {content['format']} of another release"
        )
    stored = content.pop("checksum", None)
    if stored != _checksum(content):
        raise IntegrityError(str(path), expected=f"checksum {stored}", found=_checksum(content))
    content.pop("format")
    names = {field.name for field in fields(Manifest)}
    if content.keys() != names or set(content["files"]) != set(FILES) or content["period"] not in STEP:
        found = f"{sorted(content.keys() ^ names) or 'other files or another period'}"
        raise IntegrityError(str(path), expected="a full manifest and nothing else", found=found)
    numbers = [content[name] for name in ("horizon", "n_series", "n_scenarios", "n_history")]
    files = {name: FileEntry(**entry) for name, entry in content.pop("files").items()}
    numbers += [entry.size for entry in files.values()]
    if not all(type(number) is int and number >= 0 for number in numbers):
        raise IntegrityError(str(path), expected="counts of at least 0", found=str(numbers))
    origin = np.datetime64(content.pop("origin"), "s")
    datetime.fromisoformat(content["created"])
    return Manifest(files=files, origin=origin, **content)


def spans_text(spans: list[EventSpan]) -> str:
    """Events as JSON."""
    rows = [asdict(span) | {"start": str(span.start), "end": str(span.end)} for span in spans]
    return json.dumps(rows, ensure_ascii=False)


def read_spans(text: str) -> list[EventSpan]:
    """Events from JSON that `spans_text` wrote."""
    return [
        EventSpan(
            name=row["name"],
            kind=row["kind"],
            phase=row["phase"],
            start=np.datetime64(row["start"], "s"),
            end=np.datetime64(row["end"], "s"),
            intensity=float(row["intensity"]),
            groups=tuple(row["groups"]),
        )
        for row in json.loads(text)
    ]


def _checksum(content: dict[str, object]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
