"""Bootstrap of WRMSSE and WSPL: whole items and whole weeks drawn with replacement.

WRMSSE and WSPL are no sums over series: an upper level is scored on sums over many of them. So each resample
draws, within every department, as many items as it has (an item comes with all its stores) and, from the
horizon, as many weeks as it has (a pigeonhole bootstrap, Owen 2007: conservative), adds up truth, means and
joint scenarios of the drawn items anew for the levels 1 to 9, and weighs the nodes of the levels 10 to 12 by
how often their item was drawn. Weights and scales stay those of the score. Draws depend on the seed and the
items alone: two forecasters at the same cutoff, and one item at several cutoffs, meet the same draws, so
differences are paired. Draws are centred on the score itself (sums over drawn items vary more than sums over
all).

Letters: R resamples, S series, I items, N nodes of a level, D nodes of level 9 (store and department),
H horizon, W weeks, K scenarios, Q quantile levels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from forecast.evaluation.bootstrap import Interval
from forecast.evaluation.m5 import M5Scorer, NodeScales
from forecast.evaluation.m5_hierarchy import LevelForecasts, group_sum
from forecast.evaluation.metrics import pinball
from forecast.forecasts import Forecasts
from forecast.quantiles import LEVELS, M5_NINE

Doubles = NDArray[np.float64]
N_RESAMPLES: Final = 200
WEEK: Final = 7


@dataclass(frozen=True, kw_only=True)
class Draws:
    """What the resamples hold. item_RI: how often each item; day_RH: weight of each day, 1 on average."""

    item_RI: Doubles
    day_RH: Doubles


def draw(dept_I: NDArray[np.str_], horizon: int, n_resamples: int = N_RESAMPLES, seed: int = 0) -> Draws:
    """Items within departments, weeks of the horizon (what is left of one counts as a week)."""
    generator = np.random.default_rng(seed)
    item_RI = np.zeros((n_resamples, len(dept_I)))
    for dept in np.unique(dept_I):
        members = np.flatnonzero(dept_I == dept)
        probability = np.full(len(members), 1 / len(members))
        item_RI[:, members] = generator.multinomial(len(members), probability, size=n_resamples)
    week_H = np.arange(horizon) // WEEK
    n_weeks = int(week_H[-1]) + 1
    week_RW = generator.multinomial(n_weeks, np.full(n_weeks, 1 / n_weeks), size=n_resamples)
    day_RH = week_RW[:, week_H].astype(np.float64)
    return Draws(item_RI=item_RI, day_RH=day_RH * horizon / day_RH.sum(axis=1, keepdims=True))


def resampled_scores(
    scorer: M5Scorer,
    forecasts: Forecasts,
    levels: Sequence[LevelForecasts],
    truth_SH: NDArray[np.floating],
    draws: Draws,
) -> Doubles:
    """(R, 2) WRMSSE and WSPL of every resample."""
    top_R2 = _upper_levels(scorer, forecasts, truth_SH, draws)
    bottom_R2 = sum(_node_level(scorer, levels[i], scorer.scales[i], truth_SH, draws) for i in (9, 10, 11))
    result: Doubles = (top_R2 + bottom_R2) / 12
    return result


def centred_interval(estimate: float, draws_R: Doubles, level: float = 0.95) -> Interval:
    """The interval of the draws, moved so that their mean is the estimate."""
    edges = np.quantile(draws_R - draws_R.mean(), [(1 - level) / 2, (1 + level) / 2])
    return Interval(estimate=estimate, low=float(estimate + edges[0]), high=float(estimate + edges[1]))


def _node_level(
    scorer: M5Scorer,
    forecast: LevelForecasts,
    scales: NodeScales,
    truth_SH: NDArray[np.floating],
    draws: Draws,
) -> Doubles:
    """(R, 2) scores of a level whose nodes each belong to one item."""
    truth_NH = forecast.level.total(truth_SH)
    loss_NH = _nine_pinballs(truth_NH, forecast.quantiles_NHQ[:, :, M5_NINE])
    squared_NH = (truth_NH - forecast.mean_NH) ** 2
    _, first = np.unique(forecast.level.node_S, return_index=True)
    weight_N = np.where(scales.mse_N > 0, scales.weight_N, 0.0)
    drawn_RN = draws.item_RI[:, scorer.hierarchy.levels[9].node_S[first]] * weight_N
    drawn_RN *= weight_N.sum() / np.maximum(drawn_RN.sum(axis=1, keepdims=True), 1e-12)
    day_HR = draws.day_RH.T / truth_NH.shape[1]
    mse_N, mae_N = (np.where(scale_N > 0, scale_N, 1.0) for scale_N in (scales.mse_N, scales.mae_N))
    root_NR = np.sqrt(squared_NH @ day_HR / mse_N[:, None])
    loss_NR = loss_NH @ day_HR / mae_N[:, None]
    return np.stack([np.einsum("rn,nr->r", drawn_RN, part_NR) for part_NR in (root_NR, loss_NR)], axis=1)


def _upper_levels(
    scorer: M5Scorer, forecasts: Forecasts, truth_SH: NDArray[np.floating], draws: Draws
) -> Doubles:
    """(R, 2) scores of levels 1 to 9, summed over the levels."""
    hierarchy = scorer.hierarchy
    store_dept = hierarchy.levels[8]
    n_resamples, horizon = draws.day_RH.shape
    n_nodes = len(store_dept.nodes)
    sums_RDX = np.empty((n_resamples, n_nodes, horizon * (forecasts.n_scenarios + 2)), np.float32)
    for node in range(n_nodes):
        rows = np.flatnonzero(store_dept.node_S == node)
        drawn_RS = draws.item_RI[:, hierarchy.levels[9].node_S[rows]].astype(np.float32)
        columns_SX = np.concatenate(
            [
                np.nan_to_num(truth_SH[rows]),
                forecasts.mean_SH[rows],
                forecasts.scenarios(rows).reshape(len(rows), -1),
            ],
            axis=1,
        )
        sums_RDX[:, node] = drawn_RS @ columns_SX
    _, first = np.unique(store_dept.node_S, return_index=True)
    parents = [level.node_S[first] for level in hierarchy.levels[:9]]
    result = np.zeros((n_resamples, 2))
    for r in range(n_resamples):
        for i, parent_D in enumerate(parents):
            sums_NX = group_sum(sums_RDX[r], parent_D, len(hierarchy.levels[i].nodes))
            result[r] += _scores_of_sums(sums_NX, horizon, scorer.scales[i], draws.day_RH[r] / horizon)
    return result


def _scores_of_sums(sums_NX: Doubles, horizon: int, scales: NodeScales, day_H: Doubles) -> Doubles:
    """WRMSSE and WSPL of nodes given truth, mean and scenarios side by side; day_H sums to 1."""
    truth_NH, mean_NH = sums_NX[:, :horizon], sums_NX[:, horizon : 2 * horizon]
    scenarios_NHK = np.sort(sums_NX[:, 2 * horizon :].reshape(len(sums_NX), horizon, -1), axis=2)
    k = scenarios_NHK.shape[2]
    place = np.clip(np.array([LEVELS[q] for q in M5_NINE]) * k - 0.5, 0, k - 1)
    low = np.minimum(place.astype(np.intp), k - 2)
    share = place - low
    quantiles_NHQ = (1 - share) * scenarios_NHK[:, :, low] + share * scenarios_NHK[:, :, low + 1]
    loss_N = _nine_pinballs(truth_NH, quantiles_NHQ) @ day_H
    mse_N = ((truth_NH - mean_NH) ** 2) @ day_H
    parts = []
    for error_N, scale_N in ((np.sqrt(mse_N), np.sqrt(scales.mse_N)), (loss_N, scales.mae_N)):
        ratio_N = np.divide(error_N, scale_N, out=np.zeros_like(error_N), where=scale_N > 0)
        parts.append(float(ratio_N @ scales.weight_N))
    return np.array(parts)


def _nine_pinballs(truth_NH: Doubles, quantiles_NHQ: NDArray[np.floating]) -> Doubles:
    """(N, H) pinball loss, mean over M5's nine quantiles."""
    loss_NH = np.zeros(truth_NH.shape)
    for place, q in enumerate(M5_NINE):
        loss_NH += pinball(truth_NH, quantiles_NHQ[:, :, place], LEVELS[q])
    return loss_NH / len(M5_NINE)
