"""Reading a snapshot: arrays mapped into memory, checked against their hashes."""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from forecast.demand.panel import STEP, SeriesKeys
from forecast.errors import IntegrityError, NotFoundError
from forecast.forecasts import Floats, expand
from forecast.quantiles import LEVELS
from forecast.snapshot.format import (
    EVENTS,
    FILES,
    MANIFEST,
    NO_HISTORY,
    SERIES,
    EventSpan,
    Manifest,
    file_entry,
    read_manifest,
    read_spans,
    unpack_quantiles,
)
from forecast.snapshot.summary import Summary


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """A published snapshot of S series, H periods, N periods of history. The large arrays are read-only
    memory maps.

    packed_SHQ and scale_S hold the quantiles (see `format`); read them by `quantiles`. statics: static
    categories by name. no_history_S: which series had no demand at all up to the origin, so that they were
    forecast from what they are; none in a snapshot that does not say.
    """

    manifest: Manifest
    keys: SeriesKeys
    statics: dict[str, NDArray[np.str_]]
    no_history_S: NDArray[np.bool_]
    summary: Summary
    spans: tuple[EventSpan, ...]
    mean_SH: Floats
    packed_SHQ: NDArray[np.float16]
    scale_S: Floats
    ranks_SHK: NDArray[np.uint8]
    history_SN: Floats
    group_S: NDArray[np.int32]

    @classmethod
    def open(cls, folder: Path, *, verify: bool = True) -> Snapshot:
        """Map a snapshot; with `verify` every byte is checked against the manifest first.

        NotFoundError when there is no such folder; IntegrityError, naming the file, when it is damaged, not a
        snapshot or of a newer format.
        """
        if not folder.is_dir():
            raise NotFoundError("snapshot", expected="a published snapshot", found=f"no folder {folder}")
        manifest = read_manifest(folder / MANIFEST)
        if manifest.id != folder.name:
            raise IntegrityError(
                str(folder / MANIFEST), expected=f"id {folder.name}", found=f"id {manifest.id}"
            )
        for name in FILES:
            _check_file(folder / name, manifest, verify=verify)
        s, h, k, n = manifest.n_series, manifest.horizon, manifest.n_scenarios, manifest.n_history
        columns = _read_series(folder / SERIES, s)
        names = [field.name for field in fields(Summary)]
        return cls(
            manifest=manifest,
            keys=SeriesKeys(item=columns["item"], location=columns["location"], platform=columns["platform"]),
            statics={c.removeprefix("static:"): v for c, v in columns.items() if c.startswith("static:")},
            no_history_S=columns.get(NO_HISTORY, np.zeros(s, np.bool_)),
            summary=Summary(**{name: columns[f"summary:{name}"] for name in names}),
            spans=_read_events(folder / EVENTS),
            mean_SH=_map(folder / "mean.npy", (s, h), np.float32),
            packed_SHQ=_map(folder / "quantiles.npy", (s, h, len(LEVELS)), np.float16),
            scale_S=_map(folder / "scale.npy", (s,), np.float32),
            ranks_SHK=_map(folder / "ranks.npy", (s, h, k), np.uint8),
            history_SN=_map(folder / "history.npy", (s, n), np.float32),
            group_S=_map(folder / "group.npy", (s,), np.int32),
        )

    @property
    def times(self) -> NDArray[np.datetime64]:
        """The H forecast periods."""
        return self.manifest.origin + np.arange(1, self.manifest.horizon + 1) * STEP[self.manifest.period]

    @cached_property
    def index(self) -> dict[tuple[str, str, str], int]:
        """The row of each (item, location, platform)."""
        keys = (self.keys.item.tolist(), self.keys.location.tolist(), self.keys.platform.tolist())
        return {key: row for row, key in enumerate(zip(*keys, strict=True))}

    def quantiles(self, rows: NDArray[np.intp], horizon: int) -> Floats:
        """Quantiles of some series for the first `horizon` periods, (n, horizon, Q), units."""
        return unpack_quantiles(self.packed_SHQ[rows, :horizon], self.scale_S[rows])

    def scenarios(self, rows: NDArray[np.intp]) -> Floats:
        """Joint demand scenarios of some series, (n, H, K), units; their mean over K is `mean_SH`."""
        return expand(self.mean_SH[rows], self.quantiles(rows, self.manifest.horizon), self.ranks_SHK[rows])

    def events(self, row: int) -> list[EventSpan]:
        """The events that touch a series, by start."""
        group = int(self.group_S[row])
        return [span for span in self.spans if group in span.groups]


def _check_file(path: Path, manifest: Manifest, *, verify: bool) -> None:
    entry = manifest.files[path.name]
    if not path.is_file():
        raise IntegrityError(str(path), expected=f"{entry.size:,} bytes", found="no such file")
    size = path.stat().st_size
    if size != entry.size:
        raise IntegrityError(str(path), expected=f"{entry.size:,} bytes", found=f"{size:,} bytes")
    if verify:
        found = file_entry(path).sha256
        if found != entry.sha256:
            raise IntegrityError(str(path), expected=f"SHA-256 {entry.sha256}", found=found)


def _map(path: Path, shape: tuple[int, ...], dtype: type[np.generic]) -> NDArray[Any]:
    try:
        array: NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
    except ValueError as error:
        raise IntegrityError(str(path), expected="an array", found=str(error)) from error
    if array.shape != shape or array.dtype != dtype:
        found = f"{array.dtype} {array.shape}"
        raise IntegrityError(str(path), expected=f"{np.dtype(dtype)} {shape}", found=found)
    return array


def _read_events(path: Path) -> tuple[EventSpan, ...]:
    try:
        return tuple(read_spans(path.read_text(encoding="utf-8")))
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        found = f"{type(error).__name__}: {error}"
        raise IntegrityError(str(path), expected="events in JSON", found=found) from error


def _read_series(path: Path, n_series: int) -> dict[str, NDArray[Any]]:
    import pyarrow as pa

    try:
        with pa.memory_map(str(path)) as source:
            table = pa.ipc.open_file(source).read_all()
            columns = {name: table.column(name).to_numpy() for name in table.column_names}
    except pa.ArrowInvalid as error:
        raise IntegrityError(str(path), expected="an Arrow table of series", found=str(error)) from error
    needed = {"item", "location", "platform", *(f"summary:{field.name}" for field in fields(Summary))}
    if not needed <= columns.keys() or table.num_rows != n_series:
        raise IntegrityError(
            str(path), expected=f"{n_series} series", found=f"{table.num_rows} of {list(columns)}"
        )
    return columns
