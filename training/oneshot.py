"""`surgecast forecast`: one table in, one file of forecasts out, no home.

The configuration is a small TOML file; every key may be left out:

    period = "day"                # hour, day or week; inferred from the times
    calendars = ["us-retail", "own.toml"]    # shipped calendars and calendar files beside this one
    minutes = 5.0                 # of training at most
    steps = 3000                  # optimiser steps at most
    seed = 0
    device = "auto"               # auto, cpu or cuda

    [columns]                     # which column of the table is what
    item = "sku"
    location = "shop"             # without one, all rows are of one location
    platform = "channel"
    time = "date"
    demand = "units"
    stocked_out = "sold_out"      # share of the period without stock
    known = ["price", "promo"]    # known ahead; rows beyond the cutoff give their future
    static = ["category"]
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import Field

from forecast.cli.output import say
from forecast.demand.events.calendars import occurrences
from forecast.demand.events.files import read_calendar
from forecast.demand.events.grid import event_grid
from forecast.demand.events.model import Event
from forecast.demand.panel import STEP, EventGrid, Period, SeriesKeys
from forecast.demand.sources.reading import FileModel, read_model, read_toml
from forecast.demand.sources.table import TableColumns, read_table_panel
from forecast.evaluation.rows import forecast_rows
from forecast.model.schema import seen_events
from forecast.model.sharded import forecaster
from training.devices import tell_device
from training.features import check_events, tell_new, usable
from training.files import check_output, write_parquet
from training.jobs import fit_shown
from training.options import training_config


class OneShotConfig(FileModel):
    """The configuration file; see the module."""

    period: Period | None = None
    calendars: tuple[str, ...] = ()
    minutes: float = Field(default=10.0, gt=0, allow_inf_nan=False)
    steps: int | None = Field(default=None, ge=1)
    seed: int = Field(default=0, ge=0)
    device: Literal["auto", "cpu", "cuda"] = "auto"
    columns: TableColumns = TableColumns()


def read_config(path: Path | None, flags: Mapping[str, object]) -> OneShotConfig:
    """The configuration of a file, overridden by flags; the defaults without a file.

    Raises UsageError that names the file, the key (the line, where it is no TOML), expected and found.
    """
    if path is None:
        return read_model(Path("flags"), dict(flags), OneShotConfig)
    config = read_model(path, {**read_toml(path), **flags}, OneShotConfig)
    beside = [str(path.parent / name) if _is_file(name) else name for name in config.calendars]
    return config.model_copy(update={"calendars": tuple(beside)})


def forecast_table(
    table: Path, config: OneShotConfig, *, cutoff: np.datetime64, horizon: int, out: Path
) -> dict[str, object]:
    """Train on a table up to the cutoff, forecast what follows, write `out`; returns facts to print.

    `out` holds item, location, platform, time, mean, quantiles (the 17 levels), a row per series and period.
    Raises InputError for a table without good rows or a cutoff outside of it; UsageError for wrong settings.
    """
    check_output(out, table)

    def grid(keys: SeriesKeys, period: Period, start: np.datetime64, n_periods: int) -> EventGrid:
        first, last = (time.astype("M8[D]").item() for time in (start, start + n_periods * STEP[period]))
        events = [event for name in config.calendars for event in _occurrences(name, first, last)]
        return event_grid(events, keys, period, start, n_periods)

    whole, quarantined = read_table_panel(
        [table], config.columns, period=config.period, cutoff=cutoff, horizon=horizon, grid=grid
    )
    for reason, count in quarantined.items():
        say(f"left out {count:,} rows: {reason}")
    panel, dropped = usable(whole, horizon)
    if dropped:
        say(f"left out, not known for the {horizon} periods after {panel.origin}: {', '.join(dropped)}")
    check_events(panel, seen_events(panel), horizon)
    tell_device(config.device)
    training = training_config(config.minutes, config.steps, config.seed, config.device)
    bundle = fit_shown(panel, horizon, training, "training")
    rows = forecast_rows(forecaster(bundle, config.device)(panel, horizon))
    write_parquet(rows, out)
    return {
        "out": out,
        "series": panel.n_series,
        "no_history": tell_new(panel.keys, panel.no_history_S),
        "rows": rows.height,
        "origin": str(panel.origin),
        "period": panel.period,
        "bundle": bundle.bundle_id,
        "left_out": quarantined,
    }


def _is_file(calendar: str) -> bool:
    return Path(calendar).suffix in (".toml", ".csv")


def _occurrences(calendar: str, first: date, last: date) -> list[Event]:
    """The events of a calendar file, or of a calendar by name."""
    if _is_file(calendar):
        return read_calendar(Path(calendar)).occurrences(first, last)
    return occurrences(calendar, first, last)
