"""Names of time zones, checked."""

from __future__ import annotations

from typing import Annotated
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AfterValidator


def known_zone(name: str) -> str:
    """The name itself. Raises ValueError, as pydantic wants it, where there is no such zone."""
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise ValueError("Input should be the name of a time zone, such as Asia/Shanghai") from error
    return name


Zone = Annotated[str, AfterValidator(known_zone)]
"""The name of a zone, such as Asia/Shanghai."""
