"""Sums of scenarios that are made once for a snapshot, behind the first questions."""

from __future__ import annotations

import threading

from forecast.planning.aggregate import Cells, Check, cell_numbers, make_cells
from forecast.snapshot import Snapshot
from serving.labels import Labels

_LOOK_S = 0.1
"""Seconds between two looks whether a caller that waits for the sums is still there."""


class SharedCells:
    """The `Cells` of a snapshot by all labels but the item, made by whoever needs them first."""

    def __init__(self, snapshot: Snapshot, labels: Labels) -> None:
        self._snapshot = snapshot
        self._labels = labels
        self._lock = threading.Lock()
        self._cells: Cells | None = None

    def begin(self) -> None:
        """Make them in a thread of its own: half a second for 30,000 series, a few for a million."""
        threading.Thread(target=self.get, args=(lambda: None,), name="cells", daemon=True).start()

    def get(self, check: Check) -> Cells:
        """The cells; waits for whoever is making them, calling `check` meanwhile."""
        while not self._lock.acquire(timeout=_LOOK_S):
            check()
        try:
            if self._cells is None:
                labels = [self._labels[name].number_S for name in self._labels.names if name != "item"]
                self._cells = make_cells(self._snapshot, cell_numbers(labels, self._snapshot), check)
            return self._cells
        finally:
            self._lock.release()
