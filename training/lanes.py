"""Lanes: on a CPU the windows of a step are cut into two parts, each worked on by a thread with half of the
cores.

One thread does a part while another does the other, which is sooner done than both parts one after the other
by all cores: most operations of a step are too small to share. A batch is cut in the same way on any number
of cores, so that the same seed gives the same weights.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, NamedTuple

import torch
from torch import Tensor

from training.feed import Draw

LANES: Final = 2
LEAST: Final = 4480
"""Pairs of origin and step ahead in a part; smaller parts would wait for the interpreter, not for a core."""


class PartLoss(NamedTuple):
    """The loss of some windows: its sum, over how many pairs, and the gradients of the sum by parameter."""

    total: Tensor
    pairs: Tensor
    gradients: tuple[Tensor | None, ...]


def cut(draw: Draw, origins: int) -> list[Draw]:
    """The draw in `LANES` parts of equally many windows; whole where the parts would be small."""
    n = len(draw.series_B)
    each = -(-n // LANES)
    if (n - each) * origins * (draw.ahead.stop - draw.ahead.start) < LEAST:
        return [draw]
    return [_part(draw, lane, slice(lane * each, (lane + 1) * each)) for lane in range(LANES)]


def _part(draw: Draw, lane: int, rows: slice) -> Draw:
    return draw._replace(
        series_B=draw.series_B[rows],
        end_B=draw.end_B[rows],
        hidden_B=None if draw.hidden_B is None else draw.hidden_B[rows],
        seed=draw.seed + lane,
    )


class Lanes:
    """The threads, which wait from step to step."""

    def __init__(self) -> None:
        self._pool: ThreadPoolExecutor | None = None

    def loss(
        self,
        parts: Sequence[Draw],
        loss_of: Callable[[Draw], tuple[Tensor, Tensor]],
        parameters: Sequence[Tensor],
    ) -> Tensor:
        """The mean loss of all parts, whose `backward` hands on the gradients that the lanes computed.

        loss_of: sum of the loss of a part and the number of its pairs. Raises what that raises.
        """
        if self._pool is None:
            threads = torch.get_num_threads()
            share = max(threads // LANES, 1)
            self._pool = ThreadPoolExecutor(LANES, "lane", torch.set_num_threads, (share,))
        futures = [self._pool.submit(_gradients, loss_of, part, parameters) for part in parts]
        found = [future.result() for future in futures]
        count = torch.stack([part.pairs for part in found]).sum().clamp(min=1)
        total = torch.stack([part.total for part in found]).sum()
        sums = [_sum(several) for several in zip(*(part.gradients for part in found), strict=True)]
        mean: Tensor = _Given.apply(total / count, count, sums, *parameters)  # type: ignore[no-untyped-call]
        return mean


def _gradients(
    loss_of: Callable[[Draw], tuple[Tensor, Tensor]], part: Draw, parameters: Sequence[Tensor]
) -> PartLoss:
    total, count = loss_of(part)
    gradients = torch.autograd.grad(total, parameters, allow_unused=True)
    return PartLoss(total.detach(), count, gradients)


def _sum(gradients: Sequence[Tensor | None]) -> Tensor | None:
    """In the order of the lanes, whichever was done first."""
    there = [gradient for gradient in gradients if gradient is not None]
    return torch.stack(there).sum(0) if there else None


class _Given(torch.autograd.Function):
    """A loss with gradients that are known already, so that whoever calls `backward` need not know."""

    @staticmethod
    def forward(
        ctx: Any, loss: Tensor, count: Tensor, sums: Sequence[Tensor | None], *parameters: Tensor
    ) -> Tensor:
        """The loss; `sums` are gradients of the loss times `count`."""
        ctx.count, ctx.sums = count, sums
        return loss

    @staticmethod
    def backward(ctx: Any, *outer: Tensor) -> Any:
        """The gradients over the count."""
        factor = outer[0] / ctx.count
        return (None, None, None, *(None if one is None else one * factor for one in ctx.sums))
