"""What is published: the format of a snapshot and the pointer to the one that serves."""

from forecast.snapshot.pointer import Pointer, move_pointer
from forecast.snapshot.reader import Snapshot
from forecast.snapshot.writer import write_snapshot

__all__ = ["Pointer", "Snapshot", "move_pointer", "write_snapshot"]
