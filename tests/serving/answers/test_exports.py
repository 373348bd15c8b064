"""Exports, asked of a real server process and read by polars."""

import io

import grpc
import numpy as np
import polars as pl
import pyarrow as pa
import pytest
from surgecast.v1 import forecast_pb2 as pb

from forecast.errors import BusyError
from forecast.quantiles import LEVELS
from serving.answers import exports
from serving.call import Call

Ask = pb.ExportForecastsRequest


def stream(pieces):
    return b"".join(piece.data for piece in pieces)


def test_polars_reads_the_table(ask, snapshot):
    pieces = ask.pieces(Ask())
    assert pieces[0].source.snapshot_id == snapshot.manifest.id
    assert not any(piece.HasField("source") for piece in pieces[1:])
    table = pl.read_ipc_stream(io.BytesIO(stream(pieces)))
    keys = snapshot.keys
    names = ["item", "location", "platform", "time", "mean", *(f"q{level:g}" for level in LEVELS)]
    assert table.columns == names
    for name in ("item", "location", "platform"):
        assert table[name].dtype == pl.Categorical
        assert table[name].to_list() == np.repeat(getattr(keys, name), 14).tolist()
    assert table["time"].dtype == pl.Datetime("ms")
    assert np.array_equal(table["time"].to_numpy(), np.tile(snapshot.times, 72))
    assert table["mean"].dtype == pl.Float32
    assert np.array_equal(table["mean"].to_numpy(), snapshot.mean_SH.reshape(-1))
    quantiles_SHQ = snapshot.quantiles(np.arange(72), 14)
    for q, name in enumerate(names[5:]):
        assert np.array_equal(table[name].to_numpy(), quantiles_SHQ[:, :, q].reshape(-1))


def test_arrow_sees_the_types_of_the_contract(ask):
    schema = pa.ipc.open_stream(stream(ask.pieces(Ask(levels=[0.5])))).schema
    assert schema.field("item").type == pa.dictionary(pa.int32(), pa.string())
    assert schema.field("time").type == pa.timestamp("s")
    assert schema.field("q0.5").type == pa.float32()


def test_some_series_levels_and_periods(ask, snapshot):
    wanted = Ask(filter=pb.SeriesFilter(item="SKU-4", platform="Tmall"), horizon=3, levels=[0.1, 0.975])
    table = pl.read_ipc_stream(stream(ask.pieces(wanted)))
    assert table.columns == ["item", "location", "platform", "time", "mean", "q0.1", "q0.975"]
    rows = np.flatnonzero((snapshot.keys.item == "SKU-4") & (snapshot.keys.platform == "Tmall"))
    assert table["location"].to_list() == np.repeat(snapshot.keys.location[rows], 3).tolist()
    assert np.array_equal(table["mean"].to_numpy(), snapshot.mean_SH[rows, :3].reshape(-1))
    high = snapshot.quantiles(rows, 3)[:, :, LEVELS.index(0.975)]
    assert np.array_equal(table["q0.975"].to_numpy(), high.reshape(-1))


def test_nobody_passes(ask):
    table = pl.read_ipc_stream(stream(ask.pieces(Ask(filter=pb.SeriesFilter(item="SKU-99")))))
    assert table.shape == (0, 22)


def test_many_batches_are_one_table_and_send_their_dictionaries_once(
    answer_from, publication, waiting, monkeypatch
):
    monkeypatch.setattr(exports, "BATCH_ROWS", 5 * 14)
    monkeypatch.setattr(exports, "PIECE_BYTES", 1_000)
    export = answer_from(publication)["ExportForecasts"]
    pieces = [pb.ExportForecastsResponse.FromString(piece) for piece in export(b"", waiting)]
    assert max(len(piece.data) for piece in pieces) == 1_000
    content = stream(pieces)
    reader = pa.ipc.open_stream(content)
    batches = list(reader)
    assert {batch.num_rows for batch in batches} == {70, 28}
    assert reader.stats.num_dictionary_batches == 3
    means = pl.read_ipc_stream(content)["mean"].to_numpy()
    assert np.array_equal(means, publication.forecasts.mean_SH.reshape(-1))


def test_it_stops_when_the_caller_has_gone(answer_from, publication, waiting, monkeypatch):
    monkeypatch.setattr(exports, "BATCH_ROWS", 14)
    export = answer_from(publication)["ExportForecasts"]
    looks = iter([True] * 5)
    leaving = Call(remaining=lambda: 60.0, active=lambda: next(looks, False))
    with pytest.raises(BusyError, match="deadline"):
        list(export(b"", leaving))
    list(export(b"", waiting))  # its slot is free again


def test_slow_readers_leave_room_for_others(answer_from, publication, waiting):
    export = answer_from(publication)["ExportForecasts"]
    slow = [export(b"", waiting) for _ in range(exports.MAX_EXPORTS)]
    for one in slow:
        next(one)
    with pytest.raises(BusyError, match="exports: expected at most 2 at once"):
        next(export(b"", waiting))
    slow[0].close()
    assert list(export(b"", waiting))


def test_a_cancelled_export_frees_its_slot(ask):
    for _ in range(3 * exports.MAX_EXPORTS):
        call = ask.channel.unary_stream("/surgecast.v1.ForecastService/ExportForecasts")(b"", timeout=20)
        next(call)
        call.cancel()
    for _ in range(1_000):
        try:
            assert ask.pieces(Ask())
        except grpc.RpcError as error:
            assert error.code() is grpc.StatusCode.UNAVAILABLE  # noqa: PT017  the last ones are ending
        else:
            break
    else:
        pytest.fail("no slot is free")


@pytest.mark.parametrize(
    ("request_", "field"),
    [
        (Ask(horizon=15), "horizon"),
        (Ask(levels=[0.5, 0.42]), "levels[1]"),
        (Ask(levels=[0.5, 0.5]), "levels[1]"),
        (Ask(levels=[0.9, 0.1]), "levels[1]"),
        (Ask(levels=[float("nan")]), "levels[0]"),
        (
            Ask(filter=pb.SeriesFilter(labels=[pb.LabelFilter(name="?", values=["a"])])),
            "filter.labels[0].name",
        ),
    ],
)
def test_bad_questions_name_their_field(ask, request_, field):
    assert ask.refusal("ExportForecasts", request_) == (grpc.StatusCode.INVALID_ARGUMENT, field)
