"""A snapshot that is written while it is forecast: the bytes of one that was written at once, or nothing."""

from __future__ import annotations

import errno
from collections.abc import Generator
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from forecast.demand.panel import Panel
from forecast.errors import InputError
from forecast.forecasts import ForecastPart, Forecasts
from forecast.home import Home
from forecast.snapshot import Snapshot, write_snapshot
from forecast.snapshot.format import FILES, pack_quantiles, spans_text
from forecast.snapshot.growing import GrowingArray
from forecast.snapshot.summary import event_spans, summarise
from forecast.snapshot.writer import WAITING, stream_snapshot


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path)


def select(forecasts: Forecasts, rows: slice) -> Forecasts:
    return Forecasts(
        period=forecasts.period,
        origin=forecasts.origin,
        keys=forecasts.keys.select(rows),
        mean_SH=forecasts.mean_SH[rows],
        quantiles_SHQ=forecasts.quantiles_SHQ[rows],
        ranks_SHK=forecasts.ranks_SHK[rows],
    )


def parts(forecasts: Forecasts, panel: Panel, size: int) -> Generator[ForecastPart]:
    for first in range(0, panel.n_series, size):
        rows = slice(first, first + size)
        yield ForecastPart(select(forecasts, rows), panel.select(rows))


def stream(home: Home, panel: Panel, found: Generator[ForecastPart]) -> str:
    return stream_snapshot(home, panel, found, bundle_id="b1", model_version="3")


def plain(folder: Path, forecasts: Forecasts, panel: Panel) -> None:
    """Every file of a snapshot but its manifest, in the plainest way."""
    folder.mkdir()
    packed_SHQ, scale_S = pack_quantiles(forecasts.quantiles_SHQ)
    np.save(folder / "mean.npy", forecasts.mean_SH)
    np.save(folder / "quantiles.npy", packed_SHQ)
    np.save(folder / "scale.npy", scale_S)
    np.save(folder / "ranks.npy", forecasts.ranks_SHK)
    np.save(folder / "history.npy", np.ascontiguousarray(panel.demand_ST[:, -180:]))
    np.save(folder / "group.npy", panel.events.group_S)
    columns = {name: getattr(panel.keys, name).tolist() for name in ("item", "location", "platform")}
    columns["no_history"] = panel.no_history_S
    columns |= {f"static:{name}": labels.tolist() for name, labels in panel.statics.items()}
    columns |= {f"summary:{name}": values for name, values in asdict(summarise(forecasts, panel)).items()}
    table = pa.table(columns)
    with pa.OSFile(str(folder / "series.arrow"), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)
    (folder / "events.json").write_text(spans_text(event_spans(panel, forecasts.horizon)), encoding="utf-8")


@pytest.mark.parametrize("size", [1, 5, 12, 100])
def test_parts_make_the_bytes_of_the_whole(home: Home, make_publication, tmp_path: Path, size: int) -> None:
    forecasts, panel = make_publication(n_series=23)
    plain(tmp_path / "plain", forecasts, panel)
    streamed = home.snapshots_dir / stream(home, panel, parts(forecasts, panel, size))
    for name in FILES:
        assert (streamed / name).read_bytes() == (tmp_path / "plain" / name).read_bytes(), name
    Snapshot.open(streamed)
    assert write_snapshot(home, forecasts, panel, bundle_id="b1", model_version="3") == streamed.name


def test_what_goes_wrong_in_forecasting_is_raised_and_leaves_nothing(home: Home, make_publication) -> None:
    forecasts, panel = make_publication()

    def broken(error: BaseException) -> Generator[ForecastPart]:
        yield next(parts(forecasts, panel, 4))
        raise error

    for error in (RuntimeError("no power"), KeyboardInterrupt()):
        with pytest.raises(type(error)):
            stream(home, panel, broken(error))
        assert not list(home.snapshots_dir.iterdir())


def test_a_disk_that_fills_up_stops_the_forecasting(
    home: Home, make_publication, monkeypatch: pytest.MonkeyPatch
) -> None:
    forecasts, panel = make_publication(n_series=60)
    taken, ended = 0, False

    def counted() -> Generator[ForecastPart]:
        nonlocal taken, ended
        try:
            for part in parts(forecasts, panel, 1):
                taken += 1
                yield part
        finally:
            ended = True

    append, appended = GrowingArray.append, 0

    def full(array: GrowingArray, rows: np.ndarray) -> None:
        nonlocal appended
        appended += 1
        if appended > 20:
            raise OSError(errno.ENOSPC, "No space left on device")
        append(array, rows)

    monkeypatch.setattr(GrowingArray, "append", full)
    with pytest.raises(InputError, match=r"room for the snapshot, found No space left on device after \d"):
        stream(home, panel, counted())
    assert ended
    assert taken <= 20 // 6 + 1 + WAITING + 2
    assert not list(home.snapshots_dir.iterdir())


def test_series_that_are_missing_doubled_or_not_finite_are_refused(home: Home, make_publication) -> None:
    forecasts, panel = make_publication()
    head = slice(0, 8)
    with pytest.raises(InputError, match="expected 12 series, found 8"):
        stream(home, panel, parts(select(forecasts, head), panel.select(head), 4))
    with pytest.raises(InputError, match="other items"):
        stream(home, panel, parts(select(forecasts, slice(4, 8)), panel.select(slice(4, 8)), 4))
    with pytest.raises(InputError, match="at least one series"):
        stream(home, panel, parts(forecasts, panel.select(slice(0, 0)), 4))
    twice = panel.select(np.array([0, 0]))
    with pytest.raises(InputError, match="a series twice"):
        stream(home, twice, parts(forecasts, panel, 4))
    forecasts.quantiles_SHQ[-1, 0, 0] = np.inf
    with pytest.raises(InputError, match="quantiles: expected finite"):
        stream(home, panel, parts(forecasts, panel, 4))
    assert not list(home.snapshots_dir.iterdir())


def test_an_array_takes_rows_of_its_own_kind_only(tmp_path: Path) -> None:
    with GrowingArray(tmp_path / "mean.npy", (3, 2), np.dtype(np.float32)) as array:
        array.append(np.ones((2, 2), np.float32))
        for wrong in (np.ones((1, 2)), np.ones((1, 3), np.float32)):
            with pytest.raises(InputError, match=r"mean: expected rows of float32 \(2,\)"):
                array.append(wrong)
        with pytest.raises(InputError, match="expected 3 series, found 2"):
            array.finish()
