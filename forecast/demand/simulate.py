"""Simulated demand whose truth is known: for tests, for benchmarks, and to see what a stock-out hides.

Letters: S series, T observed periods, P = T + horizon, E event channels, N categories.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from forecast.demand.events.calendars import occurrences
from forecast.demand.events.grid import event_grid
from forecast.demand.panel import STEP, EventGrid, Floats, Panel, Period, SeriesKeys
from forecast.demand.shards import PanelShards, cut, series_bytes, without_numbers
from forecast.errors import InputError

if TYPE_CHECKING:
    import polars as pl

BLOCK: Final = 5_000
"""Series simulated at once: bounds the memory beside the result. Another number gives other data."""
KNOWN: Final = ("price", "discount")
STRONGEST: Final = 3.0
"""Event intensity at which a day's demand reaches the full surge of its category."""
WEEKDAY: Final = np.array([0.9, 0.85, 0.85, 0.9, 1.05, 1.3, 1.15])
"""Demand by day of the week, Monday first, relative to the mean."""


@dataclass(frozen=True, kw_only=True)
class SimulationConfig:
    """What to simulate.

    period, start, n_periods, horizon: observed periods, and how much further known features reach.
    n_locations, n_platforms, n_cities, n_categories: series are items at every location and platform.
    calendar: the shipped calendar of events. surge: lowest and highest peak of a category, in times its base.
    intermittent, launched: shares of series that are mostly zeros, or that start somewhere within the span.
    promoted, stock_outs: chance that a promotion or a stock-out starts, per series and period.
    """

    n_series: int = 1_000
    n_periods: int = 1_096
    horizon: int = 90
    period: Period = "day"
    start: date = date(2023, 1, 1)
    seed: int = 0
    n_locations: int = 20
    n_platforms: int = 2
    n_cities: int = 5
    n_categories: int = 12
    calendar: str = "china"
    surge: tuple[float, float] = (3.0, 10.0)
    intermittent: float = 0.3
    launched: float = 0.1
    promoted: float = 0.02
    stock_outs: float = 0.004

    def __post_init__(self) -> None:
        for name in ("n_series", "n_periods", "n_locations", "n_platforms", "n_cities", "n_categories"):
            if getattr(self, name) < 1:
                raise InputError(name, expected="at least 1", found=str(getattr(self, name)))
        if self.horizon < 0:
            raise InputError("horizon", expected="at least 0", found=str(self.horizon))
        for name in ("intermittent", "launched", "promoted", "stock_outs"):
            if not 0 <= getattr(self, name) <= 1:
                raise InputError(name, expected="a share 0..1", found=str(getattr(self, name)))
        if not 1 <= self.surge[0] <= self.surge[1]:
            raise InputError("surge", expected="1 <= lowest <= highest", found=str(self.surge))


@dataclass(frozen=True, kw_only=True)
class Simulation:
    """A panel of sales, and what nobody sees in life.

    panel: demand cut off by stock, as a shop would record it; NaN before a launch.
    demand_ST: the units that were wanted. rate_SP: the mean of that demand, with the horizon.
    """

    panel: Panel
    demand_ST: Floats
    rate_SP: Floats


@dataclass(frozen=True, kw_only=True)
class _World:
    """What all series share."""

    season_P: NDArray[np.float64]
    year_P: NDArray[np.float64]
    peak_N: NDArray[np.float64]
    lift_NP: NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class _Block:
    demand_BT: Floats
    sales_BT: Floats
    stocked_out_BT: Floats
    rate_BP: Floats
    price_BP: Floats
    discount_BP: Floats


def simulate(config: SimulationConfig) -> Simulation:
    """Simulate a panel; the same configuration gives the same numbers."""
    source = _Source(config)
    blocks = source.blocks(slice(0, config.n_series))
    return Simulation(
        panel=source.panel(slice(0, config.n_series), blocks),
        demand_ST=np.concatenate([block.demand_BT for block in blocks]),
        rate_SP=np.concatenate([block.rate_BP for block in blocks]),
    )


