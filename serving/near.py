"""What was perhaps meant by a key that no series has."""

from __future__ import annotations

import bisect
import difflib
from functools import cached_property
from typing import Final

import numpy as np

from forecast.errors import NotFoundError
from forecast.snapshot import Snapshot

_COMPARED: Final = 500
"""Names that one question is compared with at most, so that a stranger's typing errors cost little."""


class Neighbours:
    """Finds names of a snapshot that look like one that it does not hold."""

    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot

    def unknown(self, key: tuple[str, str, str], field: str) -> NotFoundError:
        """The error for a key without a series: says what is unknown, and what is near."""
        item, location, platform = key
        keys = self._snapshot.keys
        known = f"a series of snapshot {self._snapshot.manifest.id}"
        position = bisect.bisect_left(self._items, item)
        if position == len(self._items) or self._items[position] != item:
            return NotFoundError(field, expected=known, found=f"no item {item!r}; near: {self._near(item)}")
        rows = np.flatnonzero(keys.item == item)
        found = f"no {item!r} at {location!r} on {platform!r}; it is at: "
        places = {f"{keys.location[row]} on {keys.platform[row]}" for row in rows[:200]}
        near = difflib.get_close_matches(f"{location} on {platform}", places, n=3, cutoff=0.0)
        return NotFoundError(field, expected=known, found=found + "; ".join(near))

    @cached_property
    def _items(self) -> list[str]:
        return sorted(set(self._snapshot.keys.item.tolist()))

    def _near(self, item: str) -> str:
        position = bisect.bisect_left(self._items, item)
        first = max(0, position - _COMPARED // 2)
        near = difflib.get_close_matches(item, self._items[first : first + _COMPARED], n=20, cutoff=0.0)
        # Of names that differ by as much, people mistype the end more often than the beginning.
        near.sort(key=lambda name: -_shared_beginning(name, item))
        return ", ".join(near[:3])


def _shared_beginning(a: str, b: str) -> int:
    return next((n for n, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))
