"""What a planner derives from the model and its scenarios."""

from typing import Final

MAX_MOVE: Final = 60
"""Days that an event may be moved by in a what-if."""
