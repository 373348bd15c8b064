"""What came true, beside what was forecast from past origins, and sums of the errors.

Letters: B series of a batch, O origins, H horizon, Q levels.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from forecast.quantiles import DECILES, LEVELS
from training.team import Team

Floats = NDArray[np.float32]


class Outcome(NamedTuple):
    """Forecasts of series `rows` at past origins, and what came true: demand (NaN: missing), cut by stock."""

    rows: slice
    truth_BOH: Floats
    censored_BOH: NDArray[np.bool_]
    mean_BOH: Floats
    quantiles_BOHQ: Floats

    @property
    def counted_BOH(self) -> NDArray[np.bool_]:
        """Where the truth is demand itself, not a bound."""
        return np.isfinite(self.truth_BOH) & ~self.censored_BOH


class ErrorSums:
    """Sums of errors over batches, ratio metrics at the end."""

    def __init__(self) -> None:
        self.pinball = self.absolute = self.signed = self.demand = 0.0

    def add(self, part: Outcome) -> None:
        """Add forecasts; only truth that counts is scored."""
        counted = part.counted_BOH
        y = part.truth_BOH[counted].astype(np.float64)
        mean = part.mean_BOH[counted]
        levels = np.asarray([LEVELS[i] for i in DECILES])
        error = y[:, None] - part.quantiles_BOHQ[counted][:, DECILES]
        self.pinball += float(np.maximum(levels * error, (levels - 1) * error).mean(1).sum())
        self.signed += float((mean - y).sum())
        self.absolute += float(np.abs(mean - y).sum())
        self.demand += float(y.sum())

    def metrics(self, team: Team) -> dict[str, float]:
        """WQL over the deciles, WAPE of the mean, bias (share of demand), over what all processes added."""
        sums = np.array([self.pinball, self.absolute, self.signed, self.demand])
        pinball, absolute, signed, demand = team.total(sums).tolist()
        total = max(demand, 1e-9)
        return {"wql": 2 * pinball / total, "wape": absolute / total, "bias": signed / total}
