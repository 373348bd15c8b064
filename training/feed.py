"""The training feed: a batch is a draw of series and origins; the windows are cut from the panel on the
device."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import IterableDataset

from forecast.model.config import ModelConfig
from forecast.model.groups import NEW_ITEM, NEW_PLACE, OWN
from forecast.model.tensors import PanelTensors
from training.config import TrainingConfig
from training.team import Team


class Draw(NamedTuple):
    """One batch: window b is of series `series_B[b]`, its last origin has observed `end_B[b]` periods; truth
    from `limit` on is hidden; the steps `ahead` of every origin are trained. `hidden_B` says what a window
    acts as if it had no history (`forecast.model.groups`), 0 for nothing; None where none does."""

    series_B: Tensor
    end_B: Tensor
    limit: int
    ahead: slice
    hidden_B: Tensor | None


class OriginFeed(IterableDataset[Draw]):
    """Endless draws. `limit` is moved forward by the curriculum; recent windows are drawn more often than old
    ones. `batch`, the windows of a draw, is made smaller where they do not fit into the device's memory.

    Process r of N draws from the series r, r + N, r + 2 N ..., an N-th of the batch, with numbers of its own;
    the steps ahead and the kinds of cold windows are the same for all.
    """

    def __init__(
        self,
        tensors: PanelTensors,
        model: ModelConfig,
        training: TrainingConfig,
        limit: int,
        team: Team | None = None,
    ) -> None:
        self.limit = limit
        self._team = team or Team()
        # Series of which nothing was ever observed have nothing to teach.
        seen_N = torch.nonzero(tensors.past.seen_SC[:, -1] > 0)[:, 0]
        seen_N = seen_N if len(seen_N) else torch.arange(tensors.n_series, device=tensors.device)
        own_N = seen_N[self._team.rank :: self._team.size]
        self._own_N = own_N if len(own_N) else seen_N
        self._patch = model.patch
        self._oldest = model.patch * model.origins
        self._mean_age = training.half_life * model.patch / math.log(2)
        self.batch = -(-training.windows(model, tensors.n_series, tensors.n_periods) // self._team.size)
        self._horizon, self._part = model.horizon, training.part(model)
        self._cold = training.cold
        self._rng = np.random.default_rng(training.seed)
        self._device = tensors.device
        self._generator = torch.Generator(self._device).manual_seed(self._team.seed(training.seed))

    def __iter__(self) -> Iterator[Draw]:
        while True:
            yield self.draw()

    def draw(self) -> Draw:
        """One batch for the current limit; ends lie at least a patch before it, so that each window has some
        truth."""
        n, device, generator = self.batch, self._device, self._generator
        place_B = torch.randint(len(self._own_N), (n,), device=device, generator=generator)
        series_B = self._own_N[place_B]
        newest = max(self.limit - self._patch, 1)
        span = max(newest - min(self._oldest, newest // 2), 1)
        age_B = torch.empty(n, device=device).exponential_(1 / self._mean_age, generator=generator)
        return Draw(series_B, newest - age_B.long() % span, self.limit, self._steps(), self._hidden())

    def _hidden(self) -> Tensor | None:
        """What windows hide, spread over the batch: half are of new items, a quarter of known items new at a
        known location, a quarter of new locations."""
        n = min(int(self._cold * self.batch + self._rng.random()), self.batch)
        if n == 0:
            return None
        kinds_B = np.zeros(self.batch, np.int64)
        spread_n = np.arange(n) * self.batch // n
        kinds_B[spread_n] = self._rng.choice([OWN, NEW_ITEM, NEW_PLACE], n, p=[0.25, 0.5, 0.25])
        return torch.from_numpy(kinds_B).to(self._device)

    def _steps(self) -> slice:
        """A part of the horizon: neighbouring origins share the days that they forecast, so that more windows
        with fewer steps each teach more than the reverse."""
        first = self._part * int(self._rng.integers(-(-self._horizon // self._part)))
        return slice(first, min(first + self._part, self._horizon))
