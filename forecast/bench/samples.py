"""Repeated measurements: their medians and spreads."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np


class Samples:
    """Values of metrics, one a repeat."""

    def __init__(self) -> None:
        self._values: dict[str, list[float]] = {}

    def add(self, values: Mapping[str, float]) -> None:
        """The metrics of one more repeat."""
        for name, value in values.items():
            self._values.setdefault(name, []).append(float(value))

    def results(self) -> dict[str, float]:
        """The median of each metric, and as NAME_spread its interquartile range over the median (0 for one
        repeat)."""
        found: dict[str, float] = {}
        for name, values in self._values.items():
            low, middle, high = np.percentile(values, (25, 50, 75)).tolist()
            found |= {name: middle, f"{name}_spread": (high - low) / middle if middle else 0.0}
        return found
