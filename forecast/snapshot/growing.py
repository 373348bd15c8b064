"""Arrays that grow on disk, run of rows after run of rows, and are hashed on the way.

They are appended to and not mapped: a full disk is then an error like any other (in a mapped file it kills
the process), and what is written does not count as memory of the process that writes it.
"""

from __future__ import annotations

import hashlib
import io
import os
from pathlib import Path
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray

from forecast.errors import InputError
from forecast.snapshot.format import FileEntry

SYNCED: Final = 64 << 20
"""Bytes of a file after which they are forced to disk, so that the disk works while others compute, and
little is left to wait for at the end."""


class GrowingArray:
    """A `.npy` file of a known shape, the same bytes as `numpy.save` writes. `close` it in any case."""

    def __init__(self, path: Path, shape: tuple[int, ...], dtype: np.dtype[np.generic]) -> None:
        self._path, self._shape, self._dtype = path, shape, dtype
        self._rows = self._size = self._unsynced = 0
        self._digest = hashlib.sha256()
        self._file = path.open("wb", buffering=0)
        header = io.BytesIO()
        descr = np.lib.format.dtype_to_descr(dtype)
        np.lib.format.write_array_header_1_0(header, {"descr": descr, "fortran_order": False, "shape": shape})
        self._write(memoryview(header.getvalue()))

    def append(self, rows: NDArray[np.generic]) -> None:
        """More rows. Raises InputError where they do not fit the array, OSError where the disk is full."""
        if rows.dtype != self._dtype or rows.shape[1:] != self._shape[1:]:
            expected = f"rows of {self._dtype} {self._shape[1:]}"
            raise InputError(self._path.stem, expected=expected, found=f"{rows.dtype} {rows.shape[1:]}")
        self._rows += len(rows)
        if rows.size:
            self._write(np.ascontiguousarray(rows).data.cast("B"))

    def finish(self) -> FileEntry:
        """Force all of it to disk; its size and hash. Raises InputError where rows are missing."""
        if self._rows != self._shape[0]:
            expected = f"{self._shape[0]:,} series"
            raise InputError(self._path.stem, expected=expected, found=f"{self._rows:,}")
        os.fsync(self._file.fileno())
        return FileEntry(size=self._size, sha256=self._digest.hexdigest())

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    def _write(self, data: memoryview) -> None:
        left = data
        while len(left):
            left = left[self._file.write(left) :]
        self._digest.update(data)
        self._size += len(data)
        self._unsynced += len(data)
        if self._unsynced >= SYNCED:
            os.fsync(self._file.fileno())
            self._unsynced = 0
