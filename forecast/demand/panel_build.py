"""From the store to the panel: rows stream from Parquet and are scattered into dense arrays, of all series or
of a run of neighbouring ones.

Letters: S series, T observed periods, P periods with known features, L periods of the event grid.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import numpy as np
import polars as pl
from numpy.typing import NDArray

from forecast.demand.events.calendars import load_events
from forecast.demand.events.grid import event_grid
from forecast.demand.incoming import STEP_US
from forecast.demand.panel import EventGrid, Floats, Panel, Period, SeriesKeys
from forecast.demand.shards import PanelShards, cut, series_bytes, without_numbers
from forecast.demand.store import KEYS, DemandStore, store_period
from forecast.errors import InputError, IntegrityError, NotFoundError
from forecast.home import Home
from forecast.settings import load_settings

BEYOND = 60
"""Periods of the event grid beyond what is forecast, so that the approach to a later event is seen;
and periods that a cutoff may lie after the last demand."""
BATCH = 1_000_000
Grid = Callable[[SeriesKeys, Period, np.datetime64, int], EventGrid]


@dataclass(frozen=True, kw_only=True)
class _Axis:
    """The time axis of a store: index of a time, and how many periods there are."""

    start: datetime
    step_us: int
    n_observed: int
    n_known: int

    def index(self, time: datetime) -> int:
        return int((time - self.start).total_seconds() * 1e6) // self.step_us

    def column(self) -> pl.Expr:
        """The index of column `time`; the difference of two times without zone is in microseconds."""
        return (
            pl.col("time") - pl.lit(self.start, pl.Datetime("us"))
        ).dt.total_microseconds() // self.step_us


@dataclass(frozen=True, kw_only=True)
class _Dense:
    """The arrays of the series from number `first` on, as they fill up.

    first_S: index of a series' first order line, negative before the axis, beyond T where it has none.
    """

    first: int
    demand_ST: Floats
    stock_ST: Floats | None
    known: dict[str, Floats]
    first_S: NDArray[np.intp]


def load_panel(
    home: Home, *, cutoff: np.datetime64 | None = None, horizon: int = 0, version: str | None = None
) -> Panel:
    """The panel of a home's demand with the events of its calendars; arguments as for `PanelReader`."""
    store = DemandStore(home.demand_dir, version=version)
    return PanelReader(store, _calendars(home), cutoff=cutoff, horizon=horizon).read()


def load_shards(
    home: Home,
    *,
    cutoff: np.datetime64 | None = None,
    horizon: int = 0,
    since: np.datetime64 | None = None,
    version: str | None = None,
    whole_bytes: int | None = None,
) -> PanelShards:
    """The same panel in runs of series that are read when they are asked for, as of one version of the
    store; of the periods from `since` on; in one run where that takes `whole_bytes` at most."""
    store = DemandStore(home.demand_dir, version=version)
    return PanelReader(store, _calendars(home), cutoff=cutoff, horizon=horizon, since=since).shards(
        whole_bytes
    )


def _calendars(home: Home) -> Grid:
    settings = load_settings(home)

    def grid(keys: SeriesKeys, period: Period, start: np.datetime64, n_periods: int) -> EventGrid:
        end = start + np.timedelta64(n_periods * STEP_US[period], "us")
        events = load_events(
            home, settings, start.astype("datetime64[D]").item(), end.astype("datetime64[D]").item()
        )
        return event_grid(events, keys, period, start, n_periods)

    return grid


def build_panel(
    store: DemandStore,
    grid: Grid,
    *,
    cutoff: np.datetime64 | None = None,
    horizon: int = 0,
    since: np.datetime64 | None = None,
) -> Panel:
    """All series of a store; arguments and errors as of `PanelReader`."""
    return PanelReader(store, grid, cutoff=cutoff, horizon=horizon, since=since).read()


