"""How much memory a panel takes on a device, and a snapshot on disk: the formulas that the manual states.

Letters: S series, T observed periods, H horizon, F known features, G groups of series, K scenarios,
Q quantile levels, N periods of history.
"""

from __future__ import annotations

from typing import Final

from forecast.model.past import CHECKPOINT
from forecast.model.tensors import PanelTensors
from forecast.quantiles import LEVELS

GROUP_PERIOD: Final = 16
"""Bytes of a group of series and a period: two sums in double precision."""
SUMMARY: Final = 24
"""Bytes of the six numbers that sum up a series."""


def period_bytes(n_known: int, *, stock: bool) -> int:
    """Bytes of a series and a period on the device: 5 + 2 F, and 1 where stock is recorded."""
    return 5 + stock + 2 * n_known


def panel_bytes(tensors: PanelTensors) -> int:
    """Bytes of a panel on the device but for what does not grow with series, periods or groups:
    S T (5 + stock + 2 F) + 2 S H F + S (4 + 4 T / 64) + 16 G (T + 1)."""
    s, t = tensors.n_series, tensors.n_periods
    n_known = tensors.known_SPF.shape[2]
    ahead = tensors.known_SPF.shape[1] - t
    rows = s * (
        t * period_bytes(n_known, stock=tensors.past.stocked_out_ST is not None) + 2 * ahead * n_known
    )
    checkpoints = -(-t // CHECKPOINT) + 1
    return rows + s * 4 * (1 + checkpoints) + GROUP_PERIOD * tensors.group_sum_GT.numel()


def snapshot_bytes(horizon: int, n_scenarios: int, n_history: int) -> int:
    """Bytes of a series in a snapshot but for its names and labels: H (4 + 2 Q + K) + 4 N + 8 + 24."""
    return horizon * (4 + 2 * len(LEVELS) + n_scenarios) + 4 * n_history + 8 + SUMMARY


def memory_text(tensors: PanelTensors, batch: int) -> str:
    """What a device needs to score a panel, for a person who has to find room."""
    s, t = tensors.n_series, tensors.n_periods
    per_period = period_bytes(tensors.known_SPF.shape[2], stock=tensors.past.stocked_out_ST is not None)
    return (
        f"room for {s:,} series x {t:,} periods x {per_period} bytes, {panel_bytes(tensors) / 1e9:.2f} GB "
        f"with the sums of {len(tensors.group_sum_GT):,} groups, and for the windows of {batch} series"
    )
