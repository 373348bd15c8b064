"""How much of a training is spent, and when its first stage has nothing left to gain."""

from __future__ import annotations

import copy
import math
import time
from typing import Any, NamedTuple

from torch import Tensor

from training.config import TrainingConfig
from training.team import Team

GAIN = 0.001
"""Share by which validation must improve to count."""


class Mark(NamedTuple):
    """A moment of a training: its steps and its seconds."""

    step: int
    seconds: float


class Budget:
    """Steps or minutes, whichever is nearer its end.

    spent: seconds that have gone by already. Several processes go by the leader's clock, once a step.
    """

    def __init__(self, training: TrainingConfig, team: Team | None = None, *, spent: float = 0.0) -> None:
        self.total_steps = training.steps
        self._limit = None if training.minutes is None else training.minutes * 60
        self._seconds = self._limit
        self._start = time.monotonic() - spent
        self._team = team or Team()
        self._agreed = 0.0
        self._wasted = Mark(0, 0.0)
        self.step = 0

    def tick(self) -> None:
        """Count a step."""
        self.step += 1
        if self._seconds is not None and not self._team.alone:
            self._agreed = self._team.decide(self.seconds)

    @property
    def seconds(self) -> float:
        """Since the start."""
        return time.monotonic() - self._start

    @property
    def mark(self) -> Mark:
        """This moment, on all processes."""
        return Mark(self.step, self._elapsed)

    @property
    def fraction(self) -> float:
        """Spent, 0..1, what was wasted left out."""
        wasted_steps, wasted_s = self._wasted
        by_steps = (self.step - wasted_steps) / max(self.total_steps - wasted_steps, 1)
        by_time = (
            0.0 if self._seconds is None else (self._elapsed - wasted_s) / max(self._seconds - wasted_s, 1e-3)
        )
        return min(max(by_steps, by_time), 1.0)

    def shorten(self, share: float, best: Mark | None = None) -> None:
        """Plan the rest as if what is spent by now, or was at `best`, were `share` of the whole; what was
        spent since is wasted."""
        if best is not None:
            self._wasted = Mark(self.step - best.step, self._elapsed - best.seconds)
        wasted_steps, wasted_s = self._wasted
        steps = wasted_steps + round((self.step - wasted_steps) / share)
        self.total_steps = min(self.total_steps, max(steps, self.step + 1))
        if self._seconds is not None:
            self._seconds = min(self._seconds, wasted_s + (self._elapsed - wasted_s) / share)

    def keep(self, seconds: float) -> None:
        """End so much before the minutes do."""
        if self._seconds is not None and self._limit is not None:
            self._seconds = min(self._seconds, max(self._limit - seconds, 1e-3))

    @property
    def _elapsed(self) -> float:
        """Seconds that all processes agree on."""
        return self.seconds if self._team.alone else self._agreed


class Patience:
    """Tells when validation has not improved by `GAIN` for so many times."""

    def __init__(self, times: int) -> None:
        self._times = times
        self._best = math.inf
        self._stale = 0

    def lost(self, wql: float) -> bool:
        """Take the next result. It is held against the last gain that counted, so that small ones add up."""
        if wql < self._best * (1 - GAIN):
            self._best, self._stale = wql, 0
        else:
            self._stale += 1
        return self._stale >= self._times


class Best:
    """The weights with the best validation so far, and when that was."""

    def __init__(self) -> None:
        self._wql = math.inf
        self._weights: dict[str, Tensor] = {}
        self.mark = Mark(0, 0.0)

    def saw(self, wql: float, module: Any, mark: Mark) -> bool:
        """Take the next result of a module, a network and its `averaged` weights; whether it is worse than
        the best by more than `GAIN`."""
        if wql < self._wql:
            self._wql, self._weights, self.mark = wql, copy.deepcopy(module.state_dict()), mark
        return wql > self._wql * (1 + GAIN)

    def restore(self, module: Any) -> None:
        """Put the best weights back."""
        module.load_state_dict(self._weights)
