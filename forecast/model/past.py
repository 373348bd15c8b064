"""The past of series in few bytes: demand in half precision, shares of periods as bytes, sums made where
they are read.

A series-period takes 2 bytes of demand, 2 of its level (demand as seen, spikes cut), 1 of the share that was
seen, 1 more where stock is recorded, and 2 for each known feature (`forecast.model.tensors`): 5 + 2 F bytes
without stock, so that a million series of two years with one feature take 5.1 GB. To that come the running
sums of the groups that series share (`forecast.model.groups`), 16 bytes a group and period: little where an
item is sold at many locations, more than all the rest where every series is an item of its own.

Letters: S series, T periods, B windows, N periods read for a window, C checkpoints.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import torch
from torch import Tensor

LARGEST: Final = 32768.0
"""Of what is stored in half precision, which ends at 65504."""
WHOLE: Final = 255
CHECKPOINT: Final = 64
"""Periods between two stored counts of what was seen before."""


def half_units(values_ST: Tensor) -> Tensor:
    """(S,) the unit in which a series is stored.

    A power of two, so that a value has the relative precision of half floats (0.05 %) whatever else its
    series holds, down to 2e-9 of the largest; 1, where whole numbers up to 2048 are exact, wherever the
    largest value allows.
    """
    largest_S = values_ST.amax(dim=1).clamp(min=1e-9)
    power_S = torch.log2(largest_S / LARGEST).ceil().clamp(min=0) + torch.log2(largest_S).floor().clamp(max=0)
    return torch.exp2(power_S)


def pack_half(values_ST: Tensor, unit_S: Tensor) -> Tensor:
    """(S, T) float16 in units of each series."""
    return (values_ST / unit_S[:, None]).to(torch.float16)


def pack_shares(shares_ST: Tensor) -> Tensor:
    """(S, T) uint8 of shares 0..1; a share above 0 stays above 0."""
    return torch.where(shares_ST > 0, (shares_ST * WHOLE).round().clamp(1, WHOLE), 0).to(torch.uint8)


class PackedPast(NamedTuple):
    """What was observed of all series.

    demand_ST, level_ST: float16, times `unit_S`; level is demand as seen with its spikes cut.
    observed_ST, stocked_out_ST: uint8 shares. seen_SC: float32 periods seen before each checkpoint.
    """

    demand_ST: Tensor
    level_ST: Tensor
    observed_ST: Tensor
    stocked_out_ST: Tensor | None
    unit_S: Tensor
    seen_SC: Tensor


class Past(NamedTuple):
    """What was observed of the series of some windows, from period `first_B1` on, 0 outside of the panel.

    first_B1: (B, 1), or (1, 1) where windows share it. demand_BN in units, observed_BN and stocked_out_BN
    shares. level_sum_BN, count_BN: (B, N + 1) sums of level and of shares up to each period, the counts from
    the series' beginning.
    """

    first_B1: Tensor
    n_periods: int
    demand_BN: Tensor
    observed_BN: Tensor
    stocked_out_BN: Tensor | None
    level_sum_BN: Tensor
    count_BN: Tensor

    def total(self, end: Tensor, n: int) -> tuple[Tensor, Tensor]:
        """Sum of level over the n periods before `end` (exclusive), (B or 1, W), and of what was seen."""
        last, first = self._column(end), self._column(end - n)
        level = self.level_sum_BN.gather(1, last) - self.level_sum_BN.gather(1, first)
        count = self.count_BN.gather(1, last) - self.count_BN.gather(1, first)
        # Sums made in parallel are rounded in another order, so that a later one may be a hair smaller.
        return level.clamp(min=0), count.clamp(min=0)

    def mean(self, end: Tensor, n: int) -> tuple[Tensor, Tensor]:
        """Mean level over the n periods before `end`, and the share of them that was seen."""
        level, count = self.total(end, n)
        return level / count.clamp(min=1), count / n

    def seen(self, end: Tensor) -> Tensor:
        """Periods seen before `end`, from the beginning."""
        return self.count_BN.gather(1, self._column(end))

    def at(self, values_BN: Tensor, period: Tensor) -> Tensor:
        """One of the series' values at some periods, which lie within what was read."""
        column = (period - self.first_B1).clamp(0, values_BN.shape[1] - 1)
        return values_BN.gather(1, column.expand(len(values_BN), -1))

    def _column(self, end: Tensor) -> Tensor:
        column = (end.clamp(0, self.n_periods) - self.first_B1).clamp(0, self.demand_BN.shape[1])
        return column.expand(len(self.demand_BN), -1)


def read_past(packed: PackedPast, series_B: Tensor, end_B: Tensor, back: int, ahead: int) -> Past:
    """The `back` periods before each end and the `ahead` after it, or all of a panel that has no more.

    end_B: (B,), or (1,) where all windows end together.
    """
    n_periods = packed.demand_ST.shape[1]
    n, first_B = back + ahead + CHECKPOINT, end_B - back
    if n < n_periods:
        first_B = torch.div(first_B, CHECKPOINT, rounding_mode="floor") * CHECKPOINT
    else:
        n, first_B = n_periods, torch.zeros_like(end_B[:1])
    first_B1, row_B1 = first_B[:, None], series_B[:, None]
    period = first_B1 + torch.arange(n, device=series_B.device)
    inside = (period >= 0) & (period < n_periods)
    period = period.clamp(0, n_periods - 1)

    def read(table_ST: Tensor) -> Tensor:
        return table_ST[row_B1, period] * inside

    unit_B1 = packed.unit_S[series_B][:, None]
    observed_BN = read(packed.observed_ST) / WHOLE
    place = torch.div(first_B1, CHECKPOINT, rounding_mode="floor").clamp(0, packed.seen_SC.shape[1] - 1)
    before_B1 = packed.seen_SC[row_B1, place]
    stock_ST = packed.stocked_out_ST
    return Past(
        first_B1=first_B1,
        n_periods=n_periods,
        demand_BN=read(packed.demand_ST) * unit_B1,
        observed_BN=observed_BN,
        stocked_out_BN=None if stock_ST is None else read(stock_ST) / WHOLE,
        level_sum_BN=running_sum(read(packed.level_ST) * unit_B1),
        count_BN=running_sum(observed_BN) + before_B1,
    )


def seen_before(observed_ST: Tensor) -> Tensor:
    """(S, C) float32 sums of packed shares before each checkpoint, as periods."""
    s, t = observed_ST.shape
    padded_ST = torch.nn.functional.pad(observed_ST, (0, -t % CHECKPOINT))
    blocks_SC = padded_ST.reshape(s, -1, CHECKPOINT).sum(dim=2, dtype=torch.float32) / WHOLE
    return torch.nn.functional.pad(blocks_SC.cumsum(1), (1, 0))


def running_sum(values_BN: Tensor) -> Tensor:
    """(B, N + 1) sums of the first n values of each row."""
    return torch.nn.functional.pad(values_BN.cumsum(1), (1, 0))
