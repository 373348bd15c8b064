"""What training minimises: pinball over the quantile levels and a Tweedie deviance of the mean, with
demand cut by stock-outs completed.

Letters: B windows, O origins, H horizon, Q levels.
"""

from __future__ import annotations

import torch
from torch import Tensor

from forecast.model.network import Distribution
from forecast.model.stockouts import complete
from forecast.quantiles import LEVELS


def forecast_loss(
    forecast: Distribution, demand_BOH: Tensor, counted_BOH: Tensor, stocked_out_BOH: Tensor | None
) -> Tensor:
    """Mean loss over the counted (origin, step) pairs, a scalar.

    Quantiles: pinball in units over the root of the scale, so that neither fast nor slow series rule.
    Mean: Tweedie deviance of power 1.5 (Jorgensen 1987), y mu^-0.5 + mu^0.5 up to terms without mu.
    Stock-outs: demand of a period that sold out is completed from the forecast as it stands, given the sales
    of what was in stock (`forecast.model.stockouts`).
    """
    norm_BO1 = forecast.scale_BO[:, :, None].clamp(min=0.05).sqrt()
    drawn_BOH = expected_BOH = demand_BOH
    if stocked_out_BOH is not None:
        drawn_BOH, expected_BOH = complete(
            forecast.quantiles_BOHQ.detach(), demand_BOH, counted_BOH, stocked_out_BOH
        )
    error_BOHQ = drawn_BOH[..., None] - forecast.quantiles_BOHQ
    level_Q = torch.tensor(LEVELS, device=demand_BOH.device)
    over_BOHQ = torch.relu(-error_BOHQ)
    root_BOH = forecast.mean_BOH.sqrt()
    deviance_BOH = expected_BOH / root_BOH + root_BOH
    pinball_BOH = (level_Q * torch.relu(error_BOHQ) + (1 - level_Q) * over_BOHQ).mean(-1) / norm_BO1
    loss_BOH = 4 * pinball_BOH + 0.5 * deviance_BOH
    return (loss_BOH * counted_BOH).sum() / counted_BOH.sum().clamp(min=1)
