"""The level of the means, set right by the totals of the model's last forecasts whose truth is known.

A market that grows faster than the years it was learned from leaves every mean a little low; no single
series shows it, the total does, and at the top levels it is most of the error.

Letters: O past origins, H horizon.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

LIMIT = 1.25
"""A correction beyond this is not a level but a fault elsewhere, and is cut to it."""


def level_correction(
    demand_OH: NDArray[np.float64], mean_OH: NDArray[np.float64], *, patch: int
) -> NDArray[np.float32]:
    """(H,) factors for the means, from totals over all series of demand and of its means.

    Origins lie a patch apart, so H / patch of them share their periods and count as one. The log ratio is a
    line over the steps, laid through whole patches, which evens out weekdays. The correction is drawn
    towards none by its own uncertainty: r^2 / (r^2 + s^2 / n) of it is kept, where r is the mean log ratio
    over n independent origins and s its spread.
    """
    horizon = demand_OH.shape[1]
    if not len(demand_OH) or not (demand_OH.sum(1) > 0).all() or not (mean_OH.sum(1) > 0).all():
        return np.ones(horizon, np.float32)
    ratio_O = np.log(demand_OH.sum(1) / mean_OH.sum(1))
    independent = max(len(ratio_O) * patch / max(horizon, patch), 1.0)
    spread = float(ratio_O.var(ddof=1)) if len(ratio_O) > 1 else np.inf
    mean_square = float(ratio_O.mean()) ** 2
    kept = mean_square / (mean_square + spread / independent) if mean_square > 0 else 0.0
    whole = max(horizon // patch, 1)
    starts = np.arange(whole) * patch
    block_W = np.add.reduceat(demand_OH.sum(0)[: whole * patch], starts) / np.maximum(
        np.add.reduceat(mean_OH.sum(0)[: whole * patch], starts), 1e-9
    )
    centre_W = starts + (min(patch, horizon) - 1) / 2
    line = np.polynomial.Polynomial.fit(centre_W, np.log(np.maximum(block_W, 1e-9)), deg=min(whole - 1, 1))
    factor_H = np.exp(line(np.arange(horizon)))
    limited: NDArray[np.float32] = np.clip(factor_H**kept, 1 / LIMIT, LIMIT).astype(np.float32)
    return limited
