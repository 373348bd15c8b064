"""M5: train up to a cutoff, write the next 28 days of all 12 levels, score them where the truth is known."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np

from forecast.cli.output import say
from forecast.demand.panel import Floats
from forecast.demand.sources.m5 import read_m5, read_m5_panel
from forecast.errors import UsageError
from forecast.evaluation.m5 import M5Scorer
from forecast.evaluation.m5_hierarchy import LevelForecasts, M5Hierarchy, aggregate
from forecast.evaluation.m5_rows import level_rows
from training.bench.fitting import fit_and_forecast
from training.config import TrainingConfig
from training.files import check_output, write_parquet

HORIZON: Final = 28
FILES: Final = ("sales", "calendar", "sell_prices")
"""What is read from the folder of the data."""


def bench_m5(
    folder: Path, *, cutoff: int, out: Path, training: TrainingConfig, bundle_dir: Path | None = None
) -> dict[str, float]:
    """Train on days 1 to `cutoff` and write `out`; returns the results by name.

    out: columns level, node, day, mean, quantiles, a row per node and day, for the 28 days after the cutoff.
    `training.minutes` is for everything from reading on. `bundle_dir`, a folder that is not there yet, gets
    the bundle. Scores are there only where the data holds the 28
    days.
    """
    if bundle_dir is not None and bundle_dir.exists():
        raise UsageError(f"--bundle: expected a folder that is not there yet, found {bundle_dir}")
    check_output(out, *(folder / f"{name}.parquet" for name in FILES))
    started = time.monotonic()
    panel = read_m5_panel(folder, cutoff)
    title = f"training on M5 up to day {cutoff}"
    forecasts, results = fit_and_forecast(
        panel, HORIZON, training, title=title, started=started, bundle_dir=bundle_dir
    )
    levels = aggregate(forecasts, M5Hierarchy.from_panel(panel))
    rows = level_rows(levels, first_day=cutoff + 1)
    write_parquet(rows, out)
    results |= {"rows": float(rows.height), "coherence_error": coherence_error(levels)}
    truth_SH = known_truth(folder, cutoff)
    if truth_SH is None:
        say(f"no scores: they need the sales of days {cutoff + 1} to {cutoff + HORIZON}, which are not there")
    else:
        scores = M5Scorer.at(panel).score(truth_SH, levels)
        results |= {"wrmsse": scores.wrmsse, "wspl": scores.wspl, "wql": scores.wql, "bias": scores.bias}
        for number in range(1, 13):
            results[f"wrmsse_level_{number}"] = scores.wrmsse_by_level[number - 1]
            results[f"wspl_level_{number}"] = scores.wspl_by_level[number - 1]
            for share, inside in zip((50, 80, 95), scores.coverage_by_level[number - 1], strict=True):
                results[f"coverage_{share}_level_{number}"] = inside
    return {**results, "seconds": time.monotonic() - started}


def known_truth(folder: Path, cutoff: int) -> Floats | None:
    """(S, 28) units sold in the days after the cutoff; None where the data does not hold them all."""
    sales_ST = read_m5(folder).sales_ST
    if sales_ST.shape[1] < cutoff + HORIZON:
        return None
    return sales_ST[:, cutoff : cutoff + HORIZON].astype(np.float32)


def coherence_error(levels: Sequence[LevelForecasts]) -> float:
    """Largest relative difference between a node's mean and the sum of its series' means (at least 1)."""
    bottom = levels[-1]
    mean_SH = bottom.mean_NH[bottom.level.node_S]
    errors = [
        np.abs(one.mean_NH - total_NH) / np.maximum(np.abs(total_NH), 1.0)
        for one in levels
        for total_NH in [one.level.total(mean_SH)]
    ]
    return float(max(error.max() for error in errors))
