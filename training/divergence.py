"""When the loss is no number: the last good weights are kept, and the series that did it are named.

Letters: B windows.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor

from forecast.demand.panel import Panel
from forecast.model.ensemble import Ensemble
from forecast.model.losses import forecast_loss
from forecast.model.network import Distribution
from forecast.model.tensors import PanelTensors
from forecast.model.windows import Targets, gather_targets, gather_windows
from training.feed import Draw
from training.module import SurgeModule

DIVERGED = "training loss"
"""How the message begins."""
NAMED = 3
"""Series that a message names."""


class LastGood:
    """The averaged weights of the last epoch all of whose losses were numbers, and the draws since."""

    def __init__(self) -> None:
        self._weights: dict[str, Tensor] | None = None
        self._draws: list[Draw] = []

    def saw(self, draw: Draw) -> None:
        """Remember a draw of the running epoch."""
        self._draws.append(draw)

    def healthy(self, module: SurgeModule, losses: Sequence[Tensor]) -> bool:
        """Whether the epoch went well: every loss is a number, and what the last one did to the weights
        too."""
        numbers = [torch.stack(list(losses)), *module.averaged.module.state_dict().values()]
        return all(bool(values.isfinite().all()) for values in numbers)

    def keep(self, module: SurgeModule) -> None:
        """Keep the weights of an epoch that went well."""
        self._weights = copy.deepcopy(module.averaged.module.state_dict())
        self._draws.clear()

    def restore(self, module: SurgeModule) -> bool:
        """Put the kept weights back; False when no epoch went well."""
        if self._weights is None:
            return False
        # The network too: the module folds it into the average once more after this.
        module.network.load_state_dict(self._weights)
        module.averaged.module.load_state_dict(self._weights)
        return True

    def explain(
        self, module: SurgeModule, losses: Sequence[Tensor], step: int, panel: Panel, tensors: PanelTensors
    ) -> str:
        """What happened in the epoch that ended at `step`, whose losses these are, and to which series."""
        first = first_bad(losses)
        bad = first < len(losses)
        first = min(first, len(losses) - 1)
        rows = _worst_series(module, self._draws[first], tensors)
        keys = panel.keys
        names = "; ".join(f"{keys.item[r]} at {keys.location[r]}, {keys.platform[r]}" for r in rows)
        at = step - len(losses) + first + 1
        found = f"{float(losses[first])}" if bad else "a gradient that is none"
        message = f"{DIVERGED}: expected a number, found {found} at step {at}"
        return f"{message}; the largest losses there: {names}"


def first_bad(losses: Sequence[Tensor]) -> int:
    """The index of the first loss that is no number; beyond the last where all are."""
    return next((i for i, loss in enumerate(losses) if not torch.isfinite(loss)), len(losses))


def _worst_series(module: SurgeModule, draw: Draw, tensors: PanelTensors) -> list[int]:
    """Rows of the series with the largest losses of a draw, those without a number first."""
    network = cast(Ensemble, module.averaged.module)
    config = network.config
    with torch.inference_mode():
        windows = gather_windows(tensors, draw.series_B, draw.end_B, config, config.origins)
        targets = gather_targets(windows, config, config.origins, draw.limit, draw.ahead)
        forecast = network.members[0](tensors, windows, config.origins, draw.ahead)
        loss_B = torch.stack([_loss_of(b, forecast, targets) for b in range(len(draw.series_B))])
    order_B = loss_B.nan_to_num(nan=torch.inf).argsort(descending=True)
    rows = draw.series_B[order_B].tolist()
    return list(dict.fromkeys(rows))[:NAMED]


def _loss_of(b: int, forecast: Distribution, targets: Targets) -> Tensor:
    """The loss of one window alone."""
    one = slice(b, b + 1)
    stock = targets.stocked_out_BOH
    return forecast_loss(
        Distribution(*(part[one] for part in forecast)),
        targets.demand_BOH[one],
        targets.counted_BOH[one],
        None if stock is None else stock[one],
    )
