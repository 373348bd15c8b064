"""The pointer: one small file in the home that says which snapshot serves and which one served before it."""

from __future__ import annotations

import json
import os
import tempfile
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from forecast.errors import BusyError, IntegrityError, NotFoundError
from forecast.home import Home
from forecast.snapshot.folders import locked, remove, sync_folder
from forecast.snapshot.format import MANIFEST, Manifest, is_id, read_manifest

POINTER_FORMAT = 1


@dataclass(frozen=True, kw_only=True)
class Pointer:
    """Which snapshot serves. `moved` is UTC in ISO 8601; `moves` counts the moves, so that a reader
    sees each.
    """

    snapshot: str
    previous: str | None
    moved: str
    moves: int

    @classmethod
    def read(cls, home: Home) -> Pointer:
        """The pointer of a home; NotFoundError when nothing was published, IntegrityError when it is
        damaged.
        """
        path = home.pointer_file
        try:
            return cls._checked(json.loads(path.read_text(encoding="utf-8")), path)
        except FileNotFoundError as error:
            found = f"nothing published in {home.root}; surgecast publish does it"
            raise NotFoundError("snapshot", expected="a published snapshot", found=found) from error
        except (ValueError, RecursionError) as error:  # no UTF-8, no JSON, nested too deep
            raise IntegrityError(str(path), expected="a pointer in JSON", found=str(error)) from error

    @classmethod
    def _checked(cls, content: object, path: Path) -> Pointer:
        if not isinstance(content, dict) or content.get("format") != POINTER_FORMAT:
            found = content.get("format") if isinstance(content, dict) else type(content).__name__
            raise IntegrityError(
                str(path), expected=f"a pointer of format {POINTER_FORMAT}", found=str(found)
            )
        snapshot, previous = content.get("snapshot"), content.get("previous")
        for name, value in (("snapshot", snapshot), ("previous", previous)):
            allowed_none = name == "previous" and value is None
            if not allowed_none and not (isinstance(value, str) and is_id(value)):
                raise IntegrityError(str(path), expected=f"{name}: the id of a snapshot", found=repr(value))
        moved, moves = content.get("moved"), content.get("moves")
        if not isinstance(moved, str) or not isinstance(moves, int):
            raise IntegrityError(str(path), expected="moved and moves", found=f"{moved!r} and {moves!r}")
        return cls(snapshot=str(snapshot), previous=previous, moved=moved, moves=moves)


def move_pointer(home: Home, snapshot: str, *, moves: int | None = None) -> Pointer:
    """Let servers serve `snapshot` from now on; what served until now becomes `previous`. Returns the new
    pointer.

    Writers wait for each other and the file is replaced whole, so readers see the one or the other. Moving to
    what serves already changes nothing: a server sees by itself that files were repaired.

    moves: how often the pointer had been moved when the caller looked, 0 where there was none: who decided on
    what there was then takes nothing back that somebody else has done since.
    Raises NotFoundError when there is no such snapshot, IntegrityError when its manifest is damaged,
    BusyError where somebody moved the pointer after `moves`.
    """
    manifest_of(home, snapshot)
    with locked(home.root):
        present = readable_pointer(home)  # none at first, or a damaged one, which this move repairs
        if present is not None and present.snapshot == snapshot:
            return present
        count = present.moves if present is not None else 0
        if moves is not None and moves != count:
            raise BusyError("pointer", expected=f"{moves} moves so far", found=f"{count}; somebody moved it")
        pointer = next_pointer(present, snapshot)
        write_pointer(home, pointer)
    return pointer


def manifest_of(home: Home, snapshot: str) -> Manifest:
    """The manifest of a snapshot; NotFoundError when there is no such snapshot, IntegrityError when it is
    damaged.
    """
    path = home.snapshots_dir / snapshot / MANIFEST
    if not is_id(snapshot) or not path.is_file():
        raise NotFoundError("snapshot", expected=f"a snapshot in {home.snapshots_dir}", found=repr(snapshot))
    return read_manifest(path)


def remove_unserved(home: Home, snapshot: str) -> None:
    """Remove a snapshot unless the pointer names it. Somebody may go back to it at this moment: whoever moves
    the pointer holds this lock."""
    with locked(home.root):
        pointer = readable_pointer(home)
        if pointer is None or snapshot not in (pointer.snapshot, pointer.previous):
            remove(home.snapshots_dir / snapshot)


def readable_pointer(home: Home) -> Pointer | None:
    """The pointer of a home, None where there is none or a damaged one."""
    try:
        return Pointer.read(home)
    except (NotFoundError, IntegrityError):
        return None


def next_pointer(present: Pointer | None, snapshot: str) -> Pointer:
    """The pointer after a move to `snapshot`."""
    return Pointer(
        snapshot=snapshot,
        previous=present.snapshot if present else None,
        moved=datetime.now(UTC).isoformat(timespec="seconds"),
        moves=present.moves + 1 if present else 1,
    )


def write_pointer(home: Home, pointer: Pointer) -> None:
    """Put a pointer in place; the caller holds the lock of the home."""
    replace_file(home.pointer_file, json.dumps({"format": POINTER_FORMAT} | asdict(pointer), indent=1))


def replace_file(path: Path, text: str) -> None:
    """Replace a small file at once: readers see the old text or the new one, also after a power cut."""
    handle, name = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)
    temporary = Path(name)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    sync_folder(path.parent)
