"""The quantile levels of every forecast: M5's nine and the deciles."""

from __future__ import annotations

from typing import Final

LEVELS: Final[tuple[float, ...]] = (
    0.005, 0.025, 0.1, 0.165, 0.2, 0.25, 0.3, 0.4, 0.5, 0.6, 0.7, 0.75, 0.8, 0.835, 0.9, 0.975, 0.995,
)  # fmt: skip
MEDIAN: Final[int] = LEVELS.index(0.5)
DECILES: Final[tuple[int, ...]] = tuple(
    LEVELS.index(q) for q in (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
)
M5_NINE: Final[tuple[int, ...]] = tuple(
    LEVELS.index(q) for q in (0.005, 0.025, 0.165, 0.25, 0.5, 0.75, 0.835, 0.975, 0.995)
)


def band(coverage: float) -> tuple[int, int]:
    """Indices into `LEVELS` of the central band nearest to `coverage` (0.5, 0.8, 0.95 and 0.99 are exact)."""
    lower = min(range(MEDIAN), key=lambda i: abs(LEVELS[i] - (1 - coverage) / 2))
    return lower, len(LEVELS) - 1 - lower
