"""Bars drawn with characters: eighths of a column wide, readable without colour."""

from __future__ import annotations

import math
from typing import Final

WIDTH: Final = 24
_EIGHTHS: Final = "▏▎▍▌▋▊▉█"


def bar(value: float, top: float, width: int = WIDTH) -> str:
    """A bar of `value` where `top` fills `width` columns; what is more than nothing is seen."""
    if not (math.isfinite(value) and value > 0 and top > 0):
        return ""
    eighths = max(1, round(8 * width * min(value / top, 1.0)))
    return "█" * (eighths // 8) + (_EIGHTHS[eighths % 8 - 1] if eighths % 8 else "")
