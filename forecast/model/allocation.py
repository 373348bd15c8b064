"""Memory of large tensors kept by the process, where the C library would hand it back at every step.

glibc returns blocks of 32 MB and more to the system when they are freed, and the system clears their pages
when they are asked for again: on a CPU a tenth of a training step.
"""

from __future__ import annotations

import ctypes
import sys
from typing import Final

_TRIM_THRESHOLD: Final = -1
_MMAP_THRESHOLD: Final = -3
_KEEP_BELOW: Final = 1 << 30


def keep_large_blocks() -> None:
    """Keep freed blocks below 1 GiB for the next use; does nothing where the C library is not glibc, or one
    that refuses so high a threshold (before 2.35)."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    # Any threshold that is set stops glibc from adapting the other, so that one alone would do harm.
    if mallopt is not None and mallopt(_MMAP_THRESHOLD, _KEEP_BELOW):
        mallopt(_TRIM_THRESHOLD, _KEEP_BELOW)
