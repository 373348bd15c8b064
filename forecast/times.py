"""How the start of a period is written for people, and in the names and tags of runs."""

from __future__ import annotations

import re
from datetime import datetime
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import numpy as np

MIDNIGHT: Final = re.compile(r"T00(:00){0,2}(\.0+)?$")


def iso(time: str | datetime | np.datetime64) -> str:
    """ISO 8601, without the hour where that is midnight. A text is taken as ISO 8601 already."""
    return MIDNIGHT.sub("", time.isoformat() if isinstance(time, datetime) else str(time))