class PanelReader:
    """Reads the series of a store, all or some, as of the version that is the newest when it is made.

    cutoff: the last period whose demand may be seen (any moment in it); the last with demand when None. Up to
    BEYOND periods after the last demand are missing.
    horizon: how far the event grid must reach beyond the last demand; known features reach as far as they
    were given.
    since: the period that the panel begins with (any moment in it); the store's first where it is earlier.
    Order lines: a period without a line is zero from the series' first line to the end of the import, for
    locations and platforms that the import has seen. Tables: a period without a row is missing.
    Raises NotFoundError for an empty store, InputError for a cutoff outside the demand, here; IntegrityError
    where the store is damaged, here or when it is read.
    """

    def __init__(
        self,
        store: DemandStore,
        grid: Grid,
        *,
        cutoff: np.datetime64 | None = None,
        horizon: int = 0,
        since: np.datetime64 | None = None,
    ) -> None:
        self._ledger = store.ledger()
        if self._ledger.is_empty():
            raise NotFoundError("demand store", expected="imported demand", found=f"none in {store.folder}")
        self._store = DemandStore(store.folder, version=str(self._ledger.height))
        period = store_period(self._ledger)
        self._axis = axis = _axis(self._ledger, STEP_US[period], cutoff, since)
        self._series = self._store.series()
        self._stock = bool(self._ledger["stock"].any())
        self._opened: dict[int, NDArray[np.intp]] = {}
        n_known = dict.fromkeys(_known(self._ledger), axis.n_known)
        self._series_bytes = series_bytes(axis.n_observed, n_known, stock=self._stock)
        demand_ST, known = without_numbers((self._series.height, axis.n_observed), n_known)
        keys = SeriesKeys(**{name: _strings(self._series[name]) for name in KEYS})
        statics = [name for name in self._series.columns if name not in ("series", *KEYS)]
        start = np.datetime64(axis.start, "s")
        reach = max(axis.n_known, axis.n_observed + horizon) + BEYOND
        self.outline = Panel(
            period=period,
            start=start,
            keys=keys,
            demand_ST=demand_ST,
            known=known,
            statics={name: _strings(self._series[name]) for name in statics},
            events=grid(keys, period, start, reach),
            data_version=self._store.version,
        )

    def shards(self, whole_bytes: int | None = None) -> PanelShards:
        """All series, in runs; in one where that takes `whole_bytes` at most."""
        rows = cut(self.outline.n_series, self._series_bytes, whole_bytes)
        return PanelShards(self.outline, self.read, rows)

    def read(self, rows: slice = slice(None)) -> Panel:
        """The panel of the series `rows`, all where nothing is said."""
        rows = slice(*rows.indices(self.outline.n_series)[:2])
        n, axis = rows.stop - rows.start, self._axis
        dense = _Dense(
            first=rows.start,
            demand_ST=_missing(n, axis.n_observed),
            stock_ST=_missing(n, axis.n_observed) if self._stock else None,
            known={name: _missing(n, axis.n_known) for name in self.outline.known},
            first_S=np.full(n, axis.n_known, dtype=np.intp),
        )
        try:
            for row in self._ledger.iter_rows(named=True):
                _scatter(self._store, row, axis, dense)
            for row in self._ledger.filter(pl.col("kind") == "orders").iter_rows(named=True):
                _fill_zeros(axis, dense, self._opened_in(row)[rows], row["last"])
        except (pl.exceptions.PolarsError, OSError) as error:
            found = str(error).splitlines()[0]
            raise IntegrityError("demand store", expected="readable Parquet files", found=found) from error
        return replace(
            self.outline.select(rows),
            demand_ST=dense.demand_ST,
            stocked_out_ST=dense.stock_ST,
            known=dense.known,
        )

    def _opened_in(self, row: dict[str, object]) -> NDArray[np.intp]:
        """(S,) the period of the first line that an import of order lines has of each series' location and
        platform, beyond T where it has none. Read once."""
        number, place = _number(row["import"]), ["location", "platform"]
        if number not in self._opened:
            spans = (
                pl.scan_parquet(self._store.demand_files(number))
                .filter(pl.col("demand").is_not_null())
                .join(self._series.lazy().select("series", *place), on="series")
                .group_by(place)
                .agg(self._axis.column().min().alias("open"))
                .collect()
            )
            opened = self._series.join(spans, on=place, how="left", maintain_order="left")["open"]
            self._opened[number] = opened.fill_null(self._axis.n_known).to_numpy()
        return self._opened[number]


