"""FreshRetailNet: train up to a cutoff, write daily demand after it, score it where the truth is known."""

from __future__ import annotations

import time
from dataclasses import asdict
from datetime import date, timedelta
from pathlib import Path

import polars as pl

from forecast.cli.output import say
from forecast.demand.sources.freshretail import FILE, read_freshretail_panel
from forecast.demand.sources.reading import read_columns
from forecast.errors import NotFoundError
from forecast.evaluation.freshretail import freshretail_rows, score_freshretail
from training.bench.fitting import fit_and_forecast
from training.config import TrainingConfig
from training.features import given_stock, usable
from training.files import check_output, write_parquet


def bench_freshretail(
    folder: Path, *, cutoff: date, horizon: int, out: Path, training: TrainingConfig
) -> dict[str, float]:
    """Train on the days up to `cutoff` and write `out`; returns the results by name.

    out: columns store_id, product_id, date, mean, quantiles, a row per series and day. `training.minutes` is
    for everything from reading on. Nothing observed after the cutoff (weather, discounts, activities) is
    used, as it would be unknown then: the model that is measured is the one that writes `out`. Forecasts are
    of demand on days that do not sell out (`given_stock`), which are those that can be scored. Scores are
    there only where the data holds days after the cutoff.
    """
    check_output(out, folder / FILE)
    started = time.monotonic()
    last = last_day(folder)
    panel, dropped = usable(read_freshretail_panel(folder, cutoff), horizon)
    if dropped:
        say(f"left out, not known for the {horizon} days after {cutoff}: {', '.join(dropped)}")
    panel = given_stock(panel, horizon)
    title = f"training up to {cutoff}"
    forecasts, results = fit_and_forecast(panel, horizon, training, title=title, started=started)
    rows = freshretail_rows(forecasts)
    write_parquet(rows, out)
    results["rows"] = float(rows.height)
    if last > cutoff:
        whole = read_freshretail_panel(folder, min(last, cutoff + timedelta(days=horizon)))
        scores = score_freshretail(whole, forecasts)
        results |= {name: float(value) for name, value in asdict(scores.in_stock).items()}
        results["wape_mean"] = scores.wape_mean
        results |= {"stocked_out_days": float(scores.n_stocked_out), "shortfall": scores.shortfall}
    else:
        say(f"no scores: the data ends on {last}; they need days after the cutoff ({cutoff})")
    return {**results, "seconds": time.monotonic() - started}


def last_day(folder: Path) -> date:
    """The last day of the data. Raises NotFoundError, or InputError where it cannot be read."""
    path = folder / FILE
    if not path.is_file():
        raise NotFoundError("freshretail folder", expected=f"{FILE} in it", found=f"none in {folder}")
    day: date = read_columns(path, ("dt",)).select(pl.col("dt").max()).item()
    return day
