"""Waiting for MLflow's database, and saying clearly what is wrong with it."""

from __future__ import annotations

import random
import signal
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from forecast.errors import BusyError, IntegrityError, NotFoundError, PreconditionError, SurgecastError

if TYPE_CHECKING:
    from mlflow import MlflowClient

PATIENCE_SECONDS: Final = 60.0
"""How long a call waits for a database that somebody else has locked. SQLite itself waits 20 seconds more
where the lock is taken after that."""
FIRST_PAUSE: Final = 0.05
LONGEST_PAUSE: Final = 2.0
LOCKED: Final = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)
DAMAGED: Final = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
UNUSABLE: Final = (
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_PERM,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_FULL,
)
ENDING: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Patient:
    """An `MlflowClient` of one database; each call waits while it is locked and fails clearly.

    A signal to end comes while a call waits or after it, never in the middle of its writing.

    Raises, from any method: BusyError when it stays locked; NotFoundError when the file is gone, or is not
    the one it was at first; PreconditionError when it cannot be written; IntegrityError when it is damaged.
    """

    def __init__(self, client: MlflowClient, database: Path, patience_s: float = PATIENCE_SECONDS) -> None:
        self._client = client
        self._database = database
        self._patience_s = patience_s
        self._inode = database.stat().st_ino

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._client, name)
        if not callable(found):
            return found
        return patiently(self._database, self._patience_s, self._inode)(found)


@contextmanager
def patiently(database: Path, patience_s: float, inode: int | None = None) -> Iterator[None]:
    """Wait until the database is free, then do what is inside; also a decorator. Raises as `Patient`."""
    await_free(database, patience_s, inode)
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    try:
        with undisturbed():
            yield
    except (MlflowException, SQLAlchemyError) as error:
        cause = _sqlite_error(error)
        clear = None if cause is None else _clear(cause, database)
        if clear is None:
            raise
        raise clear from error


@contextmanager
def undisturbed() -> Iterator[None]:
    """Signals that would end the program come when what is inside is done.

    A session that an exception leaves in the middle of its commit keeps the database locked for as long as
    the exception lives, so that the run could not even say that it was interrupted.
    """
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread is sent signals
        return
    came: list[int] = []
    former = {number: signal.getsignal(number) for number in ENDING}
    former = {number: handler for number, handler in former.items() if callable(handler)}
    for number in former:
        signal.signal(number, lambda number, _frame: came.append(number))
    try:
        yield
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)
        if came:
            signal.raise_signal(came[0])


def await_free(database: Path, patience_s: float, inode: int | None = None) -> None:
    """Wait, with growing pauses, until nobody holds the database."""
    deadline = time.monotonic() + patience_s
    pause_s = FIRST_PAUSE
    while True:
        _check_file(database, inode)
        try:
            _touch(database)
        except sqlite3.Error as error:
            clear = _clear(error, database, patience_s)
            if clear is None:
                raise
            left_s = deadline - time.monotonic()
            if not isinstance(clear, BusyError) or left_s <= 0:
                raise clear from error
            time.sleep(min(pause_s * random.uniform(0.5, 1.0), left_s))
            pause_s = min(2 * pause_s, LONGEST_PAUSE)
        else:
            return


def _check_file(database: Path, inode: int | None) -> None:
    """An open connection would go on writing to a file that has lost its name."""
    try:
        found = database.stat().st_ino
    except FileNotFoundError:
        gone = "no such file: it was removed or moved while the job was running"
        raise NotFoundError(str(database), expected="MLflow's database", found=gone) from None
    if inode is not None and found != inode:
        raise NotFoundError(
            str(database), expected="the database that the job began with", found="another file in its place"
        )


def _touch(database: Path) -> None:
    """Take the lock that a write takes, and let it go."""
    address = f"file:{quote(str(database.absolute()))}?mode=rw"
    connecting = closing(sqlite3.connect(address, uri=True, timeout=0, isolation_level=None))
    with undisturbed(), connecting as connection:
        connection.execute("begin immediate")
        connection.execute("rollback")


def _sqlite_error(error: BaseException) -> sqlite3.Error | None:
    """What SQLite said, from under what SQLAlchemy and MLflow made of it."""
    cause: BaseException | None = error
    while cause is not None:
        found = getattr(cause, "orig", cause)
        if isinstance(found, sqlite3.Error):
            return found
        cause = cause.__cause__ or cause.__context__
    return None


def _clear(error: sqlite3.Error, database: Path, patience_s: float | None = None) -> SurgecastError | None:
    """The error that a user is shown; None where the database is not to blame."""
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_OK) & 0xFF
    if code in LOCKED:
        waited = "" if not patience_s else f" within {patience_s:g} s"
        return BusyError(str(database), expected=f"MLflow's database to be free{waited}", found=str(error))
    if code in UNUSABLE:
        return PreconditionError(str(database), expected="MLflow's database to be writable", found=str(error))
    if code in DAMAGED:
        return IntegrityError(str(database), expected="MLflow's SQLite database", found=str(error))
    return None
