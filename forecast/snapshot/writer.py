"""Writing a snapshot: into a temporary folder, synced to disk, renamed into place whole."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from forecast.demand.panel import Panel
from forecast.errors import InputError, IntegrityError
from forecast.forecasts import Forecasts
from forecast.home import Home
from forecast.snapshot.format import (
    EVENTS,
    FILES,
    FORMAT,
    HISTORY,
    MANIFEST,
    NO_HISTORY,
    SERIES,
    FileEntry,
    Manifest,
    file_entry,
    manifest_text,
    pack_quantiles,
    spans_text,
)
from forecast.snapshot.reader import Snapshot
from forecast.snapshot.summary import NamedEvent, Summary, event_spans, summarise

_UNFINISHED: Final = ".writing-"


def write_snapshot(
    home: Home,
    forecasts: Forecasts,
    panel: Panel,
    *,
    bundle_id: str,
    model_version: str,
    events: Sequence[NamedEvent] = (),
) -> str:
    """Write forecasts and what a planner needs beside them; return the snapshot's id. Nothing serves it yet
    (see `pointer`).

    `panel` ends at the forecasts' origin. `events` give their names to the spans of the panel's event grid.
    The same content gives the same id: a snapshot that is there already is kept. InputError when the parts do
    not belong together or the disk is full; nothing half-written stays in place, and what a killed writer
    left is removed by the next one.
    """
    _check(forecasts, panel)
    with _unfinished(home.snapshots_dir) as folder:
        try:
            _write_files(folder, forecasts, panel, events)
            files = {name: _sync(folder / name) for name in FILES}
            identity = (bundle_id, model_version, panel.data_version)
            manifest = Manifest(
                id=_identifier(forecasts.origin, files, identity),
                bundle_id=bundle_id,
                model_version=model_version,
                data_version=panel.data_version,
                created=datetime.now(UTC).isoformat(timespec="seconds"),
                period=panel.period,
                origin=forecasts.origin.astype("datetime64[s]"),
                horizon=forecasts.horizon,
                n_series=len(forecasts.keys),
                n_scenarios=forecasts.n_scenarios,
                n_history=min(panel.n_periods, HISTORY[panel.period]),
                files=files,
            )
            (folder / MANIFEST).write_text(manifest_text(manifest), encoding="utf-8")
            _sync(folder / MANIFEST)
            _put_in_place(folder, home.snapshots_dir / manifest.id)
        except OSError as error:
            found = f"{error.strerror or error} after {_size(folder):,} bytes"
            raise InputError(str(folder.parent), expected="room for the snapshot", found=found) from error
    return manifest.id


def _check(forecasts: Forecasts, panel: Panel) -> None:
    if forecasts.origin != panel.origin:
        raise InputError("panel", expected=f"an end at {forecasts.origin}", found=str(panel.origin))
    if forecasts.period != panel.period:
        raise InputError("panel", expected=f"periods of a {forecasts.period}", found=panel.period)
    for name in ("item", "location", "platform"):
        if not np.array_equal(getattr(forecasts.keys, name), getattr(panel.keys, name)):
            raise InputError(
                "panel", expected="the series of the forecasts in their order", found=f"other {name}s"
            )
    if not len(forecasts.keys) or not forecasts.horizon:
        raise InputError(
            "forecasts", expected="at least one series and period", found=str(forecasts.mean_SH.shape)
        )
    names = (forecasts.keys.item.tolist(), forecasts.keys.location.tolist(), forecasts.keys.platform.tolist())
    if len(set(zip(*names, strict=True))) < len(forecasts.keys):
        raise InputError("keys", expected="each series once", found="a series twice")
    for field, values in (("mean", forecasts.mean_SH), ("quantiles", forecasts.quantiles_SHQ)):
        if not np.isfinite(values).all():
            raise InputError(field, expected="finite numbers", found="NaN or infinity")


def _write_files(folder: Path, forecasts: Forecasts, panel: Panel, events: Sequence[NamedEvent]) -> None:
    packed_SHQ, scale_S = pack_quantiles(forecasts.quantiles_SHQ)
    arrays: dict[str, NDArray[np.generic]] = {
        "mean": forecasts.mean_SH.astype(np.float32, copy=False),
        "quantiles": packed_SHQ,
        "scale": scale_S,
        "ranks": forecasts.ranks_SHK,
        "history": panel.demand_ST[:, -HISTORY[panel.period] :],
        "group": panel.events.group_S.astype(np.int32, copy=False),
    }
    for name, values in arrays.items():
        np.save(folder / f"{name}.npy", np.ascontiguousarray(values), allow_pickle=False)
    _write_series(folder / SERIES, panel, summarise(forecasts, panel))
    spans = event_spans(panel, forecasts.horizon, events)
    (folder / EVENTS).write_text(spans_text(spans), encoding="utf-8")


def _write_series(path: Path, panel: Panel, summary: Summary) -> None:
    import pyarrow as pa

    columns: dict[str, NDArray[np.generic]] = {
        "item": panel.keys.item,
        "location": panel.keys.location,
        "platform": panel.keys.platform,
        NO_HISTORY: panel.no_history_S,
        **{f"static:{name}": labels for name, labels in panel.statics.items()},
        **{f"summary:{name}": values for name, values in asdict(summary).items()},
    }
    table = pa.table(
        {name: values.tolist() if values.dtype.kind in "UO" else values for name, values in columns.items()}
    )
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)


def _identifier(origin: np.datetime64, files: dict[str, FileEntry], identity: tuple[str, ...]) -> str:
    content = json.dumps([FORMAT, identity, [files[name].sha256 for name in FILES]])
    return f"{origin.astype('datetime64[D]')}-{hashlib.sha256(content.encode()).hexdigest()[:12]}"


def _put_in_place(folder: Path, target: Path) -> None:
    """Rename a folder to `target`; a healthy one of the same content stays, a damaged one makes way."""
    sync_folder(folder)
    if target.exists():
        try:
            Snapshot.open(target)
        except IntegrityError:
            target.rename(target.with_name(f"{_UNFINISHED}damaged-{os.getpid()}-{target.name}"))
        else:
            return
    folder.rename(target)
    sync_folder(target.parent)


@contextmanager
def _unfinished(parent: Path) -> Iterator[Path]:
    """A new temporary folder in `parent`, locked while it is in use, gone at the end unless renamed.

    Temporary folders that nobody holds a lock on, left by killed writers, are removed first.
    """
    try:
        parent.mkdir(parents=True, exist_ok=True)
        with locked(parent):
            for left in parent.glob(f"{_UNFINISHED}*"):
                _remove_if_abandoned(left)
            folder = Path(tempfile.mkdtemp(prefix=_UNFINISHED, dir=parent))
            handle = os.open(folder, os.O_RDONLY)
            fcntl.flock(handle, fcntl.LOCK_EX)
    except OSError as error:
        raise InputError(
            str(parent), expected="a folder to write to", found=error.strerror or str(error)
        ) from error
    folder.chmod(0o755)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(handle)


def _remove_if_abandoned(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return
    else:
        shutil.rmtree(folder, ignore_errors=True)
    finally:
        os.close(handle)


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the exclusive lock of a folder; waits for whoever holds it."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _sync(path: Path) -> FileEntry:
    """Force a file to disk; its size and hash."""
    with path.open("rb") as file:
        os.fsync(file.fileno())
    return file_entry(path)


def sync_folder(folder: Path) -> None:
    """Force the names in a folder to disk."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.glob("*"))
