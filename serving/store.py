"""The snapshot that serves: opened through the home's pointer, checked, and swapped whole when the
pointer moves.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from surgecast.v1 import forecast_pb2, model_pb2, source_pb2

from forecast.demand.panel import STEP
from forecast.errors import BusyError, IntegrityError, NotFoundError, SurgecastError
from forecast.home import Home
from forecast.quantiles import LEVELS
from forecast.snapshot import Pointer, Snapshot
from forecast.snapshot.format import EventSpan
from serving import wire
from serving.cells import SharedCells
from serving.labels import Labels
from serving.near import Neighbours

log = logging.getLogger("surgecast.serving")

PERIODS: Final[dict[str, source_pb2.Period.ValueType]] = {
    "hour": source_pb2.PERIOD_HOUR,
    "day": source_pb2.PERIOD_DAY,
    "week": source_pb2.PERIOD_WEEK,
}


Stamp = tuple[tuple[str, int, int, int], ...]
"""Name, inode, size and time of change (ns) of each file of a snapshot: changed files, another stamp."""


@dataclass(frozen=True, kw_only=True)
class Refused:
    """A snapshot that should serve and does not."""

    snapshot: str
    reason: str


@dataclass(frozen=True)
class Served:
    """One snapshot and what is prepared from it once. A call takes one and answers from it alone.

    stamp: the files as they were just before they were opened.
    """

    snapshot: Snapshot
    stamp: Stamp = ()
    _heads: dict[int, bytes] = field(default_factory=dict)

    @cached_property
    def source(self) -> source_pb2.Source:
        """What every reply names."""
        manifest = self.snapshot.manifest
        return source_pb2.Source(
            model_version=manifest.model_version,
            snapshot_id=manifest.id,
            origin_seconds=seconds(manifest.origin),
            period=PERIODS[manifest.period],
            period_seconds=int(STEP[manifest.period] // np.timedelta64(1, "s")),
        )

    def key(self, row: int) -> forecast_pb2.SeriesKey:
        """What a series is."""
        keys = self.snapshot.keys
        return forecast_pb2.SeriesKey(
            item=str(keys.item[row]), location=str(keys.location[row]), platform=str(keys.platform[row])
        )

    @cached_property
    def keys(self) -> list[bytes]:
        """The encoded key of each row, with the word that it had no history."""
        rows = zip(self.snapshot.index, self.snapshot.no_history_S.tolist(), strict=True)
        return [wire.encode_key(*key, no_history=none) for key, none in rows]

    @cached_property
    def items(self) -> Neighbours:
        """The items, to find what was meant by one that is not there."""
        return Neighbours(self.snapshot.keys.item.tolist())

    @cached_property
    def labels(self) -> Labels:
        """What the series are called, for filters and groups."""
        return Labels(self.snapshot)

    @cached_property
    def cells(self) -> SharedCells:
        """The sums of scenarios that questions about many series are answered from."""
        return SharedCells(self.snapshot, self.labels)

    @cached_property
    def events(self) -> list[bytes]:
        """The encoded events of each group of series."""
        n_groups = int(self.snapshot.group_S.max()) + 1
        spans: list[list[forecast_pb2.EventSpan]] = [[] for _ in range(n_groups)]
        for span in self.snapshot.spans:
            message = span_message(span)
            for group in span.groups:
                spans[group].append(message)
        return [wire.encode_events(of_group) for of_group in spans]

    @cached_property
    def orders(self) -> dict[int, NDArray[np.intp]]:
        """The rows in each order of a list of series."""
        summary = self.snapshot.summary
        return {
            forecast_pb2.SERIES_ORDER_UNSPECIFIED: np.arange(len(self.snapshot.keys)),
            forecast_pb2.SERIES_ORDER_SURGE: np.argsort(-summary.ratio_S, kind="stable"),
            forecast_pb2.SERIES_ORDER_VOLUME: np.argsort(-summary.total_S, kind="stable"),
        }

    def head(self, horizon: int) -> bytes:
        """All fields but the forecasts of a reply with them, encoded; both kinds of reply have them alike."""
        if horizon not in self._heads:
            times = [seconds(time) for time in self.snapshot.times[:horizon]]
            head = forecast_pb2.BatchGetForecastsResponse(
                source=self.source, time_seconds=times, levels=LEVELS
            )
            self._heads[horizon] = head.SerializeToString()
        return self._heads[horizon]

    def warm(self) -> None:
        """Prepare everything, so that no call has to; sums of scenarios are begun and not waited for."""
        for _prepared in (self.source, self.keys, self.items, self.events, self.orders):
            pass
        self.cells.begin()

    def describe(self, refused: Refused | None) -> model_pb2.GetServingModelResponse:
        """What serves, for people and machines."""
        manifest = self.snapshot.manifest
        message = model_pb2.GetServingModelResponse(
            source=self.source,
            bundle_id=manifest.bundle_id,
            data_version=manifest.data_version,
            create_seconds=seconds(np.datetime64(manifest.created.removesuffix("+00:00"), "s")),
            horizon=manifest.horizon,
            series_count=manifest.n_series,
            scenario_count=manifest.n_scenarios,
            history_periods=manifest.n_history,
            levels=LEVELS,
        )
        if refused is not None:
            message.refused.snapshot_id = refused.snapshot
            message.refused.reason = refused.reason
        return message


def span_message(span: EventSpan) -> forecast_pb2.EventSpan:
    """A phase of an event as a message."""
    return forecast_pb2.EventSpan(
        name=span.name,
        kind=span.kind,
        phase=span.phase,
        start_seconds=seconds(span.start),
        end_seconds=seconds(span.end),
        intensity=span.intensity,
    )


def seconds(time: np.datetime64) -> int:
    """A time as seconds since 1970-01-01 00:00."""
    return int(time.astype("datetime64[s]").astype(np.int64))


class SnapshotStore:
    """Holds the snapshot that serves and follows the pointer.

    `current` is replaced whole, never changed: whoever has taken it keeps a consistent view. A snapshot that
    cannot be opened is refused, logged and kept in `refused`; what served before goes on serving. It is
    looked at again when its files change: publishing it once more repairs it in place.
    """

    def __init__(self, home: Home) -> None:
        self._home = home
        self._served: Served | None = None
        self._seen: tuple[Pointer, Stamp] | None = None
        self._stop = threading.Event()
        self._watcher: threading.Thread | None = None
        self.refused: Refused | None = None

    @property
    def current(self) -> Served:
        """What serves; BusyError before the first load."""
        if self._served is None:
            raise BusyError("snapshot", expected="a loaded one", found="none yet; ask again shortly")
        return self._served

    def load(self) -> Served:
        """Open what the pointer names, or its predecessor when that one is damaged; raises when
        neither can serve.
        """
        pointer = Pointer.read(self._home)
        self._seen = (pointer, self._stamp(pointer.snapshot))
        try:
            self._served = self._open(pointer.snapshot)
            self.refused = None
        except (IntegrityError, NotFoundError) as error:
            self._refuse(pointer.snapshot, error)
            if pointer.previous is None:
                raise
            self._served = self._open(pointer.previous)
            log.warning("serving %s, which served before", pointer.previous)
        return self._served

    def follow(self, interval: float = 0.5, changed: Callable[[], None] = lambda: None) -> None:
        """Look at the pointer every `interval` seconds in a thread of its own, until `close`; call
        `changed` when another snapshot serves or is refused.
        """
        self._watcher = threading.Thread(
            target=self._watch, args=(interval, changed), name="pointer", daemon=True
        )
        self._watcher.start()

    def close(self) -> None:
        """Stop following."""
        self._stop.set()
        if self._watcher is not None:
            self._watcher.join()

    def refresh(self) -> bool:
        """Obey the pointer if it or its snapshot's files changed; whether another snapshot serves or is
        refused now.
        """
        served, refused = self._served, self.refused
        seen, self._seen = self._seen, None  # whatever it says when it can be read again is looked at
        try:
            pointer = Pointer.read(self._home)
            stamp = self._stamp(pointer.snapshot)
        except (SurgecastError, OSError) as error:
            self._refuse("", error)
        else:
            self._seen = (pointer, stamp)
            if self._seen != seen:
                self._obey(pointer, stamp)
        return self._served is not served or self.refused != refused

    def _obey(self, pointer: Pointer, stamp: Stamp) -> None:
        served = self._served
        try:
            if served is None or (served.snapshot.manifest.id, served.stamp) != (pointer.snapshot, stamp):
                self._served = self._open(pointer.snapshot)
                log.info("serving %s", pointer.snapshot)
        except (IntegrityError, NotFoundError) as error:
            self._refuse(pointer.snapshot, error)
        except OSError as error:  # a full table of files, a lost disk: it may pass, so it is tried again
            self._refuse(pointer.snapshot, error)
            self._seen = None
        else:
            self.refused = None

    def _open(self, snapshot: str) -> Served:
        stamp = self._stamp(snapshot)
        served = Served(Snapshot.open(self._home.snapshots_dir / snapshot), stamp)
        served.warm()
        return served

    def _stamp(self, snapshot: str) -> Stamp:
        return _stamp(self._home.snapshots_dir / snapshot)

    def _refuse(self, snapshot: str, error: Exception, *, unforeseen: bool = False) -> None:
        reason = f"{type(error).__name__}: {error}" if unforeseen else str(error)
        refused = Refused(snapshot=snapshot, reason=reason)
        if refused != self.refused:
            what = snapshot or "(pointer)"
            log.error("refused snapshot %s: %s", what, reason, exc_info=error if unforeseen else None)
        self.refused = refused

    def _watch(self, interval: float, changed: Callable[[], None]) -> None:
        while not self._stop.wait(interval):
            try:
                if self.refresh():
                    changed()
            except Exception as error:  # noqa: BLE001  a dead watcher would hide every later publication
                self._refuse(self._seen[0].snapshot if self._seen else "", error, unforeseen=True)
                changed()


def _stamp(folder: Path) -> Stamp:
    try:
        with os.scandir(folder) as entries:
            stats = [(entry.name, entry.stat()) for entry in entries]
    except (FileNotFoundError, NotADirectoryError):
        return ()  # the same as an empty folder: opening it says what is wrong
    return tuple(sorted((name, stat.st_ino, stat.st_size, stat.st_mtime_ns) for name, stat in stats))
