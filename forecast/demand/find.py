"""Which row of a panel a series is."""

from __future__ import annotations

import difflib

import numpy as np
from numpy.typing import NDArray

from forecast.demand.panel import SeriesKeys
from forecast.errors import NotFoundError

SHOWN = 3
"""Names that a message offers at most."""


def find_series(keys: SeriesKeys, *, item: str, location: str, platform: str) -> int:
    """The row of a series.

    Raises:
        NotFoundError: no such series; it names the first key that nothing fits, and what is near.
    """
    row_N = np.arange(len(keys))
    for name, wanted in (("item", item), ("location", location), ("platform", platform)):
        label_N = getattr(keys, name)[row_N]
        fitting_N = row_N[label_N == wanted]
        if not len(fitting_N):
            of = {"item": "", "location": f" of item {item}", "platform": f" of {item} at {location}"}
            raise NotFoundError(name, expected=f"{_offer(label_N, wanted)}{of[name]}", found=wanted)
        row_N = fitting_N
    return int(row_N[0])


def _offer(labels: NDArray[np.str_], wanted: str) -> str:
    """The labels most like what was asked for, or the first ones."""
    names = np.unique(labels).tolist()
    near = difflib.get_close_matches(wanted, names, n=SHOWN) or names[:SHOWN]
    left_out = len(names) - len(near)
    return f"one such as {', '.join(near)}" if left_out else f"one of {', '.join(near)}"