def simulated_shards(config: SimulationConfig) -> PanelShards:
    """The panel of `simulate`, in runs of series that are simulated each time they are asked for."""
    source = _Source(config)
    n_bytes = series_bytes(config.n_periods, dict.fromkeys(KNOWN, source.n_known), stock=True)
    return PanelShards(
        source.outline, lambda rows: source.panel(rows, source.blocks(rows)), cut(config.n_series, n_bytes)
    )


class _Source:
    """Blocks of series; the last one made is kept, as two runs of series may share it."""

    def __init__(self, config: SimulationConfig) -> None:
        self.n_known = config.n_periods + config.horizon
        keys, city_S, self._category_S = _keys(config)
        events = _events(config, keys)
        self._config, self._world = config, _world(config, events)
        self._last: tuple[int, _Block] | None = None
        demand_ST, known = without_numbers(
            (config.n_series, config.n_periods), dict.fromkeys(KNOWN, self.n_known)
        )
        self.outline = Panel(
            period=config.period,
            start=np.datetime64(config.start, "s"),
            keys=keys,
            demand_ST=demand_ST,
            known=known,
            statics={
                "category": np.char.mod("category-%02d", self._category_S),
                "city": np.char.mod("city-%02d", city_S),
            },
            events=events,
            data_version=f"simulated-{config.seed}-{config.n_series}x{self.n_known}",
        )

    def blocks(self, rows: slice) -> list[_Block]:
        """What was simulated of the series `rows`, a block or a part of one each."""
        starts = range(rows.start // BLOCK * BLOCK, rows.stop, BLOCK)
        return [_part(self._block(n), max(rows.start - n, 0), rows.stop - n) for n in starts]

    def panel(self, rows: slice, blocks: list[_Block]) -> Panel:
        """The panel of the series `rows`."""
        return replace(
            self.outline.select(rows),
            demand_ST=np.concatenate([block.sales_BT for block in blocks]),
            stocked_out_ST=np.concatenate([block.stocked_out_BT for block in blocks]),
            known={
                "price": np.concatenate([block.price_BP for block in blocks]),
                "discount": np.concatenate([block.discount_BP for block in blocks]),
            },
        )

    def _block(self, first: int) -> _Block:
        if self._last is None or self._last[0] != first:
            rng = np.random.default_rng([self._config.seed, first])
            category_B = self._category_S[first : first + BLOCK]
            self._last = (first, _block(self._config, self._world, category_B, rng))
        return self._last[1]


def _part(block: _Block, first: int, end: int) -> _Block:
    return _Block(**{name: values[first:end] for name, values in vars(block).items()})


def _keys(config: SimulationConfig) -> tuple[SeriesKeys, NDArray[np.int64], NDArray[np.int64]]:
    """Keys, city and category of every series."""
    series_S = np.arange(config.n_series)
    rest_S, platform_S = np.divmod(series_S, config.n_platforms)
    item_S, location_S = np.divmod(rest_S, config.n_locations)
    keys = SeriesKeys(
        item=np.char.mod("item-%06d", item_S),
        location=np.char.mod("shop-%04d", location_S),
        platform=np.char.mod("platform-%d", platform_S),
    )
    return keys, location_S % config.n_cities, item_S % config.n_categories


def _events(config: SimulationConfig, keys: SeriesKeys) -> EventGrid:
    """The calendar's events, from the start to a month beyond the known periods."""
    start = np.datetime64(config.start, "s")
    month = int(np.timedelta64(30 * 86_400, "s") // STEP[config.period])
    n_grid = config.n_periods + config.horizon + max(1, month)
    last = date.fromisoformat(str((start + n_grid * STEP[config.period]).astype("datetime64[D]")))
    found = occurrences(config.calendar, config.start, last)
    return event_grid(found, keys, config.period, start, n_grid)


def _world(config: SimulationConfig, events: EventGrid) -> _World:
    """Seasons and the lift of the events, by category.

    The day of an event lifts demand by its category's surge, in proportion to its intensity; buyers hold back
    in the warm-up and have enough afterwards, each category to its own degree, every year alike.
    """
    rng = np.random.default_rng([config.seed, config.n_series, 1])
    n_known, n = config.n_periods + config.horizon, config.n_categories
    times = np.datetime64(config.start, "s") + np.arange(n_known) * STEP[config.period]
    days = times.astype("datetime64[D]")
    season_P = np.ones(n_known)
    if config.period != "week":
        season_P = WEEKDAY[(days.astype(np.int64) + 3) % 7]  # 1970-01-01 was a Thursday
    if config.period == "hour":
        hour_P = (times - days).astype(np.int64) / 3600
        season_P = season_P * (1 + 0.8 * np.sin(2 * np.pi * (hour_P - 9) / 24))
    year_P = (days - days.astype("datetime64[Y]")).astype(np.int64) / 365.25
    low, high = config.surge
    effect_NE = np.empty((n, len(events.names)))
    for e, name in enumerate(events.names):
        spans = {"pre-sale": (1.0, 1.3), "warm-up": (0.6, 0.95), "day": (low, high), "after": (0.6, 0.9)}
        effect_NE[:, e] = rng.uniform(*spans[name.rsplit("/", 1)[1]], size=n)
    strength_PE = np.minimum(events.intensity_GLE[0, :n_known] / STRONGEST, 1.0)
    lift_NP = np.ones((n, n_known))
    for e in range(len(events.names)):
        lift_NP *= 1 + (effect_NE[:, e, None] - 1) * strength_PE[None, :, e]
    return _World(season_P=season_P, year_P=year_P, peak_N=rng.uniform(size=n), lift_NP=lift_NP)


def _block(
    config: SimulationConfig, world: _World, category_B: NDArray[np.int64], rng: np.random.Generator
) -> _Block:
    """Some series: rate, demand drawn from it, and the sales that stock allows."""
    b, t, p = len(category_B), config.n_periods, config.n_periods + config.horizon
    level_B = rng.lognormal(1.5, 1.0, size=b)
    rare_B = rng.uniform(size=b) < config.intermittent
    level_B[rare_B] = rng.uniform(0.05, 0.6, size=int(rare_B.sum()))
    discount_BP = _runs(rng, (b, p), config.promoted, length=7) * rng.uniform(0.1, 0.4, size=(b, 1))
    price_BP = rng.lognormal(2.5, 0.8, size=(b, 1)) * (1 - discount_BP)
    elasticity_B = rng.uniform(1.0, 3.0, size=b)
    yearly_BP = 1 + 0.25 * np.cos(2 * np.pi * (world.year_P - world.peak_N[category_B, None]))
    trend_BP = np.exp(rng.normal(0, 0.15, size=(b, 1)) * np.linspace(0, 1, p))
    rate_BP = level_B[:, None] * world.season_P * yearly_BP * trend_BP * world.lift_NP[category_B]
    rate_BP *= (1 - discount_BP) ** -elasticity_B[:, None]

    # Negative binomial as a gamma mixture of Poissons: mean rate, variance rate + rate² / size.
    size_B = rng.uniform(1.5, 8.0, size=(b, 1))
    demand_BT = rng.poisson(rng.gamma(size_B, rate_BP[:, :t] / size_B)).astype(np.float32)
    stocked_out_BT = _stock_outs(config, rng, demand_BT, level_B)
    sales_BT = np.floor(demand_BT * (1 - stocked_out_BT))
    late_B = rng.uniform(size=b) < config.launched
    launch_B = np.where(late_B, rng.integers(1, max(t, 2), size=b), 0)
    unborn_BT = np.arange(t) < np.minimum(launch_B, t - 1)[:, None]
    for values in (demand_BT, sales_BT, stocked_out_BT):
        values[unborn_BT] = np.nan
    return _Block(
        demand_BT=demand_BT,
        sales_BT=sales_BT.astype(np.float32),
        stocked_out_BT=stocked_out_BT,
        rate_BP=rate_BP.astype(np.float32),
        price_BP=price_BP.astype(np.float32),
        discount_BP=discount_BP.astype(np.float32),
    )


def _stock_outs(
    config: SimulationConfig, rng: np.random.Generator, demand_BT: Floats, level_B: NDArray[np.float64]
) -> Floats:
    """Share of each period without stock: shelves empty for some periods, or emptied by a surge."""
    b, t = demand_BT.shape
    empty_BT = _runs(rng, (b, t), config.stock_outs, length=3) * rng.uniform(0.3, 1.0, size=(b, t))
    if config.stock_outs:
        shelf_B = np.ceil(level_B * rng.uniform(6, 20, size=b) + 3)
        sold_BT = np.minimum(shelf_B[:, None], demand_BT)
        surge_BT = 1 - np.divide(sold_BT, demand_BT, out=np.ones((b, t)), where=demand_BT > 0)
        empty_BT = np.maximum(empty_BT, surge_BT)
    return empty_BT.astype(np.float32)


def _runs(
    rng: np.random.Generator, shape: tuple[int, int], chance: float, *, length: int
) -> NDArray[np.float64]:
    """1 during runs of `length` periods that start with `chance`, else 0."""
    started = (rng.uniform(size=shape) < chance).cumsum(axis=1)
    before = np.zeros_like(started)
    before[:, length:] = started[:, :-length] if length < shape[1] else 0
    return (started > before).astype(np.float64)


def write_table(panel: Panel, path: Path) -> None:
    """Write a panel in the long form that `surgecast data import table` reads, as Parquet.

    One row per series and period: item, location, platform, time, demand, stocked_out, the known features and
    the statics. Missing periods have no row; periods after the last observed one have no demand.
    """
    import pyarrow.parquet as pq

    writer: pq.ParquetWriter | None = None
    try:
        for frame in _frames(panel):
            table = frame.to_arrow()
            writer = writer or pq.ParquetWriter(path, table.schema)
            writer.write_table(table)
    finally:
        if writer is not None:
            writer.close()


def _frames(panel: Panel, series_at_once: int = 1_000) -> Iterator[pl.DataFrame]:
    import polars as pl

    n_known = max(panel.n_periods, panel.n_known if panel.known else panel.n_periods)
    times = panel.times(0, n_known).astype("datetime64[us]")
    for first in range(0, panel.n_series, series_at_once):
        part = panel.select(np.arange(first, min(first + series_at_once, panel.n_series)))
        s = part.n_series
        row_R = np.repeat(np.arange(s), n_known)  # the series of each row of the table
        labels = {"item": part.keys.item, "location": part.keys.location, "platform": part.keys.platform}
        columns = {name: pl.Series(name, values.tolist()).gather(row_R) for name, values in labels.items()}
        columns["time"] = pl.Series("time", np.tile(times, s))
        columns["demand"] = pl.Series("demand", _padded(part.demand_ST, n_known), nan_to_null=True)
        if part.stocked_out_ST is not None:
            stock = _padded(part.stocked_out_ST, n_known)
            columns["stocked_out"] = pl.Series("stocked_out", stock, nan_to_null=True)
        for name, known in part.known.items():
            columns[name] = pl.Series(name, known[:, :n_known].reshape(-1), nan_to_null=True)
        for name, static in part.statics.items():
            columns[name] = pl.Series(name, static.tolist()).gather(row_R)
        is_future = pl.Series(np.tile(np.arange(n_known) >= part.n_periods, s))
        yield pl.DataFrame(columns).filter(is_future | columns["demand"].is_not_null())


def _padded(values_ST: Floats, n: int) -> Floats:
    """The values row after row, each row filled up with NaN to n periods."""
    filled = np.full((len(values_ST), n), np.nan, dtype=np.float32)
    filled[:, : values_ST.shape[1]] = values_ST
    return filled.reshape(-1)
