"""M5's peaks and named events: how they are forecast, against simple methods and forecasts from files.

A file is an `.npz` with `mean_SH` and `quantiles_SHQ` (the 17 levels of `forecast.quantiles`), rows in the
order of `sales.parquet`, of one cutoff.
"""

from __future__ import annotations

import math
import time
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

import numpy as np

from forecast.cli.output import progress
from forecast.demand.panel import Floats, Panel
from forecast.demand.sources.m5 import read_m5_panel
from forecast.errors import InputError, NotFoundError, UsageError
from forecast.evaluation.backtest import ALL, BacktestReport, backtest
from forecast.evaluation.baselines import ForecastFunction, baselines
from forecast.evaluation.comparison import Comparison, Verdict, compare
from forecast.evaluation.peaks import PEAK_SLICES, after_peak_ratio, peak_slices
from forecast.evaluation.scenario_scores import peak_outlook
from forecast.evaluation.slices import is_named_window
from forecast.forecasts import Forecasts
from forecast.model.bundle import Bundle
from forecast.model.forecaster import Forecaster
from forecast.quantiles import LEVELS
from training.bench.m5 import HORIZON
from training.config import TrainingConfig
from training.jobs import MODEL_NAME, fit_shown

CUTOFF_MARK: Final = "{cutoff}"
"""In the name of a file: the cutoff that its forecasts are of."""
VERDICTS: Final[Mapping[Verdict, float]] = {"better": 1.0, "even": 0.0, "worse": -1.0}
MEASURES: Final = ("wql", "bias", "wape", "coverage_80", "coverage_95", "n")


@dataclass(frozen=True, kw_only=True)
class PeakBench:
    """Results by name, and the comparisons behind the verdicts."""

    results: Mapping[str, float]
    comparisons: Sequence[Comparison]
    report: BacktestReport


@dataclass(frozen=True, kw_only=True)
class FromFiles:
    """A forecaster whose forecasts were made elsewhere: reads those of the panel's cutoff."""

    name: str
    path: str

    def __call__(self, panel: Panel, horizon: int) -> Forecasts:
        """The file's forecasts. Raises NotFoundError, or InputError when they do not fit the panel."""
        file = Path(self.path.replace(CUTOFF_MARK, str(panel.n_periods)))
        shape = (panel.n_series, horizon)
        mean_SH, quantiles_SHQ = read_forecasts(file)
        for field, found, expected in (
            ("mean_SH", mean_SH, shape),
            ("quantiles_SHQ", quantiles_SHQ, (*shape, len(LEVELS))),
        ):
            if found.shape != expected or not np.isfinite(found).all():
                raise InputError(f"{file}: {field}", expected=f"{expected}, finite", found=str(found.shape))
        # Scenarios of each series and period by itself: files hold no joint ones, and none are scored.
        ranks_K = np.arange(100, dtype=np.uint8)
        return Forecasts(
            period=panel.period,
            origin=panel.origin,
            keys=panel.keys,
            mean_SH=mean_SH,
            quantiles_SHQ=np.maximum.accumulate(quantiles_SHQ, axis=2),
            ranks_SHK=np.broadcast_to(ranks_K, (*shape, len(ranks_K))),
        )


def read_forecasts(file: Path) -> tuple[Floats, Floats]:
    """Means and quantiles of an `.npz`. Raises NotFoundError, or InputError where it is none."""
    if not file.is_file():
        raise NotFoundError("forecasts", expected=f"a file {file}", found="none")
    try:
        with np.load(file, allow_pickle=False) as arrays:
            return arrays["mean_SH"].astype(np.float32), arrays["quantiles_SHQ"].astype(np.float32)
    except (KeyError, ValueError, OSError, zipfile.BadZipFile) as error:
        expected = "an .npz with mean_SH and quantiles_SHQ"
        raise InputError(str(file), expected=expected, found=str(error)) from error


def parse_forecasts(texts: Sequence[str], cutoffs: Sequence[int]) -> dict[str, ForecastFunction]:
    """`NAME=FILE.npz` -> forecaster by name. Raises UsageError for what cannot be told apart."""
    found: dict[str, ForecastFunction] = {}
    for text in texts:
        name, _, path = text.partition("=")
        if not name or not path:
            raise UsageError(f"--forecasts: expected NAME=FILE.npz, found {text!r}")
        if name in found or name == MODEL_NAME or name in baselines():
            raise UsageError(f"--forecasts: expected each name once, found {name!r} again")
        if len(set(cutoffs)) > 1 and CUTOFF_MARK not in path:
            raise UsageError(
                f"--forecasts: expected {CUTOFF_MARK} in the name for several cutoffs, found {path}"
            )
        found[name] = FromFiles(name=name, path=path)
    return found


