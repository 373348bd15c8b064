"""All forecasts that pass a filter, as an Arrow IPC stream.

Letters: N series of a batch, h periods ahead that are wanted.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import numpy as np
from surgecast.v1 import forecast_pb2

from forecast.errors import BusyError
from forecast.planning.aggregate import Index
from forecast.quantiles import LEVELS
from serving.answers.selection import passing
from serving.call import Call
from serving.checks import check_filter, check_horizon, check_levels, parse
from serving.served import Served
from serving.store import SnapshotStore

if TYPE_CHECKING:
    import pyarrow as pa

BATCH_ROWS: Final = 1 << 16
"""Rows of a record batch, rounded down to whole series."""
PIECE_BYTES: Final = 1 << 20
"""The most Arrow bytes of a piece: well below the 4 MB that gRPC's clients take by default."""
MAX_EXPORTS: Final = 2
"""Exports at once. A slow reader holds one of the server's threads: others must be left for quick calls."""


@dataclass(frozen=True)
class ExportAnswers:
    """Exports of the snapshot that serves."""

    store: SnapshotStore
    _slots: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(MAX_EXPORTS))

    def export_forecasts(self, content: bytes, call: Call) -> Iterator[bytes]:
        """`ExportForecasts`: whole series, in the snapshot's order; the head alone where none passes.

        Memory is that of a batch, however many series there are. Ends when the caller has gone.
        """
        request = parse(forecast_pb2.ExportForecastsRequest, content)
        served = self.store.current
        check_filter(request.filter)
        horizon = check_horizon(request, served.snapshot.manifest.horizon)
        levels = check_levels(request.levels)
        rows = np.flatnonzero(passing(served, request.filter))
        if not self._slots.acquire(blocking=False):
            raise BusyError("exports", expected=f"at most {MAX_EXPORTS} at once", found="as many under way")
        try:
            message = forecast_pb2.ExportForecastsResponse(source=served.source)
            for message.data in _pieces(_Table(served, rows, horizon, levels), call):
                yield message.SerializeToString()
                message.ClearField("source")
        finally:
            self._slots.release()


def _pieces(table: _Table, call: Call) -> Iterator[bytes]:
    import pyarrow as pa

    sink = _Sink()
    with pa.ipc.new_stream(pa.PythonFile(sink, mode="w"), table.schema) as writer:
        for batch in table.batches():
            call.check()
            writer.write_batch(batch)
            yield from sink.taken()
    yield from sink.taken()


class _Sink:
    """A file that keeps what is written until it is taken."""

    closed = False

    def __init__(self) -> None:
        self._content = bytearray()

    def write(self, content: bytes | memoryview) -> int:
        self._content += content
        return len(content)

    def flush(self) -> None:
        """Nothing waits anywhere."""

    def close(self) -> None:
        self.closed = True

    def taken(self) -> Iterator[bytes]:
        """What was written since it was last taken, in pieces."""
        content, self._content = self._content, bytearray()
        for start in range(0, len(content), PIECE_BYTES):
            yield bytes(content[start : start + PIECE_BYTES])


class _Table:
    """The rows of an export: `horizon` periods of each series, means and some levels."""

    def __init__(self, served: Served, rows: Index, horizon: int, levels: Sequence[int]) -> None:
        import pyarrow as pa

        self._snapshot = served.snapshot
        self._rows = rows
        self._horizon = horizon
        self._levels = levels
        self._times = served.snapshot.times[:horizon].astype("datetime64[s]")
        self._names: list[tuple[pa.Array, Index]] = []
        for name in ("item", "location", "platform"):
            label = served.labels[name]
            present, number_N = np.unique(label.number_S[rows], return_inverse=True)
            values = pa.array([label.values[number] for number in present.tolist()], pa.string())
            self._names.append((values, number_N.astype(np.int32)))
        named = [(name, pa.dictionary(pa.int32(), pa.string())) for name in ("item", "location", "platform")]
        numbers = [("mean", pa.float32()), *((f"q{LEVELS[q]:g}", pa.float32()) for q in levels)]
        self.schema: pa.Schema = pa.schema([*named, ("time", pa.timestamp("s")), *numbers])

    def batches(self) -> Iterator[pa.RecordBatch]:
        """Record batches of whole series; one without rows where there is no series."""
        size = max(1, BATCH_ROWS // self._horizon)
        for start in range(0, max(1, len(self._rows)), size):
            yield self._batch(slice(start, start + size))

    def _batch(self, part: slice) -> pa.RecordBatch:
        import pyarrow as pa

        rows = self._rows[part]
        snapshot, h = self._snapshot, self._horizon
        quantiles_NhQ = snapshot.quantiles(rows, h)
        columns: list[pa.Array] = [
            pa.DictionaryArray.from_arrays(np.repeat(number_N[part], h), values)
            for values, number_N in self._names
        ]
        columns.append(pa.array(np.tile(self._times, len(rows))))
        columns.append(pa.array(np.ascontiguousarray(snapshot.mean_SH[rows, :h]).reshape(-1)))
        columns += [pa.array(np.ascontiguousarray(quantiles_NhQ[:, :, q]).reshape(-1)) for q in self._levels]
        return pa.record_batch(columns, schema=self.schema)
