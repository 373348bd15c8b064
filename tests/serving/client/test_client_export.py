"""Exports: files and frames from a stream, with both clients."""

import asyncio

import numpy as np
import polars as pl
import pyarrow as pa
import pytest
from planner_server import arrow_pieces, full, source
from surgecast.v1 import forecast_pb2 as pb

from forecast.errors import BusyError, InputError, IntegrityError
from serving.client import AsyncClient, Client, SeriesFilter
from serving.client.arrow import read_export

READERS = {".parquet": pl.read_parquet, ".arrow": pl.read_ipc, ".csv": pl.read_csv}


@pytest.fixture(params=["threads", "asyncio"])
def export(request, address):
    """Calls one of the export methods of either client."""

    def with_threads(name, *arguments, **options):
        with Client(address) as client:
            answer = getattr(client, name)(*arguments, **options)
            return list(answer) if name == "export_batches" else answer

    def with_asyncio(name, *arguments, **options):
        async def ask():
            async with AsyncClient(address) as client:
                answer = getattr(client, name)(*arguments, **options)
                return [one async for one in answer] if name == "export_batches" else await answer

        return asyncio.run(ask())

    return with_threads if request.param == "threads" else with_asyncio


@pytest.mark.parametrize("suffix", READERS)
def test_files_hold_every_row(export, planner, tmp_path, suffix):
    heard = []
    path = tmp_path / f"all{suffix}"
    done = export("export", path, levels=[0.1, 0.9], on_rows=heard.append)
    assert (done.n_rows, done.path, done.source.snapshot) == (1_000, path, "snap-1")
    assert heard == [400, 400, 200]
    frame = READERS[suffix](path)
    assert frame.columns == ["item", "location", "platform", "time", "mean", "q0.1", "q0.9"]
    assert frame["item"].cast(pl.String).to_list() == [f"i{n}" for n in range(1_000)]
    assert np.array_equal(frame["q0.9"].to_numpy(), np.arange(1_000))
    assert list(tmp_path.iterdir()) == [path]


def test_frames_and_batches(export, planner):
    frame = export("export_frame", where=SeriesFilter(location="L"), horizon=1)
    assert (frame.height, frame["mean"].sum()) == (1_000, 499_500)
    assert (planner.requests[0].filter.location, planner.requests[0].horizon) == ("L", 1)
    batches = export("export_batches")
    assert [batch.num_rows for batch in batches] == [400, 400, 200]


def test_no_series_is_an_empty_file(export, planner, tmp_path):
    planner.export_rows = 0
    assert export("export", tmp_path / "none.parquet").n_rows == 0
    assert pl.read_parquet(tmp_path / "none.parquet").columns[-1] == "q0.975"


def test_a_full_server_is_asked_again(export, planner, tmp_path):
    planner.refusals = [full(0.01), full(0.01)]
    assert export("export", tmp_path / "all.parquet").n_rows == 1_000
    assert len(planner.requests) == 3


def test_a_stream_that_breaks_leaves_no_file(export, planner, tmp_path):
    path = tmp_path / "all.parquet"
    path.write_text("the former one")
    planner.broken_after = 2
    with pytest.raises(BusyError, match="gone"):
        export("export", path)
    assert path.read_text() == "the former one"
    assert list(tmp_path.iterdir()) == [path]


def test_where_nothing_can_be_written_is_said(export, planner, tmp_path):
    with pytest.raises(InputError, match="No such file"):
        export("export", tmp_path / "nowhere" / "all.parquet")
    with pytest.raises(InputError, match=r"path: expected a name ending in one of \.parquet"):
        export("export", tmp_path / "all.xlsx")
    assert len(planner.requests) == 1


@pytest.mark.parametrize("pieces", [[], [b"garbage" * 9], arrow_pieces(900, [0.5])[:2]])
def test_what_is_no_arrow_stream_is_said(pieces):
    answers = (pb.ExportForecastsResponse(source=source(), data=piece) for piece in pieces)
    with pytest.raises(IntegrityError, match="expected an Arrow IPC stream"):
        list(read_export(answers).batches)


def test_the_memory_does_not_grow_with_the_export(planner, tmp_path, client):
    def peak(rows):
        """Bytes that Arrow holds beyond those at the beginning, at most."""
        planner.export_rows, planner.export_batch = rows, 20_000
        pool = pa.default_memory_pool()
        held = [pool.bytes_allocated()]
        client.export(tmp_path / "all.parquet", on_rows=lambda _: held.append(pool.bytes_allocated()))
        return max(held) - held[0]

    assert 0 < peak(800_000) < 1.5 * peak(200_000)


def test_a_task_that_is_cancelled_leaves_nothing(planner, tmp_path, address):
    async def ask():
        async with AsyncClient(address) as client:
            begun = asyncio.Event()
            loop = asyncio.get_running_loop()
            task = asyncio.create_task(
                client.export(
                    tmp_path / "all.parquet", on_rows=lambda _: loop.call_soon_threadsafe(begun.set)
                )
            )
            await begun.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

    planner.export_rows, planner.export_batch = 2_000_000, 20_000
    asyncio.run(ask())
    assert list(tmp_path.iterdir()) == []