def bench_peaks(
    folder: Path,
    *,
    cutoffs: Sequence[int],
    bundle: Path | None,
    forecasts: Sequence[str],
    training: TrainingConfig,
) -> PeakBench:
    """Forecast the 28 days after each cutoff and score peaks and the windows of named events apart.

    Our model is that of `bundle`, else it is trained on the days up to the first cutoff. Raises UsageError
    for a cutoff without 28 known days after it, or a bundle that has seen days after a cutoff.
    """
    started = time.monotonic()
    others = parse_forecasts(forecasts, cutoffs)
    panel = read_m5_panel(folder, last_day(folder))
    for cutoff in cutoffs:
        if not HORIZON <= cutoff <= panel.n_periods - HORIZON:
            expected = f"{HORIZON}..{panel.n_periods - HORIZON}, with {HORIZON} known days after it"
            raise UsageError(f"cutoff: expected {expected}, found {cutoff}")
    for cutoff in cutoffs:  # before minutes of training that a wrong file would lose
        for other in others.values():
            other(panel.until(cutoff), HORIZON)
    model = _model(panel, min(cutoffs), bundle, training)
    forecasters = {MODEL_NAME: model, **baselines(seed=training.seed), **others}
    origins = sorted(set(cutoffs))
    with progress("scoring", total=len(origins) * len(forecasters)) as advance:
        report = backtest(panel, forecasters, origins, HORIZON, cut=peak_slices, advance=advance)
    return _results(report, [*others], started)


def last_day(folder: Path) -> int:
    """Number of the last day with sales."""
    from forecast.demand.sources.m5 import read_m5

    return int(read_m5(folder).sales_ST.shape[1])


def _model(panel: Panel, cutoff: int, bundle: Path | None, training: TrainingConfig) -> ForecastFunction:
    known = panel.until(cutoff)
    if bundle is None:
        title = f"training on M5 up to day {cutoff}"
        return Forecaster(fit_shown(known, HORIZON, training, title), training.device)
    made = Bundle.load(bundle)
    origin = np.datetime64(str(made.facts["origin"]))
    if origin > known.origin:
        raise UsageError(f"--bundle: expected one trained on days up to {known.origin}, found up to {origin}")
    return Forecaster(made, training.device)


def _results(report: BacktestReport, files: Sequence[str], started: float) -> PeakBench:
    results: dict[str, float] = {}
    for row in report.table().iter_rows(named=True):
        if row["slice"] == ALL or row["slice"] in PEAK_SLICES or is_named_window(row["slice"]):
            place = f"{_word(row['slice'])}/{_word(row['forecaster'])}"
            results |= {f"{measure}/{place}": float(row[measure]) for measure in MEASURES}
    for name, statistics in report.statistics.items():
        ratio = after_peak_ratio(statistics, report.slices)
        outlook = peak_outlook(report.scenarios[name], statistics.truth_SH, report.slices["peak"])
        results |= {f"{key}/{_word(name)}": value for key, value in asdict(ratio).items()}
        results |= {f"peak_{key}/{_word(name)}": float(value) for key, value in asdict(outlook).items()}
    for row in report.calibration().iter_rows(named=True):
        # Files hold no joint scenarios, so their sums say nothing.
        if row["forecaster"] not in files or row["level"] == "series":
            place = f"{_word(row['level'])}/{_word(row['forecaster'])}"
            results |= {f"{key}_level/{place}": row[key] for key in row if key.startswith("coverage")}
    wanted = [ALL, *PEAK_SLICES, *filter(is_named_window, report.slices)]
    comparisons = compare(report, MODEL_NAME, wanted)
    for one in comparisons:
        results |= _difference(one)
    results["seconds"] = time.monotonic() - started
    return PeakBench(results=results, comparisons=comparisons, report=report)


def _difference(one: Comparison) -> dict[str, float]:
    """The difference to another forecaster, as shares of its WQL."""
    place = f"{_word(one.where)}/{_word(one.against)}"
    whole = one.other_wql or math.nan  # there is no share of a faultless forecast's loss
    found = {
        "difference": one.share,
        "difference_low": one.by_series.low / whole,
        "difference_high": one.by_series.high / whole,
        "verdict": VERDICTS[one.verdict],
    }
    if one.over_time is not None:
        found["p_value"] = one.over_time.p_value
    return {f"{key}/{place}": value for key, value in found.items()}


def _word(name: str) -> str:
    return name.replace(" ", "_")
