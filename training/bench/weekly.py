"""Weekly retraining on M5: a model that is never retrained, one that goes on every week, one from scratch.

Every model forecasts the days after each weekly cutoff, of which it has seen none, and is scored on those
that are known. The first model, from which the weekly ones go on, is trained a week before the first cutoff.

Letters: S series, H horizon.
"""

from __future__ import annotations

import os
import time
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from forecast.cli.output import print_table, progress, say
from forecast.demand.panel import Panel
from forecast.demand.sources.m5 import read_m5_panel
from forecast.errors import UsageError
from forecast.evaluation.metrics import aggregate, scales, scored, statistics
from forecast.model.bundle import Bundle
from forecast.model.sharded import forecaster
from training.bench.m5 import HORIZON
from training.bench.peaks import last_day
from training.config import TrainingConfig
from training.fit import fit
from training.jobs import model_config
from training.records import EpochRecord
from training.warm import shortened, why_not

WEEK: Final = 7
MODELS: Final = ("frozen", "warm", "scratch")
"""Never retrained; every week from the week before's; every week from scratch."""


@dataclass(frozen=True, kw_only=True)
class Weeks:
    """Which cutoffs: the last one (the last with a known horizon when None) and those in the weeks before."""

    count: int = 4
    until: int | None = None

    def cutoffs(self, n_days: int) -> tuple[int, ...]:
        """Days, ascending. Raises UsageError where no day after the last is known, or none before the
        first."""
        last = n_days - HORIZON if self.until is None else self.until
        first = last - WEEK * (self.count - 1)
        if not first - WEEK > HORIZON or last + WEEK > n_days:
            most = f"{WEEK * self.count + HORIZON + 1}..{n_days - WEEK}"
            raise UsageError(f"--until: expected {most} for {self.count} weeks, found {last}")
        return tuple(range(first, last + 1, WEEK))


@dataclass(frozen=True, kw_only=True)
class Part:
    """Which series: those of a store, or every n-th."""

    store: str | None = None
    every: int = 1

    def of(self, panel: Panel) -> Panel:
        """The panel of the part. Raises UsageError for a store that is not there."""
        rows = np.arange(panel.n_series)
        if self.store is not None:
            rows = np.flatnonzero(panel.keys.location == self.store)
            if not len(rows):
                stores = ", ".join(np.unique(panel.keys.location))
                raise UsageError(f"--store: expected one of {stores}, found {self.store}")
        return panel.select(rows[:: self.every])


@dataclass(frozen=True, kw_only=True)
class Fit:
    """A fit, and what it took: seconds on the clock, and of processor time."""

    bundle: Bundle
    seconds: float
    cpu_seconds: float


def bench_weekly(
    folder: Path, *, weeks: Weeks, part: Part, training: TrainingConfig, scratch: bool
) -> dict[str, float]:
    """Retrain every week, and forecast what comes after.

    `training` is that of a fit from scratch; a warm start takes what is left of it by
    `training.warm.shortened`. Without `scratch` the fits from scratch are left out, but for the first.

    Returns results by name: NAME_wql and NAME_wql_week, of the days of the horizon and of the first week,
    and NAME_bias, for each of `MODELS`: means over the cutoffs, and each one with _CUTOFF behind it; seconds,
    CPU seconds and steps of a warm and of a scratch fit, means.
    """
    started = time.monotonic()
    panel = part.of(read_m5_panel(folder, last_day(folder)))
    cutoffs = weeks.cutoffs(panel.n_periods)
    first = _fit(panel.until(cutoffs[0] - WEEK), training)
    warm, restarts = first, 0
    fits: dict[str, list[Fit]] = {"warm": [], "scratch": [first]}
    results: dict[str, list[float]] = defaultdict(list)
    for cutoff in cutoffs:
        past = panel.until(cutoff)
        reason = why_not(warm.bundle, past, model_config(past, HORIZON, training))
        if reason:
            say(f"day {cutoff}: from scratch, because {reason}")
            restarts += 1
        warm = _fit(past, training) if reason else _fit(past, shortened(training), warm.bundle)
        fits["warm"].append(warm)
        models = {"frozen": first, "warm": warm}
        if scratch:
            models["scratch"] = _fit(past, training)
            fits["scratch"].append(models["scratch"])
        for name, one in models.items():
            for key, value in _scores(one.bundle, panel, cutoff, training).items():
                results[f"{name}_{key}"].append(value)
    means = {name: float(np.mean(values)) for name, values in results.items()}
    by_week = {
        f"{name}_{cutoff}": value
        for name, values in results.items()
        for cutoff, value in zip(cutoffs, values, strict=True)
    }
    about = {"series": panel.n_series, "weeks": len(cutoffs), "from": cutoffs[0], "until": cutoffs[-1]}
    about |= {"warm_restarts": restarts, "seed": training.seed}
    numbers = {name: float(value) for name, value in about.items()}
    seconds = {"seconds": time.monotonic() - started}
    return {**numbers, **means, **_shares(means, fits), **by_week, **seconds}


