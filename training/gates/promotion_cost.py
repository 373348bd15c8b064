"""What a bundle costs to use on this machine."""

from __future__ import annotations

import time
from typing import Final

from forecast.demand.panel import Panel
from forecast.home import Home
from forecast.model.bundle import Bundle
from forecast.model.sharded import forecaster
from training.gates.promotion import Cost
from training.registry import bundle_folder, folder_bytes

SERIES: Final = 1_000
REPEATS: Final = 3
"""The best of so many counts: others work on the machine, too."""


def measure_cost(home: Home, bundle: Bundle, panel: Panel, *, device: str = "auto") -> Cost:
    """Score up to 1,000 series of a panel, as publishing would, and weigh the bundle's files in the home.

    A bundle that is not there weighs 0. Raises InputError where the panel does not have what the model needs.
    """
    few = panel.select(slice(0, SERIES)) if panel.n_series > SERIES else panel
    score = forecaster(bundle, device)
    took = []
    for _ in range(REPEATS):
        began = time.perf_counter()
        score(few, bundle.config.horizon)
        took.append(time.perf_counter() - began)
    return Cost(
        seconds_per_1000_series=min(took) / few.n_series * SERIES,
        bundle_bytes=folder_bytes(bundle_folder(home, bundle.bundle_id)),
    )