def _axis(
    ledger: pl.DataFrame, step_us: int, cutoff: np.datetime64 | None, since: np.datetime64 | None
) -> _Axis:
    start, last, known_last = ledger.select(
        pl.col("first").min(), pl.col("last").max(), pl.col("known_last").max()
    ).row(0)
    whole = _Axis(start=start, step_us=step_us, n_observed=0, n_known=0)
    n_observed, n_known = whole.index(last) + 1, whole.index(known_last) + 1
    if cutoff is not None:
        moment: datetime = cutoff.astype("datetime64[us]").item()
        index = whole.index(moment)
        if not 0 <= index < n_observed + BEYOND:
            raise InputError("cutoff", expected=f"{start} to {last} or soon after", found=str(moment))
        n_observed = index + 1
    skipped = 0 if since is None else whole.index(since.astype("datetime64[us]").item())
    skipped = min(max(skipped, 0), n_observed - 1)
    return _Axis(
        start=start + skipped * timedelta(microseconds=step_us),
        step_us=step_us,
        n_observed=n_observed - skipped,
        n_known=max(n_known, n_observed) - skipped,
    )


def _known(ledger: pl.DataFrame) -> list[str]:
    return sorted(ledger["known"].explode().drop_nulls().unique())


def _missing(n_series: int, n_periods: int) -> Floats:
    return np.full((n_series, n_periods), np.nan, dtype=np.float32)


def _strings(column: pl.Series) -> NDArray[np.str_]:
    return column.to_numpy().astype(np.str_)


def _scatter(store: DemandStore, row: dict[str, object], axis: _Axis, dense: _Dense) -> None:
    """Put the rows of one import into the arrays: sums of order lines add up, table rows replace."""
    known = [name for name in dense.known if name in _names(row["known"])]
    orders = row["kind"] == "orders"
    columns = ["series", "demand", *(["stocked_out"] if dense.stock_ST is not None else []), *known]
    files = store.demand_files(_number(row["import"]))
    last = dense.first + len(dense.demand_ST) - 1
    mine = pl.col("series").is_between(dense.first, last)
    if not orders:  # of order lines, a series' first one tells where its zeros begin
        mine &= pl.col("time") >= pl.lit(axis.start, pl.Datetime("us"))
    frame = pl.scan_parquet(files).filter(mine).select(*columns, axis.column().alias("t"))
    for batch in frame.collect_batches(chunk_size=BATCH, maintain_order=False):
        s, t = batch["series"].to_numpy() - dense.first, batch["t"].to_numpy()
        demand = batch["demand"].to_numpy()
        seen = (t >= 0) & (t < axis.n_observed) & ~np.isnan(demand)
        at = (s[seen], t[seen])
        if orders:
            dense.demand_ST[at] = np.nan_to_num(dense.demand_ST[at]) + demand[seen]
            told = (t < axis.n_observed) & ~np.isnan(demand)
            np.minimum.at(dense.first_S, s[told], t[told])
        else:
            dense.demand_ST[at] = demand[seen]
        if dense.stock_ST is not None:
            _assign(dense.stock_ST, s, t, batch["stocked_out"].to_numpy())
        for name in known:
            _assign(dense.known[name], s, t, batch[name].to_numpy())


def _assign(values_SP: Floats, s: NDArray[np.int32], t: NDArray[np.int64], values: Floats) -> None:
    """Set what is not NaN; NaN never erases what an earlier import knew."""
    inside = (t >= 0) & (t < values_SP.shape[1]) & ~np.isnan(values)
    values_SP[s[inside], t[inside]] = values[inside]


def _fill_zeros(axis: _Axis, dense: _Dense, opened_S: NDArray[np.intp], last: object) -> None:
    """No line is no demand: from the first line of the location (in this import) and of the series on."""
    if not isinstance(last, datetime):
        raise InputError("imports", expected="a last period", found=repr(last))
    begin_S = np.maximum(opened_S, dense.first_S)
    stop = min(axis.index(last) + 1, axis.n_observed)
    begin = max(int(begin_S.min(initial=stop)), 0)
    window_ST = dense.demand_ST[:, begin:stop]
    window_ST[np.isnan(window_ST) & (np.arange(begin, stop) >= begin_S[:, None])] = 0.0


def _names(value: object) -> list[str]:
    return [str(name) for name in value] if isinstance(value, list) else []


def _number(value: object) -> int:
    if not isinstance(value, int):
        raise InputError("imports", expected="a whole number", found=repr(value))
    return value
