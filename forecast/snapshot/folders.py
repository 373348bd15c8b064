"""Folders that are there whole or not at all: written aside, synced to disk, renamed into place; renamed
before they are removed.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from forecast.errors import InputError, IntegrityError
from forecast.snapshot.reader import Snapshot

_UNFINISHED: Final = ".writing-"
_GOING: Final = ".going-"


@contextmanager
def unfinished(parent: Path) -> Iterator[Path]:
    """A new temporary folder in `parent`, locked while it is in use, gone at the end unless renamed.

    Temporary folders that nobody holds a lock on, left by killed writers, are removed first. Raises
    InputError where there is no folder to write to.
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


def put_in_place(folder: Path, target: Path) -> None:
    """Rename a snapshot's folder to `target`; a healthy one of the same content stays, a damaged one makes
    way."""
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


def remove(folder: Path) -> None:
    """Remove a folder, which is renamed first: killed in the middle, no half of it stays under its name."""
    if folder.is_dir():
        target = folder.with_name(f"{_GOING}{folder.name}")
        shutil.rmtree(target, ignore_errors=True)
        shutil.rmtree(folder.rename(target), ignore_errors=True)


def remove_left(parent: Path) -> None:
    """Remove what `remove`, killed in the middle, left in a folder."""
    for left in parent.glob(f"{_GOING}*"):
        shutil.rmtree(left, ignore_errors=True)


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the exclusive lock of a folder; waits for whoever holds it."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def sync_folder(folder: Path) -> None:
    """Force the names in a folder to disk."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def sync_file(path: Path) -> None:
    """Force a file to disk."""
    with path.open("rb") as file:
        os.fsync(file.fileno())


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
