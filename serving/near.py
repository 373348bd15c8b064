"""What was perhaps meant by a key that no series has."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from typing import Final

import numpy as np

from forecast.errors import NotFoundError
from forecast.snapshot import Snapshot

_CUTOFF: Final = 0.6
"""Least similarity (difflib's ratio) of a name that holds none of the words asked for."""
_COMPARED: Final = 300
"""Names that one question is compared with letter by letter at most: a typing error must cost little."""
_SEARCHED: Final = 2_000
"""Names that hold the longest word at most, of those that hold all words."""
_PIECES: Final = 8
_SHOWN: Final = 3


class Neighbours:
    """Finds names that look like one that is not among them. Upper and lower case are the same."""

    def __init__(self, names: Iterable[str]) -> None:
        self._names = list(dict.fromkeys(names))
        self._folded = [name.casefold() for name in self._names]
        self._text = "\n".join(self._folded)  # no name holds a control character
        self._starts = np.cumsum([0, *(len(name) + 1 for name in self._folded)])

    def near(self, name: str) -> list[str]:
        """Up to 3 names: those that hold the whole text asked for, then those that hold all its words, then
        similar ones; none when nothing is near.

        At most some 20 searches of all the text, and `_COMPARED` comparisons of two names.
        """
        wanted = name.casefold().strip()
        words = sorted(re.findall(r"[^\W_]+", wanted), key=len, reverse=True)
        if not words:
            return []
        matcher = difflib.SequenceMatcher(b=wanted, autojunk=False)
        ranked = []
        for row in self._candidates(wanted, words):
            folded = self._folded[row]
            holds, holds_words = wanted in folded, all(word in folded for word in words)
            matcher.set_seq1(folded)
            if holds or holds_words or matcher.quick_ratio() >= _CUTOFF:
                ratio = matcher.ratio()
                if holds or holds_words or ratio >= _CUTOFF:
                    # Of names that differ by as much, people mistype the end more often than the beginning.
                    begins = _shared_beginning(folded, wanted)
                    ranked.append((not holds, not holds_words, -ratio, -begins, self._names[row]))
        return [one[-1] for one in sorted(ranked)[:_SHOWN]]

    def _candidates(self, wanted: str, words: list[str]) -> list[int]:
        if len(self._names) <= _COMPARED:
            return list(range(len(self._names)))
        rows = dict.fromkeys(self._holding(wanted, _COMPARED // 3))
        with_words = (
            row
            for row in self._holding(words[0], _SEARCHED)
            if all(word in self._folded[row] for word in words)
        )
        rows |= dict.fromkeys(row for row, _ in zip(with_words, range(_COMPARED // 3), strict=False))
        # A name with a few wrong letters shares some piece with the right one: the rarest tell most.
        length = max(1, min(3, len(wanted) // 2))
        step = max(1, -(-len(wanted) // _PIECES))
        pieces = {wanted[at : at + length] for at in range(0, len(wanted) - length + 1, step)}
        counts = {piece: self._text.count(piece) for piece in pieces}
        for piece in sorted(pieces, key=lambda piece: (counts[piece], piece)):
            rows |= dict.fromkeys(self._holding(piece, _COMPARED - len(rows)))
        return list(rows)

    def _holding(self, piece: str, limit: int) -> list[int]:
        """The first rows whose name holds a piece of text."""
        rows: list[int] = []
        at = self._text.find(piece)
        while at >= 0 and len(rows) < limit:
            row = int(np.searchsorted(self._starts, at, side="right")) - 1
            rows.append(row)
            at = self._text.find(piece, int(self._starts[row + 1]))
        return rows


def unknown(snapshot: Snapshot, items: Neighbours, key: tuple[str, str, str], field: str) -> NotFoundError:
    """The error for a key without a series: says what is unknown, and what is near."""
    item, location, platform = key
    keys, name = snapshot.keys, "/".join(key)
    known = f"a series of snapshot {snapshot.manifest.id}"
    rows = np.flatnonzero(keys.item == item)
    if not rows.size:
        near = items.near(item)
        hint = f"; near: {', '.join(near)}" if near else ""
        return NotFoundError(field, expected=known, found=f"no item {item!r}{hint}", kind="series", name=name)
    places = [f"{keys.location[row]} on {keys.platform[row]}" for row in rows[:_COMPARED]]
    near = Neighbours(places).near(f"{location} on {platform}") or places[:_SHOWN]
    found = f"no {item!r} at {location!r} on {platform!r}; it is at: {'; '.join(near)}"
    return NotFoundError(field, expected=known, found=found, kind="series", name=name)


def _shared_beginning(a: str, b: str) -> int:
    return next((n for n, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))
