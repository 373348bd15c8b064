"""The processes that train one model together, as one of them sees them.

All of them make the same calls in the same order. What they exchange here is small and lies on the CPU
(gloo), so that agreeing never waits for a GPU; gradients are exchanged by DDP. A process alone exchanges
nothing and gets back what it gave.

Letters: S series.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import torch
import torch.distributed as dist
from numpy.typing import NDArray
from torch import Tensor

LEADER: Final = 0
"""The rank whose clock, reports and bundle count."""


class Team:
    """Process `rank` of `size`; its share of n series are the rows rank, rank + size, rank + 2 size ..."""

    def __init__(self, rank: int = 0, size: int = 1) -> None:
        self.rank = rank
        self.size = size
        self._group: Any = None if self.alone else dist.new_group(backend="gloo")

    @property
    def alone(self) -> bool:
        """Whether there is nobody to agree with."""
        return self.size == 1

    @property
    def leads(self) -> bool:
        """Whether this is the process that decides and reports."""
        return self.rank == LEADER

    def seed(self, seed: int) -> int:
        """A seed of this process's own; the leader's is the seed itself."""
        return seed + 1_000_003 * self.rank

    def decide(self, value: float) -> float:
        """The leader's value, on all."""
        if self.alone:
            return value
        return float(self._broadcast(torch.tensor(value, dtype=torch.float64), LEADER))

    def total(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Sums over the processes, the same bits on all."""
        if self.alone:
            return values
        sums = torch.from_numpy(np.array(values, np.float64))
        dist.all_reduce(sums, group=self._group)
        return np.asarray(sums.numpy())

    def mean(self, value: float) -> float:
        """Mean over the processes."""
        return float(self.total(np.array([value]))[0]) / self.size

    def every(self, good: bool) -> bool:
        """Whether it is so on every process."""
        return self.mean(float(good)) == 1.0

    def least(self, value: float) -> int:
        """The rank with the least value, the first of equals."""
        values = np.zeros(self.size)
        values[self.rank] = value
        return int(np.argmin(self.total(values)))

    def text(self, text: str, rank: int) -> str:
        """The text of one process, on all."""
        if self.alone:
            return text
        data = torch.tensor(list(text.encode()), dtype=torch.uint8)
        n = int(self._broadcast(torch.tensor(len(data)), rank))
        data = data if self.rank == rank else torch.zeros(n, dtype=torch.uint8)
        return bytes(self._broadcast(data, rank).tolist()).decode()

    def gather(self, part_SX: NDArray[np.float32], n_series: int) -> NDArray[np.float32] | None:
        """The shares of all processes, put together in the order of the series, for the leader; None for the
        others."""
        if self.alone:
            return part_SX
        most = -(-n_series // self.size)
        sent = torch.zeros((most, *part_SX.shape[1:]))
        sent[: len(part_SX)] = torch.from_numpy(np.ascontiguousarray(part_SX))
        parts = [torch.empty_like(sent) for _ in range(self.size)] if self.leads else None
        dist.gather(sent, parts, dst=LEADER, group=self._group)
        if parts is None:
            return None
        whole_SX = np.empty((n_series, *part_SX.shape[1:]), np.float32)
        for rank, part in enumerate(parts):
            rows = whole_SX[rank :: self.size]
            rows[:] = part.numpy()[: len(rows)]
        return whole_SX

    def _broadcast(self, values: Tensor, rank: int) -> Tensor:
        dist.broadcast(values, src=rank, group=self._group)
        return values
