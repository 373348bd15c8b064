"""What a planner derives from scenarios (sums over groups and periods, surges and what drives them) and from
the model itself (what-ifs, series without history)."""

from typing import Final

MAX_MOVE: Final = 60
"""Days that an event may be moved by in a what-if."""
