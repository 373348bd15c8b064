"""Writing a snapshot: run of series after run of series, as they are forecast, into a temporary folder that
is synced to disk and renamed into place whole.

A thread of its own packs, hashes and writes one run while the next is forecast. Memory does not grow with the
number of series, but for their keys, labels and summaries.
"""

from __future__ import annotations

import hashlib
import json
from collections import deque
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from forecast.demand.panel import Panel, SeriesKeys
from forecast.errors import InputError
from forecast.forecasts import ForecastPart, Forecasts
from forecast.home import Home
from forecast.snapshot.folders import put_in_place, sync_file, unfinished
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
from forecast.snapshot.growing import GrowingArray
from forecast.snapshot.summary import NamedEvent, Summary, event_spans, summarise

WAITING: Final = 8
"""Runs of series that may wait to be written."""


def write_snapshot(
    home: Home,
    forecasts: Forecasts,
    panel: Panel,
    *,
    bundle_id: str,
    model_version: str,
    events: Sequence[NamedEvent] = (),
) -> str:
    """Write forecasts that are all there at once; as `stream_snapshot`."""

    def whole() -> Generator[ForecastPart]:
        yield ForecastPart(forecasts, panel)

    return stream_snapshot(
        home, panel, whole(), bundle_id=bundle_id, model_version=model_version, events=events
    )


def stream_snapshot(
    home: Home,
    outline: Panel,
    parts: Generator[ForecastPart],
    *,
    bundle_id: str,
    model_version: str,
    events: Sequence[NamedEvent] = (),
) -> str:
    """Write forecasts and what a planner needs beside them; return the snapshot's id. Nothing serves it yet
    (see `pointer`).

    outline: a panel of all series in their order, of which keys, labels, events and axis are read.
    parts: the forecasts of runs of neighbouring series, first to last, and their panel, which ends at the
    forecasts' origin. `events` give their names to the spans of the panel's event grid.
    The same content gives the same id: a snapshot that is there already is kept. InputError when the parts do
    not belong together or the disk is full; whatever ends the writing, nothing half-written stays in place,
    and what a killed writer left is removed by the next one.
    """
    try:
        _check_keys(outline.keys)
        with unfinished(home.snapshots_dir) as folder, ExitStack() as opened:
            content = _Content(folder, outline, opened)
            _write_behind(content, parts)
            with _room(folder):
                files = content.finish(events)
                identity = (bundle_id, model_version, outline.data_version)
                manifest = Manifest(
                    id=_identifier(outline.origin, files, identity),
                    bundle_id=bundle_id,
                    model_version=model_version,
                    data_version=outline.data_version,
                    created=datetime.now(UTC).isoformat(timespec="seconds"),
                    period=outline.period,
                    origin=outline.origin.astype("datetime64[s]"),
                    horizon=content.horizon,
                    n_series=len(outline.keys),
                    n_scenarios=content.n_scenarios,
                    n_history=content.n_history,
                    files=files,
                )
                (folder / MANIFEST).write_text(manifest_text(manifest), encoding="utf-8")
                sync_file(folder / MANIFEST)
                put_in_place(folder, home.snapshots_dir / manifest.id)
    finally:
        parts.close()
    return manifest.id


def _write_behind(content: _Content, parts: Iterator[ForecastPart]) -> None:
    """Add all parts in a thread, while this one asks for the next; an error of either ends both."""
    with ThreadPoolExecutor(1, thread_name_prefix="snapshot") as pool:
        waiting: deque[Future[None]] = deque()
        try:
            for part in parts:
                waiting.append(pool.submit(content.add, part))
                while len(waiting) > WAITING or (waiting and waiting[0].done()):
                    waiting.popleft().result()
            while waiting:
                waiting.popleft().result()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


