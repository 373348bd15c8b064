"""Quantiles around means, from out-of-sample errors of like series.

Letters: S series, H horizon, V origins, N rows, B bins of the mean, C bins of unevenness, Q quantile levels.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from forecast.demand.panel import Floats
from forecast.model.coupling import probability_integral_transform
from forecast.quantiles import LEVELS
from tests.bench.peers.common import SEED

N_MEANS = 24
N_UNEVEN = 3
FEWEST = 200
"""Rows that a cell needs; smaller panels get fewer cells."""


@dataclass(frozen=True, kw_only=True)
class ResidualQuantiles:
    """Quantiles of demand over its mean, in cells of like means and like unevenness of the series.

    mean_B: centres of the bins (log of the mean). edge_BC: inner edges of unevenness in each bin.
    ratio_BCQ: quantiles of demand over mean. Between centres of bins the ratios are interpolated.
    """

    mean_B: NDArray[np.float64]
    edge_BC: NDArray[np.float64]
    ratio_BCQ: NDArray[np.float64]

    @classmethod
    def fit(cls, mean_VSH: Floats, truth_VSH: Floats, uneven_VS: Floats) -> ResidualQuantiles:
        """From means, what came true (NaN: left out) and the unevenness of each series at each origin."""
        present = np.isfinite(truth_VSH) & (mean_VSH > 0)
        log_N = np.log(mean_VSH[present]).astype(np.float64)
        ratio_N = truth_VSH[present] / mean_VSH[present]
        uneven_N = np.broadcast_to(uneven_VS[:, :, None], mean_VSH.shape)[present]
        n_bins = int(np.clip(len(log_N) // (FEWEST * N_UNEVEN), 1, N_MEANS))
        centres, edges, ratios = [], [], []
        for rows in np.array_split(np.argsort(log_N), n_bins):
            centres.append(float(log_N[rows].mean()))
            inner = np.quantile(uneven_N[rows], np.arange(1, N_UNEVEN) / N_UNEVEN)
            edges.append(inner)
            cell_N = np.searchsorted(inner, uneven_N[rows])
            whole = np.quantile(ratio_N[rows], LEVELS)
            ratios.append([_quantiles(ratio_N[rows[cell_N == c]], whole) for c in range(N_UNEVEN)])
        return cls(mean_B=np.array(centres), edge_BC=np.array(edges), ratio_BCQ=np.array(ratios))

    def __call__(self, mean_SH: Floats, uneven_S: Floats) -> Floats:
        """(S, H, Q) quantiles around means, given the unevenness of each series."""
        log_SH = np.log(np.maximum(mean_SH, 1e-9))
        last = len(self.mean_B) - 1
        place_SH = np.interp(log_SH, self.mean_B, np.arange(last + 1))
        low_SH = np.minimum(place_SH.astype(np.intp), max(last - 1, 0))
        share_SH = (place_SH - low_SH)[:, :, None]
        high_SH = np.minimum(low_SH + 1, last)
        parts = [self._ratios(bin_SH, uneven_S) for bin_SH in (low_SH, high_SH)]
        ratio_SHQ = (1 - share_SH) * parts[0] + share_SH * parts[1]
        return (ratio_SHQ * mean_SH[:, :, None]).astype(np.float32)

    def _ratios(self, bin_SH: NDArray[np.intp], uneven_S: Floats) -> NDArray[np.float64]:
        cell_SH = (uneven_S[:, None, None] > self.edge_BC[bin_SH]).sum(axis=2)
        ratios: NDArray[np.float64] = self.ratio_BCQ[bin_SH, cell_SH]
        return ratios


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """What past forecasts teach. level: total demand over total mean. table: quantiles around means that the
    level was applied to. places_VSH: where the truth fell.
    """

    level: float
    table: ResidualQuantiles
    places_VSH: Floats

    @classmethod
    def of(cls, mean_VSH: Floats, truth_VSH: Floats, uneven_VS: Floats, *, level: bool = True) -> Calibration:
        """From means of V past origins (0: no forecast), what came true (NaN: unknown) and the unevenness of
        the series then. Without `level` the level is 1.
        """
        counted = np.isfinite(truth_VSH) & (mean_VSH > 0)
        total = float(mean_VSH[counted].sum(dtype=np.float64))
        demand = float(truth_VSH[counted].sum(dtype=np.float64))
        factor = demand / total if level and demand > 0 and total > 0 else 1.0
        mean_VSH = mean_VSH * np.float32(factor)
        table = ResidualQuantiles.fit(mean_VSH, truth_VSH, uneven_VS)
        random = np.random.default_rng(SEED)
        places = [
            probability_integral_transform(truth_SH, table(mean_SH, uneven_S), np.isnan(truth_SH), random)
            for truth_SH, mean_SH, uneven_S in zip(truth_VSH, mean_VSH, uneven_VS, strict=True)
        ]
        return cls(level=factor, table=table, places_VSH=np.stack(places))


def _quantiles(ratio_N: Floats, otherwise: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.quantile(ratio_N, LEVELS) if len(ratio_N) else otherwise