def print_weekly(results: Mapping[str, float]) -> None:
    """A row for each cutoff and their mean, a column for each model; then what the fits took."""
    n, until = int(results["weeks"]), int(results["until"])
    names = [name for name in MODELS if f"{name}_wql" in results]
    keys = [f"{name}_{key}" for key in ("wql", "wql_week") for name in names]
    cutoffs = range(until - WEEK * (n - 1), until + 1, WEEK)
    rows: list[tuple[str | float, ...]] = [(c, *(results[f"{key}_{c}"] for key in keys)) for c in cutoffs]
    rows.append(("mean", *(results[key] for key in keys)))
    print_table(("cutoff", *keys), rows, title=f"weekly retraining, M5, {results['series']:,.0f} series")
    took = ("seconds", "cpu_seconds", "steps")
    shares = [(kind, *(results[f"{kind}_{key}"] for key in took)) for kind in ("warm", "scratch")]
    share = ("share_of_time", "share_of_cpu", "share_of_steps")
    shares.append(("share", *(results[f"warm_{key}"] for key in share)))
    print_table(("a fit", *took), shares)


def _fit(panel: Panel, training: TrainingConfig, start: Bundle | None = None) -> Fit:
    """A fit with a progress bar on stderr, and what it took, processes of its own included."""
    title = f"day {panel.n_periods}, {'from scratch' if start is None else 'going on'}"
    began, cpu, shown = time.monotonic(), _cpu_seconds(), 0.0
    with progress(title, total=1.0) as advance:

        def report(record: EpochRecord) -> None:
            nonlocal shown
            advance(max(record.fraction - shown, 0.0))
            shown = max(record.fraction, shown)

        model = model_config(panel, HORIZON, training)
        bundle = fit(panel, model=model, training=training, on_epoch=report, start=start)
    return Fit(bundle=bundle, seconds=time.monotonic() - began, cpu_seconds=_cpu_seconds() - cpu)


def _cpu_seconds() -> float:
    """Of this process and of those that it waited for."""
    return sum(os.times()[:4])


def _scores(bundle: Bundle, panel: Panel, cutoff: int, training: TrainingConfig) -> dict[str, float]:
    """On the days after a cutoff that are known: all of the horizon, and the first week."""
    past, truth_SH = panel.until(cutoff), scored(panel, cutoff, HORIZON)
    forecasts = forecaster(bundle, training.device, training.devices)(past, HORIZON)
    found = statistics(truth_SH, forecasts, scales(past))
    whole, week = aggregate(found), aggregate(found, np.arange(HORIZON)[None] < WEEK)
    return {"wql": whole.wql, "wql_week": week.wql, "bias": whole.bias, "bias_week": week.bias}


def _shares(means: Mapping[str, float], fits: Mapping[str, list[Fit]]) -> dict[str, float]:
    """What a warm fit takes beside one from scratch, and what it is worth beside the others."""
    took: dict[str, float] = {}
    for kind, made in fits.items():
        took[f"{kind}_seconds"] = float(np.mean([one.seconds for one in made]))
        took[f"{kind}_cpu_seconds"] = float(np.mean([one.cpu_seconds for one in made]))
        took[f"{kind}_steps"] = float(np.mean([float(one.bundle.facts["steps"]) for one in made]))
    for share, key in (("time", "seconds"), ("cpu", "cpu_seconds"), ("steps", "steps")):
        took[f"warm_share_of_{share}"] = took[f"warm_{key}"] / max(took[f"scratch_{key}"], 1e-9)
    for other in ("frozen", "scratch"):
        for key in ("wql", "wql_week"):
            if f"{other}_{key}" in means:
                took[f"warm_{key}_over_{other}"] = means[f"warm_{key}"] / means[f"{other}_{key}"]
    return took
