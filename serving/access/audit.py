"""The audit log: who changed what through the server, one JSON object a line, forced to disk."""

from __future__ import annotations

import errno
import fcntl
import json
import os
from datetime import UTC, datetime

from forecast.errors import BusyError
from forecast.home import Home


class Audit:
    """Appends to the audit log of a home; several processes may.

    A record is whole or not there: what a full disk cut off is taken back.
    """

    def __init__(self, home: Home) -> None:
        self._path = home.audit_file

    def append(self, record: dict[str, object]) -> None:
        """Add a record, stamped with the time (UTC); BusyError when it cannot be written."""
        stamped = {"time": datetime.now(UTC).isoformat(timespec="milliseconds")} | record
        line = (json.dumps(stamped, ensure_ascii=False) + "\n").encode()
        try:
            handle = os.open(self._path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX)
                end = os.fstat(handle).st_size
                if end and os.pread(handle, 1, end - 1) != b"\n":  # cut off by a crash
                    line = b"\n" + line
                if os.write(handle, line) != len(line):
                    os.ftruncate(handle, end)
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
                os.fsync(handle)
            finally:
                os.close(handle)
        except OSError as error:
            found = error.strerror or str(error)
            raise BusyError("audit log", expected=f"to append to {self._path.name}", found=found) from error
