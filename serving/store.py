"""The snapshot that serves: opened through the home's pointer, checked, and swapped whole when the
pointer moves.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Final

from forecast.errors import (
    BusyError,
    IntegrityError,
    NotFoundError,
    PreconditionError,
    SurgecastError,
    refusal,
)
from forecast.home import Home
from forecast.snapshot import Pointer, Snapshot
from forecast.snapshot.format import Manifest
from forecast.snapshot.pointer import manifest_of
from forecast.snapshot.rollback import roll_back
from serving.operation.schema import check_schema
from serving.served import Refused, Served
from serving.stamp import Stamp, stamp_of

log = logging.getLogger("surgecast.serving")

_UNSOUND: Final = (IntegrityError, NotFoundError, OSError)
"""What says that a snapshot cannot serve."""

Check = Callable[[Served], None]
"""Raises IntegrityError or NotFoundError for what must not serve."""


class SnapshotStore:
    """Holds the snapshot that serves and follows the pointer.

    `current` is replaced whole, never changed: whoever has taken it keeps a consistent view, and its maps are
    released when the last one has let go. A snapshot that cannot be opened or does not pass a check is
    refused, logged and kept in `refused`; what served before goes on serving. It is looked at again when its
    files change: publishing it once more repairs it in place.

    checks: what must hold, and be ready, before a snapshot serves, in this order: each is called with what is
        about to serve, once it is warm, and refuses it by an error.
    swapped, refusing: called at each swap and at each refusal.
    """

    def __init__(
        self,
        home: Home,
        *,
        checks: Sequence[Check] = (),
        swapped: Callable[[], None] = lambda: None,
        refusing: Callable[[], None] = lambda: None,
    ) -> None:
        self._home = home
        self._checks = checks
        self._swapped = swapped
        self._refusing = refusing
        self._served: Served | None = None
        self._seen: tuple[Pointer, Stamp] | None = None
        self._moving = threading.Lock()
        self._changed: Callable[[], None] = lambda: None
        self._stop = threading.Event()
        self._watcher: threading.Thread | None = None
        self.refused: Refused | None = None

    @property
    def current(self) -> Served:
        """What serves; BusyError before the first load."""
        if self._served is None:
            raise BusyError("snapshot", expected="a loaded one", found="none yet; ask again shortly")
        return self._served

    @property
    def serving(self) -> str:
        """The identifier of what serves; empty before the first load."""
        return "" if self._served is None else self._served.snapshot.manifest.id

    @property
    def home(self) -> Home:
        """Whose snapshots these are."""
        return self._home

    def load(self) -> Served:
        """Open what the pointer names, or its predecessor when that one is damaged or cannot be read; raises
        NotFoundError, IntegrityError or PreconditionError when neither can serve.
        """
        try:
            served = self._opened(Pointer.read(self._home))
        except OSError as error:
            found = refusal(error)
            raise PreconditionError(
                str(self._home.root), expected="a home that can be read", found=found
            ) from error
        self._put(served)
        return served

    def follow(self, interval: float = 0.25, changed: Callable[[], None] = lambda: None) -> None:
        """Look at the pointer every `interval` seconds in a thread of its own, until `close`; call
        `changed` when another snapshot serves or is refused.
        """
        self._changed = changed
        self._watcher = threading.Thread(target=self._watch, args=(interval,), name="pointer", daemon=True)
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
        with self._moving:
            return self._refresh()

    def reload(self, timeout: float) -> None:
        """Look at the pointer and at its snapshot at once, even at one that was refused before; what it names
        serves or is refused afterwards. BusyError when that did not begin within `timeout` seconds.
        """
        with self._turn(timeout):
            if self.refused is not None:
                self._seen = None
            changed = self._refresh()
        if changed:
            self._changed()

    def roll_back(self, to: str | None, *, who: str, why: str, timeout: float) -> None:
        """Go back to the snapshot `to`, the one that served before when None: check it, move the pointer,
        leave a record, serve it.

        NotFoundError or IntegrityError when it cannot serve, InputError when it serves already,
        PreconditionError when the home cannot be written to: all is as it was then. BusyError when it did not
        begin within `timeout` seconds.
        """
        opened: list[Served] = []
        with self._turn(timeout):
            roll_back(self._home, to, who=who, why=why, check=lambda name: opened.append(self.open(name)))
            (served,) = opened
            self._serve(served)
            self._seen = None  # seen by the next look, which finds that it serves
        self._changed()

    def open(self, snapshot: str) -> Served:
        """A snapshot ready to serve: verified, warm and checked. NotFoundError or IntegrityError."""
        stamp = self._stamp(snapshot)
        mapped = Snapshot.open(self._home.snapshots_dir / snapshot)
        check_schema(mapped)
        served = Served(mapped, stamp)
        served.warm()
        for check in self._checks:
            check(served)
        return served

    @contextmanager
    def _turn(self, timeout: float) -> Iterator[None]:
        """Wait until nobody else moves from one snapshot to another."""
        if not self._moving.acquire(timeout=min(timeout, threading.TIMEOUT_MAX)):
            raise BusyError("snapshot", expected="to look at it in time", found="another is being opened")
        try:
            yield
        finally:
            self._moving.release()

    def _opened(self, pointer: Pointer) -> Served:
        try:
            self._seen = (pointer, self._stamp(pointer.snapshot))
            served = self.open(pointer.snapshot)
        except _UNSOUND as error:
            self._refuse(pointer.snapshot, error)
            if pointer.previous is None:
                raise
            served = self.open(pointer.previous)
            log.warning("serving %s, which served before", pointer.previous)
        return served

    def _refresh(self) -> bool:
        served, refused = self._served, self.refused
        seen, self._seen = self._seen, None  # whatever it says when it can be read again is looked at
        try:
            pointer = Pointer.read(self._home)
        except (SurgecastError, OSError) as error:
            self._refuse("", error)
        else:
            self._obey(pointer, seen)
        return self._served is not served or self.refused != refused

    def _obey(self, pointer: Pointer, seen: tuple[Pointer, Stamp] | None) -> None:
        served = self._served
        try:
            stamp = self._stamp(pointer.snapshot)
            self._seen = (pointer, stamp)
            if self._seen == seen:
                return
            if served is None or (served.snapshot.manifest.id, served.stamp) != (pointer.snapshot, stamp):
                self._serve(self.open(pointer.snapshot))
        except _UNSOUND as error:
            self._refuse(pointer.snapshot, error)
        else:
            self.refused = None

    def _put(self, served: Served) -> None:
        self._served = served
        served.cells.begin()

    def _serve(self, served: Served) -> None:
        self._put(served)
        self.refused = None
        self._swapped()
        log.info("serving %s", served.snapshot.manifest.id, extra={"snapshot": served.snapshot.manifest.id})

    def _stamp(self, snapshot: str) -> Stamp:
        return stamp_of(self._home.snapshots_dir / snapshot)

    def _refuse(self, snapshot: str, error: Exception, *, unforeseen: bool = False) -> None:
        reason = refusal(error) if isinstance(error, OSError) else str(error)
        if unforeseen:
            reason = f"{type(error).__name__}: {error}"
        if isinstance(
            error, OSError
        ):  # a full table of files, a lost disk: it may pass, so it is tried again
            self._seen = None
        refused = Refused(snapshot=snapshot, reason=reason)
        if refused != self.refused:
            what = snapshot or "(pointer)"
            log.error("refused snapshot %s: %s", what, reason, exc_info=error if unforeseen else None)
            self._refusing()
        self.refused = refused

    def _watch(self, interval: float) -> None:
        while not self._stop.wait(interval):
            try:
                if self.refresh():
                    self._changed()
            except Exception as error:  # noqa: BLE001  a dead watcher would hide every later publication
                self._refuse(self._seen[0].snapshot if self._seen else "", error, unforeseen=True)
                self._changed()


def listed(home: Home, serving: Manifest | None = None) -> list[Manifest]:
    """The snapshots of a home that can be read, and what serves though its folder is gone, the newest first;
    a damaged one could not serve. BusyError where the system does not let the folder be read.
    """
    found = {} if serving is None else {serving.id: serving}
    try:
        names = [folder.name for folder in home.snapshots_dir.iterdir() if not folder.name.startswith(".")]
    except FileNotFoundError:  # nothing published, or all of it gone
        names = []
    except OSError as error:
        why = error.strerror or str(error)  # without the path, which is no caller's business
        raise BusyError("snapshots", expected="a folder that can be read", found=why) from error
    for name in names:
        try:
            found[name] = manifest_of(home, name)
        except (SurgecastError, OSError) as error:
            log.debug("not listed: %s", error)
    return sorted(found.values(), key=lambda manifest: (manifest.created, manifest.id), reverse=True)
