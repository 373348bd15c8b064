"""Exports: pieces of an Arrow IPC stream as record batches, written to a file while they come."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from surgecast.v1 import forecast_pb2 as pb

from forecast.errors import InputError, IntegrityError
from serving.client.decoding import facts
from serving.client.types import Exported, ModelFacts

if TYPE_CHECKING:
    import polars as pl
    import pyarrow as pa

TIMEOUT_S: Final = 600.0
"""Seconds that an export may take unless told otherwise."""
SUFFIXES: Final = (".parquet", ".arrow", ".csv")
_ROWS: Final = 131_072
"""Rows that are written at once: a row group of Parquet."""


@dataclass(frozen=True)
class Export:
    """An export under way: where it comes from, the schema of its columns, and its batches as they come."""

    source: ModelFacts
    schema: pa.Schema
    batches: Iterator[pa.RecordBatch]


def read_export(pieces: Iterator[pb.ExportForecastsResponse]) -> Export:
    """Begin to read; IntegrityError, here or from `batches`, when the pieces are no Arrow stream."""
    import pyarrow as pa

    first = next(pieces, None)
    if first is None:
        raise IntegrityError("export", expected="an Arrow IPC stream", found="nothing")
    joined = io.BufferedReader(_Joined(chain([first], pieces)), 1 << 20)
    with _arrow_errors():
        reader = pa.ipc.open_stream(joined)
    return Export(facts(first.source), reader.schema, _batches(reader, pieces))


def write_export(export: Export, path: Path, on_rows: Callable[[int], None] | None = None) -> Exported:
    """Write all batches to a file whose name ends in one of `SUFFIXES`; `on_rows` hears of the rows of each.

    The file appears when it is whole. InputError when it cannot be written.
    """
    part = path.with_name(f".{path.name}.part")
    rows = 0
    try:
        with _writer(part, export.schema, path.suffix.lower()) as write:
            for batch in export.batches:
                write(batch)
                rows += batch.num_rows
                if on_rows is not None:
                    on_rows(batch.num_rows)
        part.replace(path)
    except OSError as error:
        found = error.strerror or str(error)
        raise InputError(str(path), expected="a file to write to", found=found) from error
    finally:
        part.unlink(missing_ok=True)
    return Exported(source=export.source, path=path, n_rows=rows)


def check_path(path: Path) -> None:
    """InputError for a file whose name does not say what it shall be."""
    if path.suffix.lower() not in SUFFIXES:
        raise InputError("path", expected=f"a name ending in one of {', '.join(SUFFIXES)}", found=str(path))


def export_frame(export: Export) -> pl.DataFrame:
    """All rows of an export as one polars frame."""
    import polars as pl
    import pyarrow as pa

    frame = pl.from_arrow(pa.Table.from_batches(export.batches, export.schema))
    if not isinstance(frame, pl.DataFrame):
        raise TypeError(f"a table becomes a frame, not {type(frame).__name__}")
    return frame


class _Joined(io.RawIOBase):
    """The bytes of all pieces, one after the other."""

    def __init__(self, pieces: Iterator[pb.ExportForecastsResponse]) -> None:
        self._pieces = pieces
        self._rest = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: object) -> int:
        target = memoryview(buffer)  # type: ignore[arg-type]  # whatever a buffered reader hands in
        while not self._rest:
            piece = next(self._pieces, None)
            if piece is None:
                return 0
            self._rest = memoryview(piece.data)
        size = min(len(target), len(self._rest))
        target[:size] = self._rest[:size]
        self._rest = self._rest[size:]
        return size


def _batches(
    reader: pa.RecordBatchReader, pieces: Iterator[pb.ExportForecastsResponse]
) -> Iterator[pa.RecordBatch]:
    while True:
        with _arrow_errors():
            try:
                batch = reader.read_next_batch()
            except StopIteration:
                break
        yield batch
    for _ in pieces:  # to the status: a call that is left before it counts as cancelled
        pass


@contextmanager
def _arrow_errors() -> Iterator[None]:
    import pyarrow as pa

    try:
        yield
    except (pa.ArrowInvalid, OSError) as error:  # OSError where it ends too early
        raise IntegrityError("export", expected="an Arrow IPC stream", found=str(error)) from error


@contextmanager
def _writer(path: Path, schema: pa.Schema, suffix: str) -> Iterator[Callable[[pa.RecordBatch], None]]:
    """A function that writes a batch; rows are gathered, so that a file does not consist of crumbs."""
    import pyarrow as pa

    if suffix == ".csv":  # which knows no dictionaries
        schema = pa.schema(
            (f.name, f.type.value_type if pa.types.is_dictionary(f.type) else f.type) for f in schema
        )
    waiting: list[pa.RecordBatch] = []
    with _sink(path, schema, suffix) as sink:

        def flush() -> None:
            if waiting:
                sink.write_table(pa.Table.from_batches(waiting).unify_dictionaries().cast(schema))
                waiting.clear()

        def write(batch: pa.RecordBatch) -> None:
            waiting.append(batch)
            if sum(one.num_rows for one in waiting) >= _ROWS:
                flush()

        yield write
        flush()


def _sink(path: Path, schema: pa.Schema, suffix: str) -> Any:
    import pyarrow as pa

    if suffix == ".parquet":
        from pyarrow.parquet import ParquetWriter

        return ParquetWriter(path, schema, compression="zstd")
    if suffix == ".csv":
        from pyarrow.csv import CSVWriter

        return CSVWriter(path, schema)
    options = pa.ipc.IpcWriteOptions(compression="zstd", emit_dictionary_deltas=True)
    return pa.ipc.new_file(path, schema, options=options)
