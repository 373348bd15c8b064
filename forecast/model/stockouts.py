"""Stock-outs: what of a period could be seen of its demand, and what the rest may have been.

A period that sold out for a fifth of its demand is four fifths of an observation. Its sales over the seen
share estimate its demand, and sums of sales over sums of seen shares estimate a level without the choice of
quiet days that in-stock days are (sales up to a stopping time over the exposure up to it, Wald 1944).

Letters: S series, T periods, N periods that sold out, Q quantile levels, B windows, O origins, H horizon.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from forecast.demand.panel import LEAST_SEEN, Floats, Panel
from forecast.quantiles import LEVELS

UNIT_QUANTILE: Final = 0.1
"""Quantile of the positive demand of periods in stock that is taken for the size of one purchase."""
MASS: Final = tuple(
    float(mass) for mass in np.diff([0.0, *(np.add(LEVELS[:-1], LEVELS[1:]) / 2).tolist(), 1.0])
)
"""Probability that each quantile level stands for."""


def seen_demand(panel: Panel) -> tuple[Floats, Floats]:
    """(S, T) demand by what was seen, and the share of each period's demand that could be seen, 0..1.

    Demand is 0 where missing; in a period that sold out in part it is its sales over the seen share, so that
    demand times share is always the sales. Where too little was seen to tell of demand (`Panel.told_ST`) the
    share is 0 and the demand is the sales, a lower bound.
    """
    demand_ST, told_ST = np.nan_to_num(panel.demand_ST, nan=0.0), panel.told_ST
    if panel.stocked_out_ST is None:
        return demand_ST, told_ST.astype(np.float32)
    seen_ST = (1 - np.nan_to_num(panel.stocked_out_ST, nan=0.0)).astype(np.float32) * told_ST
    return np.divide(demand_ST, seen_ST, out=demand_ST.copy(), where=seen_ST > 0), seen_ST


class Recovered(NamedTuple):
    """Demand of periods that sold out: (N, Q) values it may have had, and their probabilities."""

    demand_NQ: Tensor
    probability_NQ: Tensor

    @property
    def mean_N(self) -> Tensor:
        """Expected demand."""
        return (self.demand_NQ * self.probability_NQ).sum(1)


def recover(quantiles_NQ: Tensor, sales_N: Tensor, stocked_out_N: Tensor, unit: Tensor | float) -> Recovered:
    """Demand given its forecast, and the sales of the part of the period that was in stock.

    The forecast's quantiles are the prior. Each purchase falls into the seen part with probability
    1 - `stocked_out`, so of y / `unit` purchases sales / `unit` were seen: a binomial likelihood. It is the
    same whatever ended the sale, an hour or an empty shelf (the likelihood principle). Where hardly
    anything was seen, only that demand was at least the sales is used (Efron's redistribution to the right,
    1967); where all quantiles are below the sales, demand is the sales.
    """
    bought_N1 = (sales_N / unit).double()[:, None]
    wanted_NQ = torch.maximum((quantiles_NQ / unit).double(), bought_N1)
    missed_N1 = stocked_out_N.double().clamp(1e-6, 1.0)[:, None]
    fit_NQ = torch.lgamma(wanted_NQ + 1) - torch.lgamma(wanted_NQ - bought_N1 + 1)
    fit_NQ = torch.where(missed_N1 <= 1 - LEAST_SEEN, fit_NQ + wanted_NQ * missed_N1.log(), 0.0)
    prior_Q = torch.tensor(MASS, dtype=torch.float64, device=quantiles_NQ.device).log()
    possible_NQ = quantiles_NQ >= sales_N[:, None]
    logit_NQ = torch.where(possible_NQ, fit_NQ + prior_Q, -1e9)
    demand_NQ = torch.maximum(quantiles_NQ, sales_N[:, None])
    return Recovered(demand_NQ, logit_NQ.softmax(1).to(demand_NQ.dtype))


def purchase_size(demand: Tensor) -> Tensor:
    """The unit that demand comes in: a low quantile of the positive values, 1 where there are none."""
    positive = demand[demand > 0]
    if not len(positive):
        return demand.new_tensor(1.0)
    return positive.kthvalue(max(round(UNIT_QUANTILE * len(positive)), 1)).values


@torch.no_grad()
def complete(
    quantiles_BOHQ: Tensor, demand_BOH: Tensor, counted_BOH: Tensor, stocked_out_BOH: Tensor
) -> tuple[Tensor, Tensor]:
    """Demand with the counted periods that sold out completed: by one random draw, and by its expectation.

    quantiles_BOHQ: the forecast as it stands. Training on such completions is the EM algorithm, its E-step
    drawn (Celeux and Diebolt 1985).
    """
    out_BOH = (stocked_out_BOH > 0) & (counted_BOH > 0)
    if not out_BOH.any():
        return demand_BOH, demand_BOH
    unit = purchase_size(demand_BOH[(counted_BOH > 0) & ~out_BOH])
    found = recover(quantiles_BOHQ[out_BOH], demand_BOH[out_BOH], stocked_out_BOH[out_BOH], unit)
    pick_N1 = torch.multinomial(found.probability_NQ, 1)
    drawn_N = found.demand_NQ.gather(1, pick_N1)[:, 0]
    return demand_BOH.masked_scatter(out_BOH, drawn_N), demand_BOH.masked_scatter(out_BOH, found.mean_N)


def recovered_mean(
    quantiles_NQ: NDArray[np.floating], sales_N: Floats, stocked_out_N: Floats, in_stock: Floats
) -> Floats:
    """(N,) expected demand of periods that sold out, from numpy arrays; see `recover`.

    in_stock: demand of periods in stock, of any shape, which tells the size of a purchase.
    """
    unit = purchase_size(_tensor(in_stock[np.isfinite(in_stock)]))
    found = recover(_tensor(quantiles_NQ), _tensor(sales_N), _tensor(stocked_out_N), unit)
    mean_N: Floats = found.mean_N.numpy()
    return mean_N


def _tensor(array: NDArray[np.floating]) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(array, dtype=np.float32))
