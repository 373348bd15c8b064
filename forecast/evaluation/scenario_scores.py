"""What can only be scored from scenarios: the calibration of sums, and how likely peaks were called.

Letters: S series, H horizon, K scenarios, N nodes of one level.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from forecast.demand.panel import Floats, Panel
from forecast.evaluation.m5_hierarchy import group_sum
from forecast.evaluation.metrics import Doubles, Mask, Pit, pit_bounds
from forecast.forecasts import Forecasts, scenario_quantiles

Index = NDArray[np.intp]
TOTAL: Final[str] = "total"
SERIES: Final[str] = "series"
SERIES_PER_CHUNK: Final[int] = 1_000
ROUNDING: Final[float] = 1 + 1e-5
"""Scenarios are single precision: what lies above a threshold of whole units by less is no peak."""
MAX_NODES: Final[int] = 2_000
"""Nodes that a level between total and series may have; their scenarios are held in memory at once."""


@dataclass(frozen=True, kw_only=True)
class ScenarioScores:
    """Joint forecasts against the truth.

    pits: level -> bounds of the probability integral transform of each node's sum, (N, H), NaN where nothing
    is scored (see `metrics.pit_bounds`). mean_SH: the forecast's mean. peak_chance_SH: probability of demand
    over the peak threshold. peak_units_SH: expected demand in such peaks, E[demand; demand > threshold].
    """

    pits: Mapping[str, Pit]
    mean_SH: Floats
    peak_chance_SH: Floats
    peak_units_SH: Floats


def levels_of(panel: Panel) -> Mapping[str, Index]:
    """Level -> (S,) node of each series: `total`, `location`, `CATEGORY x location`, `series`.

    CATEGORY is the static label with most values among those that differ within a location and put at least
    two series together on average (M5: dept, so that these are its levels 1, 3, 9 and 12). A level that is
    the same as another, or has more than `MAX_NODES` nodes, is left out.
    """
    levels = {TOTAL: np.zeros(panel.n_series, np.intp)}
    _, location_S = np.unique(panel.keys.location, return_inverse=True)
    n_locations = _n_nodes(location_S)
    if 1 < n_locations < panel.n_series:
        levels["location"] = location_S
    pairs: dict[str, Index] = {}
    for name, labels in panel.statics.items():
        _, label_S = np.unique(labels, return_inverse=True)
        _, pairs[name] = np.unique(location_S * _n_nodes(label_S) + label_S, return_inverse=True)
    sizes = {name: _n_nodes(node_S) for name, node_S in pairs.items()}
    finer = [name for name, size in sizes.items() if n_locations < size <= panel.n_series / 2]
    if finer:
        best = max(finer, key=lambda name: sizes[name])
        levels[f"{best} x location" if n_locations > 1 else best] = pairs[best]
    small = {name: node_S for name, node_S in levels.items() if _n_nodes(node_S) <= MAX_NODES}
    return {**small, SERIES: np.arange(panel.n_series)}


def scenario_scores(
    truth_SH: Floats, forecasts: Forecasts, levels: Mapping[str, Index], threshold_S: Doubles
) -> ScenarioScores:
    """Score one forecast, its scenarios expanded once, a chunk of series at a time.

    `truth_SH` is NaN where a period is not scored; it is then left out of both sides of a sum.
    """
    n_series, horizon = truth_SH.shape
    scored_SH = ~np.isnan(truth_SH)
    width = horizon * forecasts.n_scenarios
    sums = {name: np.zeros((_n_nodes(node_S), width)) for name, node_S in levels.items() if name != SERIES}
    chance_SH, units_SH = np.zeros_like(truth_SH), np.zeros_like(truth_SH)
    for first in range(0, n_series, SERIES_PER_CHUNK):
        rows = slice(first, min(first + SERIES_PER_CHUNK, n_series))
        values_SHK = forecasts.scenarios(rows)
        over_SHK = values_SHK > ROUNDING * threshold_S[rows, None, None]
        chance_SH[rows] = over_SHK.mean(axis=2)
        units_SH[rows] = np.mean(values_SHK * over_SHK, axis=2)
        values_SHK = np.where(scored_SH[rows][:, :, None], values_SHK, np.float32(0))
        for name, total_NX in sums.items():
            present, node_S = np.unique(levels[name][rows], return_inverse=True)
            total_NX[present] += group_sum(values_SHK.reshape(len(node_S), -1), node_S, len(present))
    pits = {
        name: _pit_of_sums(truth_SH, levels[name], total_NX.reshape(len(total_NX), horizon, -1))
        for name, total_NX in sums.items()
    }
    pits[SERIES] = _narrow(pit_bounds(truth_SH.astype(np.float64), forecasts.quantiles_SHQ))
    return ScenarioScores(
        pits=pits, mean_SH=forecasts.mean_SH, peak_chance_SH=chance_SH, peak_units_SH=units_SH
    )


def stack_scores(parts: Sequence[ScenarioScores]) -> ScenarioScores:
    """Scores of several origins one under the other."""

    def stack(name: str) -> Floats:
        return np.concatenate([getattr(part, name) for part in parts])

    pits = {
        name: (
            np.concatenate([part.pits[name][0] for part in parts]),
            np.concatenate([part.pits[name][1] for part in parts]),
        )
        for name in parts[0].pits
    }
    arrays = {name: stack(name) for name in ("mean_SH", "peak_chance_SH", "peak_units_SH")}
    return ScenarioScores(pits=pits, **arrays)


@dataclass(frozen=True, kw_only=True)
class PeakOutlook:
    """How peaks were called, free of the bias of looking at peaks alone.

    Periods that are picked because their demand was high make every forecast look low, a perfect one too.
    These compare sums over all periods that have a threshold, peaks or not.

    n, units: peaks that came and their demand. count_bias: peaks expected over peaks that came, minus 1.
    units_bias: the same of the demand in them. selection_bias: the bias on peaks picked by the truth that
    this very forecast would show if it were perfectly calibrated.
    """

    n: int
    units: float
    count_bias: float
    units_bias: float
    selection_bias: float


def peak_outlook(scores: ScenarioScores, truth_SH: Floats, peak_SH: Mask) -> PeakOutlook:
    """Compare the called with the actual peaks; NaN where there was none, or none was thought possible."""
    scored_SH = ~np.isnan(truth_SH)
    units = float(np.sum(truth_SH, where=peak_SH & scored_SH, dtype=np.float64))
    n = int((peak_SH & scored_SH).sum())
    chance = float(np.sum(scores.peak_chance_SH, where=scored_SH, dtype=np.float64))
    expected = float(np.sum(scores.peak_units_SH, where=scored_SH, dtype=np.float64))
    meant = float(np.sum(scores.mean_SH * scores.peak_chance_SH, where=scored_SH, dtype=np.float64))
    return PeakOutlook(
        n=n,
        units=units,
        count_bias=chance / n - 1 if n else float("nan"),
        units_bias=expected / units - 1 if units > 0 else float("nan"),
        selection_bias=meant / expected - 1 if expected > 0 else float("nan"),
    )


def _pit_of_sums(truth_SH: Floats, node_S: Index, total_NHK: Doubles) -> Pit:
    """PIT of the nodes' sums over what is scored."""
    known_SH = np.nan_to_num(truth_SH, nan=0.0)
    truth_NH = group_sum(known_SH, node_S, len(total_NHK))
    n_NH = group_sum((~np.isnan(truth_SH)).astype(np.float32), node_S, len(total_NHK))
    truth_NH[n_NH == 0] = np.nan
    return _narrow(pit_bounds(truth_NH, scenario_quantiles(total_NHK)))


def _n_nodes(node_S: Index) -> int:
    return int(node_S.max(initial=0)) + 1


def _narrow(pit: Pit) -> Pit:
    return pit[0].astype(np.float32), pit[1].astype(np.float32)
