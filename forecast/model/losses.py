"""What training minimises: pinball over the quantile levels and a Tweedie deviance of the mean, with stock-outs censored.

Letters: B windows, O origins, H horizon, Q levels.
"""

from __future__ import annotations

import torch
from torch import Tensor

from forecast.model.network import Distribution
from forecast.quantiles import LEVELS


def forecast_loss(
    forecast: Distribution,
    demand_BOH: Tensor,
    observed_BOH: Tensor,
    stocked_out_BOH: Tensor | None,
    weight_B: Tensor,
) -> Tensor:
    """Mean loss over observed (origin, step) pairs, a scalar.

    Quantiles: pinball in units over the square root of the scale, so that neither fast nor slow series rule.
    Mean: Tweedie deviance of power 1.5 (Jorgensen 1987), 2 (y mu^-0.5 + mu^0.5) up to terms without mu.
    Stock-outs: a period that sold out says demand was at least its sales, so only forecasts below them are punished
    (Powell 1986, censored quantiles).
    """
    scale_B11 = forecast.scale_BO[:, :, None]
    counted = observed_BOH
    if stocked_out_BOH is not None:
        censored = (stocked_out_BOH > 0).float()
        counted = torch.maximum(observed_BOH, censored)
    norm = scale_B11.clamp(min=0.05).sqrt()
    error_BOHQ = demand_BOH[..., None] - forecast.quantiles_BOHQ
    level_Q = torch.tensor(LEVELS, device=demand_BOH.device)
    over = torch.relu(-error_BOHQ)
    if stocked_out_BOH is not None:
        over = over * (1 - censored)[..., None]
    pinball_BOH = (level_Q * torch.relu(error_BOHQ) + (1 - level_Q) * over).mean(-1) / norm
    root = forecast.mean_BOH.sqrt()
    deviance = demand_BOH / root + root
    if stocked_out_BOH is not None:
        deviance = torch.where(
            (censored > 0) & (forecast.mean_BOH >= demand_BOH), 2 * demand_BOH.sqrt(), deviance
        )
    weight_BOH = counted * weight_B[:, None, None]
    loss = 4 * pinball_BOH + 0.5 * deviance
    return (loss * weight_BOH).sum() / weight_BOH.sum().clamp(min=1)
