"""The optimiser: Muon for the weights of hidden layers, AdamW for all else.

Muon (Jordan et al. 2024; Liu et al. 2025, arXiv 2502.16982) makes the momentum of a weight matrix orthogonal
before it is applied, so that directions with small gradients learn as fast as those with large ones. Biases,
norms, embeddings, the events' response and the last layer, whose rows are outputs of their own, are not
such matrices.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.optim import AdamW, Muon, Optimizer

BETAS: Final = (0.9, 0.98)
"""Of AdamW."""
MOMENTUM: Final = 0.95
"""Of Muon."""
RATE: Final = 2.0
"""Muon's learning rate over AdamW's."""


class MixedOptimizer(Optimizer):
    """Muon and AdamW as one. Muon's steps are scaled to the size of AdamW's, times `RATE`.

    Parameters without a gradient stay as they are.
    """

    def __init__(self, network: nn.Module, *, learning_rate: float, weight_decay: float) -> None:
        matrices = hidden_matrices(network)
        chosen = {id(one) for one in matrices}
        others = [one for one in network.parameters() if id(one) not in chosen]
        self._parts: tuple[Optimizer, ...] = (
            AdamW(others, lr=learning_rate, betas=BETAS, weight_decay=weight_decay),
            Muon(
                matrices,
                lr=RATE * learning_rate,
                weight_decay=weight_decay,
                momentum=MOMENTUM,
                adjust_lr_fn="match_rms_adamw",
            ),
        )
        super().__init__([{"params": [*others, *matrices]}], {"lr": learning_rate})
        # The groups of the parts themselves, so that a schedule and clipping reach them.
        self.param_groups = [group for part in self._parts for group in part.param_groups]

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """One step of each; the loss that `closure` computes, if any."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for part in self._parts:
            part.step()
        return loss


def hidden_matrices(network: nn.Module) -> list[Tensor]:
    """The weights of all linear layers but the last of each network, which is called `out`."""
    return [
        layer.weight
        for name, layer in network.named_modules()
        if isinstance(layer, nn.Linear) and name.rpartition(".")[2] != "out"
    ]
