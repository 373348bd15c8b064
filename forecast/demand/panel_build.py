"""From the store to the panel: rows stream from Parquet and are scattered into dense arrays.

Letters: S series, T observed periods, P periods with known features, L periods of the event grid.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

import numpy as np
import polars as pl
from numpy.typing import NDArray

from forecast.demand.events.calendars import load_events
from forecast.demand.events.grid import event_grid
from forecast.demand.incoming import STEP_US
from forecast.demand.panel import EventGrid, Floats, Panel, Period, SeriesKeys
from forecast.demand.store import DemandStore, store_period
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
    """The arrays that fill up. first_S: index of a series' first order line, beyond T where it has none."""

    demand_ST: Floats
    stock_ST: Floats | None
    known: dict[str, Floats]
    first_S: NDArray[np.intp]


def load_panel(
    home: Home, *, cutoff: np.datetime64 | None = None, horizon: int = 0, version: str | None = None
) -> Panel:
    """The panel of a home's demand with the events of its calendars; arguments as for `build_panel`."""
    settings = load_settings(home)

    def grid(keys: SeriesKeys, period: Period, start: np.datetime64, n_periods: int) -> EventGrid:
        end = start + np.timedelta64(n_periods * STEP_US[period], "us")
        events = load_events(
            home, settings, start.astype("datetime64[D]").item(), end.astype("datetime64[D]").item()
        )
        return event_grid(events, keys, period, start, n_periods)

    return build_panel(DemandStore(home.demand_dir, version=version), grid, cutoff=cutoff, horizon=horizon)


def build_panel(
    store: DemandStore, grid: Grid, *, cutoff: np.datetime64 | None = None, horizon: int = 0
) -> Panel:
    """All series of a store.

    cutoff: the last period whose demand may be seen (any moment in it); the last with demand when None. Up to
    BEYOND periods after the last demand are missing.
    horizon: how far the event grid must reach beyond the last demand; known features reach as far as they
    were given.
    Order lines: a period without a line is zero from the series' first line to the end of the import, for
    locations and platforms that the import has seen. Tables: a period without a row is missing.
    Raises NotFoundError for an empty store, InputError for a cutoff outside the demand.
    """
    ledger = store.ledger()
    if ledger.is_empty():
        raise NotFoundError("demand store", expected="imported demand", found=f"none in {store.folder}")
    period = store_period(ledger)
    axis = _axis(ledger, STEP_US[period], cutoff)
    series = store.series()
    n = series.height
    dense = _Dense(
        demand_ST=_missing(n, axis.n_observed),
        stock_ST=_missing(n, axis.n_observed) if ledger["stock"].any() else None,
        known={name: _missing(n, axis.n_known) for name in _known(ledger)},
        first_S=np.full(n, axis.n_known, dtype=np.intp),
    )
    _fill(store, axis, dense, series)
    keys = SeriesKeys(
        item=_strings(series["item"]),
        location=_strings(series["location"]),
        platform=_strings(series["platform"]),
    )
    start = np.datetime64(axis.start, "s")
    statics = [name for name in series.columns if name not in ("series", "item", "location", "platform")]
    reach = max(axis.n_known, axis.n_observed + horizon) + BEYOND
    return Panel(
        period=period,
        start=start,
        keys=keys,
        demand_ST=dense.demand_ST,
        stocked_out_ST=dense.stock_ST,
        known=dense.known,
        statics={name: _strings(series[name]) for name in statics},
        events=grid(keys, period, start, reach),
        data_version=store.version,
    )


def _axis(ledger: pl.DataFrame, step_us: int, cutoff: np.datetime64 | None) -> _Axis:
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
    return _Axis(start=start, step_us=step_us, n_observed=n_observed, n_known=max(n_known, n_observed))


def _known(ledger: pl.DataFrame) -> list[str]:
    return sorted(ledger["known"].explode().drop_nulls().unique())


def _missing(n_series: int, n_periods: int) -> Floats:
    return np.full((n_series, n_periods), np.nan, dtype=np.float32)


def _strings(column: pl.Series) -> NDArray[np.str_]:
    return column.to_numpy().astype(np.str_)


def _fill(store: DemandStore, axis: _Axis, dense: _Dense, series: pl.DataFrame) -> None:
    """All imports, oldest first, then the zeros between order lines. Raises IntegrityError when damaged."""
    ledger = store.ledger()
    try:
        for row in ledger.iter_rows(named=True):
            _scatter(store, row, axis, dense)
        for row in ledger.filter(pl.col("kind") == "orders").iter_rows(named=True):
            _fill_zeros(store, row, axis, dense, series)
    except (pl.exceptions.PolarsError, OSError) as error:
        found = str(error).splitlines()[0]
        raise IntegrityError("demand store", expected="readable Parquet files", found=found) from error


def _scatter(store: DemandStore, row: dict[str, object], axis: _Axis, dense: _Dense) -> None:
    """Put the rows of one import into the arrays: sums of order lines add up, table rows replace."""
    known = [name for name in dense.known if name in _names(row["known"])]
    orders = row["kind"] == "orders"
    columns = ["series", "demand", *(["stocked_out"] if dense.stock_ST is not None else []), *known]
    files = store.demand_files(_number(row["import"]))
    frame = pl.scan_parquet(files).select(*columns, axis.column().alias("t"))
    for batch in frame.collect_batches(chunk_size=BATCH, maintain_order=False):
        s, t = batch["series"].to_numpy(), batch["t"].to_numpy()
        demand = batch["demand"].to_numpy()
        seen = (t >= 0) & (t < axis.n_observed) & ~np.isnan(demand)
        at = (s[seen], t[seen])
        if orders:
            dense.demand_ST[at] = np.nan_to_num(dense.demand_ST[at]) + demand[seen]
            np.minimum.at(dense.first_S, at[0], at[1])
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


def _fill_zeros(
    store: DemandStore, row: dict[str, object], axis: _Axis, dense: _Dense, series: pl.DataFrame
) -> None:
    """No line is no demand: from the first line of the location (in this import) and of the series on."""
    number, last = _number(row["import"]), row["last"]
    if not isinstance(last, datetime):
        raise InputError("imports", expected="a last period", found=repr(last))
    place = ["location", "platform"]
    spans = (
        pl.scan_parquet(store.demand_files(number))
        .filter(pl.col("demand").is_not_null())
        .join(series.lazy().select("series", *place), on="series")
        .group_by(place)
        .agg(axis.column().min().alias("open"))
        .collect()
    )
    opened = series.join(spans, on=place, how="left", maintain_order="left")["open"].fill_null(axis.n_known)
    begin_S = np.maximum(opened.to_numpy(), dense.first_S)
    stop = min(axis.index(last) + 1, axis.n_observed)
    begin = int(begin_S.min(initial=stop))
    window_ST = dense.demand_ST[:, begin:stop]
    window_ST[np.isnan(window_ST) & (np.arange(begin, stop) >= begin_S[:, None])] = 0.0


def _names(value: object) -> list[str]:
    return [str(name) for name in value] if isinstance(value, list) else []


def _number(value: object) -> int:
    if not isinstance(value, int):
        raise InputError("imports", expected="a whole number", found=repr(value))
    return value