class _Content:
    """The files of a snapshot but its manifest, as they grow."""

    def __init__(self, folder: Path, outline: Panel, opened: ExitStack) -> None:
        self.n_history = min(outline.n_periods, HISTORY[outline.period])
        self.horizon = self.n_scenarios = 0
        self._folder, self._outline, self._opened = folder, outline, opened
        self._n_series = 0
        self._arrays: dict[str, GrowingArray] = {}
        self._summaries: list[Summary] = []
        self._no_history: list[NDArray[np.bool_]] = []

    def add(self, part: ForecastPart) -> None:
        """The next series."""
        forecasts, panel = part
        rows = slice(self._n_series, self._n_series + len(forecasts.keys))
        _check(forecasts, panel, self._outline, rows)
        packed_SHQ, scale_S = pack_quantiles(forecasts.quantiles_SHQ)
        arrays: dict[str, NDArray[np.generic]] = {
            "mean": forecasts.mean_SH.astype(np.float32, copy=False),
            "quantiles": packed_SHQ,
            "scale": scale_S,
            "ranks": forecasts.ranks_SHK,
            "history": panel.demand_ST[:, -self.n_history :],
            "group": panel.events.group_S.astype(np.int32, copy=False),
        }
        self._summaries.append(summarise(forecasts, panel))
        self._no_history.append(panel.no_history_S)
        with _room(self._folder):
            if not self._arrays:
                self.horizon, self.n_scenarios = forecasts.horizon, forecasts.n_scenarios
                self._open(arrays)
            for name, values in arrays.items():
                self._arrays[name].append(values)
        self._n_series = rows.stop

    def finish(self, events: Sequence[NamedEvent]) -> dict[str, FileEntry]:
        """Everything on disk. Raises InputError where series are missing."""
        if not self._n_series:
            raise InputError("forecasts", expected="at least one series and period", found="none")
        files = {f"{name}.npy": array.finish() for name, array in self._arrays.items()}
        _write_series(self._folder / SERIES, self._outline, self._summaries, self._no_history)
        spans = event_spans(self._outline, self.horizon, events)
        (self._folder / EVENTS).write_text(spans_text(spans), encoding="utf-8")
        for name in (SERIES, EVENTS):
            sync_file(self._folder / name)
            files[name] = file_entry(self._folder / name)
        for name in FILES:  # a server maps them: one that is cut short by mistake would end it
            (self._folder / name).chmod(0o444)
        return {name: files[name] for name in FILES}

    def _open(self, arrays: dict[str, NDArray[np.generic]]) -> None:
        n_series = len(self._outline.keys)
        for name, values in arrays.items():
            array = GrowingArray(self._folder / f"{name}.npy", (n_series, *values.shape[1:]), values.dtype)
            self._arrays[name] = self._opened.enter_context(array)


def _check_keys(keys: SeriesKeys) -> None:
    names = (keys.item.tolist(), keys.location.tolist(), keys.platform.tolist())
    if len(set(zip(*names, strict=True))) < len(keys):
        raise InputError("keys", expected="each series once", found="a series twice")


def _check(forecasts: Forecasts, panel: Panel, outline: Panel, rows: slice) -> None:
    for found in (panel, outline):
        if forecasts.origin != found.origin:
            raise InputError("panel", expected=f"an end at {forecasts.origin}", found=str(found.origin))
        if forecasts.period != found.period:
            raise InputError("panel", expected=f"periods of a {forecasts.period}", found=found.period)
    for keys in (panel.keys, outline.keys.select(rows)):
        for name in ("item", "location", "platform"):
            if not np.array_equal(getattr(forecasts.keys, name), getattr(keys, name)):
                raise InputError(
                    "panel", expected="the series of the forecasts in their order", found=f"other {name}s"
                )
    if not len(forecasts.keys) or not forecasts.horizon:
        raise InputError(
            "forecasts", expected="at least one series and period", found=str(forecasts.mean_SH.shape)
        )
    for field, values in (("mean", forecasts.mean_SH), ("quantiles", forecasts.quantiles_SHQ)):
        if not np.isfinite(values).all():
            raise InputError(field, expected="finite numbers", found="NaN or infinity")


def _write_series(
    path: Path, outline: Panel, summaries: list[Summary], no_history: list[NDArray[np.bool_]]
) -> None:
    import pyarrow as pa

    columns: dict[str, NDArray[np.generic]] = {
        "item": outline.keys.item,
        "location": outline.keys.location,
        "platform": outline.keys.platform,
        NO_HISTORY: np.concatenate(no_history),
        **{f"static:{name}": labels for name, labels in outline.statics.items()},
        **{
            f"summary:{field.name}": np.concatenate([getattr(one, field.name) for one in summaries])
            for field in fields(Summary)
        },
    }
    table = pa.table({name: pa.array(values) for name, values in columns.items()})
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)


def _identifier(origin: np.datetime64, files: dict[str, FileEntry], identity: tuple[str, ...]) -> str:
    content = json.dumps([FORMAT, identity, [files[name].sha256 for name in FILES]])
    return f"{origin.astype('datetime64[D]')}-{hashlib.sha256(content.encode()).hexdigest()[:12]}"


@contextmanager
def _room(folder: Path) -> Iterator[None]:
    """What the system refuses in writing to a snapshot's folder is an InputError."""
    try:
        yield
    except OSError as error:
        n_bytes = sum(path.stat().st_size for path in folder.glob("*"))
        found = f"{error.strerror or error} after {n_bytes:,} bytes"
        raise InputError(str(folder.parent), expected="room for the snapshot", found=found) from error
