"""A panel in runs of neighbouring series, so that the dense arrays of a large one never exist as a whole.

Letters: S series, T observed periods, P periods with known features.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Final

import numpy as np

from forecast.demand.panel import Floats, Panel

WHOLE_BYTES: Final = 1 << 30
"""Dense arrays up to so many bytes are held whole, so that each series is read once."""
SHARD_BYTES: Final = 1 << 28
"""Of the dense arrays of a shard of a larger panel; two may be there at a time."""
ALIGNED: Final = 1024
"""Series that a shard is a multiple of: whole blocks of what is done to many series at once."""

Load = Callable[[slice], Panel]


class PanelShards:
    """A panel as an outline of all series and a function that makes the panel of a run of them.

    outline: keys, labels, events and axis of all series, without their numbers (`without_numbers`).
    """

    def __init__(self, outline: Panel, load: Load, rows: list[slice]) -> None:
        self.outline = outline
        self.rows = rows
        self._load = load

    @classmethod
    def of(cls, panel: Panel) -> PanelShards:
        """A panel that is there already, in one piece."""
        return cls(panel, lambda _rows: panel, [slice(0, panel.n_series)])

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[tuple[slice, Panel]]:
        """The runs of series, first to last, and their panels."""
        for rows in self.rows:
            yield rows, self._load(rows)


def without_numbers(shape: tuple[int, int], n_known: Mapping[str, int]) -> tuple[Floats, dict[str, Floats]]:
    """Demand of a `shape` (S, T) and known features of so many periods, all missing, in no memory to speak
    of."""
    nothing = np.float32(np.nan)
    known = {name: np.broadcast_to(nothing, (shape[0], n)) for name, n in n_known.items()}
    return np.broadcast_to(nothing, shape), known


def outline_of(panel: Panel) -> Panel:
    """A panel without its numbers."""
    demand_ST, known = without_numbers(
        panel.demand_ST.shape, {name: values.shape[1] for name, values in panel.known.items()}
    )
    return replace(panel, demand_ST=demand_ST, stocked_out_ST=None, known=known)


def series_bytes(n_periods: int, n_known: Mapping[str, int], *, stock: bool) -> int:
    """Bytes of a series in the dense arrays of a panel: 4 a number."""
    return 4 * (n_periods * (1 + stock) + sum(n_known.values()))


def cut(n_series: int, n_bytes: int, whole_bytes: int | None = None) -> list[slice]:
    """Runs of series of `n_bytes` each that fit `SHARD_BYTES`; one of all where they fit `whole_bytes`,
    `WHOLE_BYTES` unless told."""
    whole_bytes = WHOLE_BYTES if whole_bytes is None else whole_bytes
    if n_series * n_bytes <= whole_bytes:
        return [slice(0, n_series)]
    n = max(min(SHARD_BYTES, whole_bytes) // n_bytes // ALIGNED, 1) * ALIGNED
    return [slice(first, min(first + n, n_series)) for first in range(0, n_series, n)]
