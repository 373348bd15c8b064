"""Whether the files of a snapshot changed, without reading them."""

from __future__ import annotations

import os
from pathlib import Path

Stamp = tuple[tuple[str, int, int, int], ...]
"""Name, inode, size and time of change (ns) of each file of a snapshot: changed files, another stamp."""


def stamp_of(folder: Path) -> Stamp:
    """The stamp of a folder's files; empty where there is no such folder."""
    try:
        with os.scandir(folder) as entries:
            stats = [(entry.name, entry.stat()) for entry in entries]
    except (FileNotFoundError, NotADirectoryError):
        return ()  # the same as an empty folder: opening it says what is wrong
    return tuple(sorted((name, stat.st_ino, stat.st_size, stat.st_mtime_ns) for name, stat in stats))
