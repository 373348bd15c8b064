"""The model: a few networks of the same kind and other seeds, averaged, and the level of their mean.

Networks that start elsewhere err elsewhere; the average of a few is better than one trained as long
(deep ensembles, Lakshminarayanan et al. 2017, arXiv 1612.01474). Quantiles are averaged level by level
(Vincentization, Ratcliff 1979), which keeps the forecast as sharp as its members.

Letters: B windows, O origins, H horizon, Q levels.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from forecast.model.config import ModelConfig
from forecast.model.network import Distribution, SurgeNet
from forecast.model.precision import has_bf16
from forecast.model.schema import FeatureSchema
from forecast.model.tensors import PanelTensors
from forecast.model.windows import Windows


class Ensemble(nn.Module):
    """`config.members` networks and their average.

    level_H: factors of the means by step (`forecast.model.calibration`), 1 while training.
    """

    level_H: Tensor

    def __init__(self, config: ModelConfig, schema: FeatureSchema) -> None:
        super().__init__()
        self.config = config
        self.members = nn.ModuleList(SurgeNet(config, schema) for _ in range(config.members))
        self.register_buffer("level_H", torch.ones(config.horizon))

    def forward(self, tensors: PanelTensors, windows: Windows, n_origins: int) -> Distribution:
        """Forecast from the last `n_origins` patch ends of each window: means and quantiles averaged over the
        members. Layers multiply in bf16 where the device has instructions for it, which moves a mean by some
        0.1 % and a total by nothing; the last one, and all sums, are in float32."""
        # The products alone: what comes in and out of the layers' sums keeps its digits.
        device = tensors.device
        with torch.autocast(device.type, torch.bfloat16, enabled=has_bf16(device)):
            parts = [member(tensors, windows, n_origins) for member in self.members]
        mean_BOH = torch.stack([part.mean_BOH for part in parts]).mean(0)
        quantiles_BOHQ = torch.stack([part.quantiles_BOHQ for part in parts]).mean(0)
        return Distribution(self.level_H * mean_BOH, quantiles_BOHQ, parts[0].scale_BO)
