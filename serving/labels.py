"""What series are called, as numbers: the labels that filters and groups go by."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from forecast.snapshot import Snapshot


@dataclass(frozen=True, kw_only=True)
class Label:
    """A label of S series: its distinct values, ascending, and which of them each series has."""

    values: list[str]
    number_S: NDArray[np.int32]

    def number(self, value: str) -> int:
        """The number of a value; -1 when no series has it."""
        at = bisect_left(self.values, value)
        return at if at < len(self.values) and self.values[at] == value else -1


class Labels:
    """Item, location, platform and the static labels of a snapshot, each numbered when it is first needed.

    A static label that has the name of a part of the key is not seen.
    """

    def __init__(self, snapshot: Snapshot) -> None:
        keys = snapshot.keys
        parts = {"item": keys.item, "location": keys.location, "platform": keys.platform}
        self._columns = {**snapshot.statics, **parts}
        self._numbered: dict[str, Label] = {}
        self.static_names: tuple[str, ...] = tuple(snapshot.statics)
        self.names: tuple[str, ...] = (*parts, *(name for name in snapshot.statics if name not in parts))

    def __getitem__(self, name: str) -> Label:
        """A label of `names`. Two threads may number it at once: they find the same."""
        if name not in self._numbered:
            self._numbered[name] = _numbered(self._columns[name].tolist())
        return self._numbered[name]


def _numbered(column: Sequence[str]) -> Label:
    values = sorted(set(column))
    number = {value: n for n, value in enumerate(values)}
    number_S = np.fromiter(map(number.__getitem__, column), np.int32, count=len(column))
    return Label(values=values, number_S=number_S)
