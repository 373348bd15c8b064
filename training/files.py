"""Result files: whole or not at all."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import polars as pl

from forecast.errors import UsageError


def check_output(path: Path, *inputs: Path) -> None:
    """Raise UsageError where a file could not be written, or is one of the `inputs` by whatever name, before
    work begins that would be lost.
    """
    if not path.absolute().parent.is_dir():
        raise UsageError(f"out: expected an existing folder, found {path.absolute().parent}")
    if path.is_dir() or not os.access(path.absolute().parent, os.W_OK):
        raise UsageError(f"out: expected a file that can be written, found {path}")
    for read in inputs:
        if path.exists() and read.exists() and path.samefile(read):
            raise UsageError(f"out: expected another file than the input, found {path}")


def write_parquet(rows: pl.DataFrame, path: Path) -> None:
    """Write a table under another name and rename it: a reader never sees half of it."""
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.absolute().parent)
    os.close(handle)
    temporary = Path(name)
    try:
        rows.write_parquet(temporary, compression="zstd")
        temporary.chmod(0o644)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
