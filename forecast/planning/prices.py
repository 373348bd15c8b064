"""How dear a series is beside its like, for prices that are not in the panel.

Letters: S series, A prices.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from forecast.demand.panel import Panel
from forecast.model.schema import FeatureSchema

LIMIT = 3.0
"""Of a level, as of `FeatureSchema.price_levels`."""


class PriceLevels:
    """The prices of the series of each department (first static), in order."""

    def __init__(self, panel: Panel, schema: FeatureSchema, horizon: int) -> None:
        """As `FeatureSchema.price_levels` reads them."""
        prices_SA = schema.mean_prices(panel, horizon)
        self.names = tuple(feature.name for feature in schema.known if feature.relative)
        first = next(iter(panel.statics.values()), np.zeros(panel.n_series, np.str_))
        departments, department_S = np.unique(first, return_inverse=True)
        ends = np.cumsum(np.bincount(department_S, minlength=len(departments)))[:-1]
        self._sorted: dict[tuple[str, str], NDArray[np.float64]] = {}
        for name, log_S in zip(self.names, prices_SA.T, strict=True):
            in_order = log_S[np.lexsort((log_S, department_S))]
            for department, of_it in zip(departments.tolist(), np.split(in_order, ends), strict=True):
                self._sorted[name, str(department)] = of_it[np.isfinite(of_it)]

    def of_new(self, name: str, department: str, log_price: float) -> float:
        """The level of a series that is not among those of the department, 0 where its price is unknown."""
        if not np.isfinite(log_price):
            return 0.0
        others = self._sorted.get((name, department), np.empty(0))
        place, n = int(np.searchsorted(others, log_price)), len(others) + 1

        def merged(i: int) -> float:
            return log_price if i == place else float(others[i if i < place else i - 1])

        median = (merged((n - 1) // 2) + merged(n // 2)) / 2
        return float(np.clip(log_price - median, -LIMIT, LIMIT))
