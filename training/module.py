"""The Lightning module: loss, optimiser, averaged weights. The science is in `forecast.model`."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import lightning
import torch
from torch import Tensor
from torch.optim.swa_utils import AveragedModel

from forecast.model.ensemble import Ensemble
from forecast.model.losses import forecast_loss
from forecast.model.precision import has_bf16
from forecast.model.tensors import PanelTensors
from forecast.model.windows import gather_examples
from training.config import Precision, TrainingConfig
from training.feed import Draw
from training.optimizer import MixedOptimizer


class SurgeModule(lightning.LightningModule):
    """Trains an ensemble on draws of a feed, its members in turn.

    progress: the share of the budget spent, 0..1, which drives the learning rate: a warm-up, a plateau for as
    much of the budget as the configuration gives it, then a cosine to zero. `averaged` holds the exponential
    moving average of the weights, which is the model.
    """

    def __init__(
        self, network: Ensemble, tensors: PanelTensors, config: TrainingConfig, progress: Callable[[], float]
    ) -> None:
        super().__init__()
        self.network = network
        self.averaged = AveragedModel(network, multi_avg_fn=_warm_average(config.ema_decay))
        self.averaged.requires_grad_(False)  # nothing to exchange between devices
        self._tensors = tensors
        self._config = config
        self._progress = progress
        self._bf16 = use_bf16(config.precision, tensors.device)

    def training_step(self, draw: Draw, batch_idx: int) -> Tensor:
        """Loss of one draw for the member whose turn it is; the others have no gradient and stay."""
        config = self.network.config
        windows, targets = gather_examples(
            self._tensors, draw.series_B, draw.end_B, draw.hidden_B, config, draw.limit, draw.ahead
        )
        member = self.network.members[batch_idx % config.members]
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self._bf16):
            forecast = member(self._tensors, windows, config.origins, draw.ahead)
        return forecast_loss(forecast, *targets)

    def configure_optimizers(self) -> Any:
        """Muon and AdamW, their rate set by the progress of the budget."""
        config = self._config
        optimizer = MixedOptimizer(
            self.network, learning_rate=config.learning_rate, weight_decay=config.weight_decay
        )
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, self._rate)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def _rate(self, step: int) -> float:
        fraction, plateau = self._progress(), self._config.plateau
        done = min((fraction - plateau) / max(1 - plateau, 1e-9), 1.0)
        cooled = 1.0 if fraction < plateau else 0.5 * (1 + math.cos(math.pi * done))
        return min(1.0, (step + 1) / self._config.warmup_steps) * max(cooled, 1e-3)

    def on_train_batch_end(self, outputs: Any, batch: Draw, batch_idx: int) -> None:
        """Fold the new weights into their average."""
        self.averaged.update_parameters(self.network)


def use_bf16(precision: Precision, device: torch.device) -> bool:
    """Whether to multiply in bf16: asked for, or left open and the device has instructions for it."""
    return has_bf16(device) if precision == "auto" else precision == "bf16"


def _warm_average(decay: float) -> Callable[..., None]:
    """An exponential moving average that follows quickly at first."""

    @torch.no_grad()
    def update(averaged: list[Tensor], current: list[Tensor], count: Tensor) -> None:
        n = float(count)
        weight = 1 - min(decay, (1 + n) / (10 + n))
        torch._foreach_lerp_(averaged, current, weight)

    return update
