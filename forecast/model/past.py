"""The past of series in few bytes: demand in half precision, shares of periods as bytes, sums made where
they are read.

A series-period takes 2 bytes of demand, 2 of its level (demand as seen, spikes cut), 1 of the share that was
seen, 1 more where stock is recorded, and 2 for each known feature (`forecast.model.tensors`): 5 + 2 F bytes
without stock, so that a million series of two years with one feature take 5.1 GB. To that come the running
sums of the groups that series share (`forecast.model.groups`), 16 bytes a group and period: little where an
item is sold at many locations, more than all the rest where every series is an item of its own.

Letters: S series, T periods, B windows, N periods read for a window, C checkpoints, J ends a patch apart.
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


class Course(NamedTuple):
    """Sums of level and of shares that were seen, of some series, up to J ends a patch apart, oldest first;
    the counts from the series' beginning."""

    level_BJ: Tensor
    count_BJ: Tensor

    def mean(self, n: int, span: int, patch: int) -> tuple[Tensor, Tensor]:
        """(B, n) mean level over the `span` patches before each of the last n ends, and the share of
        them that was seen."""
        stop = self.level_BJ.shape[1]
        last, first = slice(stop - n, stop), slice(stop - n - span, stop - span)
        # Sums made in parallel are rounded in another order, so that a later one may be a hair smaller.
        level_Bn = (self.level_BJ[:, last] - self.level_BJ[:, first]).clamp(min=0)
        count_Bn = (self.count_BJ[:, last] - self.count_BJ[:, first]).clamp(min=0)
        return level_Bn / count_Bn.clamp(min=1), count_Bn / (span * patch)


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

    def course(self, end: Tensor) -> Course:
        """Sums up to each of some ends (exclusive), (B or 1, J)."""
        column = self._column(end)
        return Course(_take(self.level_sum_BN, column), _take(self.count_BN, column))

    def mean(self, end: Tensor, n: int) -> tuple[Tensor, Tensor]:
        """(B, W) mean level over the n periods before each `end` (exclusive), (B or 1, W), and the share of
        them that was seen."""
        last, first = self.course(end), self.course(end - n)
        level = (last.level_BJ - first.level_BJ).clamp(min=0)
        count = (last.count_BJ - first.count_BJ).clamp(min=0)
        return level / count.clamp(min=1), count / n

    def at(self, period: Tensor, *values_BN: Tensor) -> list[Tensor]:
        """Of the series' values, those at some periods, which lie within what was read."""
        column = (period - self.first_B1).clamp(0, self.demand_BN.shape[1] - 1)
        return [_take(values, column) for values in values_BN]

    def _column(self, end: Tensor) -> Tensor:
        return (end.clamp(0, self.n_periods) - self.first_B1).clamp(0, self.demand_BN.shape[1])


def _take(values_BN: Tensor, column: Tensor) -> Tensor:
    """Columns (B, J) of each row, or (1, J) of all."""
    return values_BN[:, column[0]] if len(column) == 1 else values_BN.gather(1, column)


def read_past(packed: PackedPast, series_B: Tensor, end_B: Tensor, back: int, ahead: int) -> Past:
    """The `back` periods before each end and the `ahead` after it, as far as the panel has them.

    end_B: (B,), or (1,) where all windows end together.
    """
    n_series, n_periods = packed.demand_ST.shape
    # A run of n periods begins at a checkpoint, and the last run of a series ends with it.
    n = back + ahead + CHECKPOINT
    n = min(n + (n_periods - n) % CHECKPOINT, n_periods)
    first_B = (end_B - back).clamp(0, n_periods - n)
    first_B = torch.div(first_B, CHECKPOINT, rounding_mode="floor") * CHECKPOINT
    place_B = series_B * n_periods + first_B
    checkpoint_B = series_B * packed.seen_SC.shape[1] + torch.div(first_B, CHECKPOINT, rounding_mode="floor")

    def read(table_ST: Tensor) -> Tensor:
        """Runs of a row are rows of a view in which each begins a period after the one before it."""
        runs = table_ST.as_strided((n_series * n_periods - n + 1, n), (1, 1))
        return runs[place_B]

    unit_B1 = packed.unit_S[series_B][:, None]
    observed_BN = read(packed.observed_ST) / WHOLE
    stock_ST = packed.stocked_out_ST
    return Past(
        first_B1=first_B[:, None],
        n_periods=n_periods,
        demand_BN=read(packed.demand_ST) * unit_B1,
        observed_BN=observed_BN,
        stocked_out_BN=None if stock_ST is None else read(stock_ST) / WHOLE,
        level_sum_BN=running_sum(read(packed.level_ST) * unit_B1),
        count_BN=running_sum(observed_BN) + packed.seen_SC.take(checkpoint_B)[:, None],
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
