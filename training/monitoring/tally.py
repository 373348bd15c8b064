"""Sums of losses by part, so that the metrics of many series are found without holding them all.

The losses of each series and period come from `forecast.evaluation.metrics.statistics`; what is summed here
gives what `aggregate` gives, whichever run of series is added when.

Letters: S series, H periods.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from forecast.evaluation.metrics import COVERAGES, Mask, Statistics, coverage


class Part(NamedTuple):
    """What is scored apart: `segment` and `fast`, `event` and `11.11 2025` ..."""

    dimension: str
    value: str


ALL: Final = Part("all", "all")
BANDS: Final = tuple(f"{100 * share:.0f}" for share in COVERAGES)
SUMS: Final = (
    "n",
    "units",
    "error",
    "absolute_error",
    "quantile_loss",
    *(f"inside_{band}" for band in BANDS),
    "naive_absolute_error",
    "naive_quantile_loss",
)
"""What is summed: scored periods of series; their demand; errors of the mean, of the median, quantile losses;
truths inside the bands; the same losses of the seasonal naive. The names are columns of the scores' table."""


class Tally:
    """Sums of a snapshot by part."""

    def __init__(self) -> None:
        self._sums: dict[Part, NDArray[np.float64]] = {}

    def add(self, own: Statistics, naive: Statistics, masks: Mapping[Part, Mask]) -> None:
        """Count the scored periods of some series, (S, H), in each part whose mask, which broadcasts, selects
        them."""
        for part, mask_SH in masks.items():
            sums = _sums(own, naive, own.scored_SH & mask_SH)
            self._sums[part] = self._sums.get(part, np.zeros(len(SUMS))) + sums

    def rows(self) -> list[dict[str, str | float]]:
        """dimension, value and `SUMS` of each part that occurred; `all` is always there."""
        found = {ALL: np.zeros(len(SUMS)), **self._sums}
        return [
            {"dimension": part.dimension, "value": part.value, **dict(zip(SUMS, sums.tolist(), strict=True))}
            for part, sums in found.items()
            if sums[0] or part == ALL
        ]


def _sums(own: Statistics, naive: Statistics, chosen_SH: Mask) -> NDArray[np.float64]:
    def total(values_SH: NDArray[np.floating]) -> float:
        return float(np.sum(values_SH, where=chosen_SH, dtype=np.float64))

    n = int(chosen_SH.sum())
    pit = own.pit_low_SH[chosen_SH], own.pit_high_SH[chosen_SH]
    return np.array(
        [
            n,
            total(np.abs(own.truth_SH)),
            total(own.error_SH),
            total(own.absolute_error_SH),
            total(own.quantile_loss_SH),
            *(coverage(pit, share) * n if n else 0.0 for share in COVERAGES),
            total(naive.absolute_error_SH),
            total(naive.quantile_loss_SH),
        ]
    )
