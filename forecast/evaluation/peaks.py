"""Peaks and the days after them, as the benchmark of surges scores them.

Letters: S series, H horizon, R rows of all origins.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from forecast.demand.panel import Floats, Panel
from forecast.evaluation.metrics import Doubles, Mask, Statistics
from forecast.evaluation.slices import (
    broad_peak_threshold,
    event_windows,
    named_windows,
    peak_threshold,
    peaks,
    peaks_over,
)

PEAK_SLICES: Final[tuple[str, ...]] = (
    "peak",
    "broad peak",
    "after peak",
    "after seen peak",
    "quiet",
    "event day",
    "before event",
    "after event",
)
"""What `peak_slices` finds beside the windows of each kind of event."""


def peak_slices(truth_SH: Floats, panel: Panel) -> Mapping[str, Mask]:
    """Name -> (S, H) mask for a panel that ends at the origin and the truth after it.

    `peak` and `after peak` as `slices.peaks`; `broad peak` over `slices.broad_peak_threshold`; `after seen
    peak`: the part of `after peak` whose peak was known at the origin; `quiet`: neither a peak nor after one,
    of series that could have one. Then the windows of whatever event, and of each kind that occurs.
    """
    horizon = truth_SH.shape[1]
    threshold_S = peak_threshold(panel)
    peak_SH, after_SH = peaks(truth_SH, panel)
    broad_SH, _ = peaks_over(truth_SH, panel, broad_peak_threshold(panel))
    _, seen_SH = peaks(np.zeros_like(truth_SH), panel)
    masks = {
        "peak": peak_SH,
        "broad peak": broad_SH,
        "after peak": after_SH,
        "after seen peak": seen_SH & after_SH,
        "quiet": ~peak_SH & ~after_SH & np.isfinite(threshold_S)[:, None],
    }
    windows = event_windows(panel, horizon)
    masks |= {name: windows[name] for name in ("event day", "before event", "after event") if name in windows}
    for kind in sorted({name.split("/")[0] for name in panel.events.names}):
        masks |= named_windows(panel, kind, horizon)
    return masks


@dataclass(frozen=True, kw_only=True)
class AfterPeakRatio:
    """WQL of the two weeks after a peak over that of quiet days; 1.05 is 5 % worse.

    after_peak_ratio, after_seen_peak_ratio: against quiet days of the same series, in the same mix, since
    series that peak often are harder on any day. after_peak_ratio_plain: against all quiet days. NaN where
    there are none, or quiet days are without fault.
    """

    after_peak_ratio: float
    after_seen_peak_ratio: float
    after_peak_ratio_plain: float


def after_peak_ratio(statistics: Statistics, slices: Mapping[str, Mask]) -> AfterPeakRatio:
    """Compare days after peaks with quiet days, both of `peak_slices` over all origins, (R, H)."""
    quiet_RH = slices["quiet"] & statistics.scored_SH

    def ratio(name: str, matched: bool) -> float:
        after_RH = slices[name] & statistics.scored_SH
        weight_R = _weights(after_RH, quiet_RH) if matched else np.ones(len(after_RH))
        # A row that has days of one sort alone cannot be compared with itself.
        kept_R1 = (weight_R > 0)[:, None]
        after = _wql(statistics, after_RH & kept_R1, np.ones(len(after_RH)))
        quiet = _wql(statistics, quiet_RH, weight_R)
        return after / quiet if quiet > 0 else float("nan")

    return AfterPeakRatio(
        after_peak_ratio=ratio("after peak", True),
        after_seen_peak_ratio=ratio("after seen peak", True),
        after_peak_ratio_plain=ratio("after peak", False),
    )


def _weights(after_RH: Mask, quiet_RH: Mask) -> Doubles:
    """(R,) days after peaks for each quiet day; 0 where a row has none of either."""
    n_R = quiet_RH.sum(axis=1)
    weight_R: Doubles = np.divide(after_RH.sum(axis=1), n_R, out=np.zeros(len(n_R)), where=n_R > 0)
    return weight_R


def _wql(statistics: Statistics, chosen_RH: Mask, weight_R: Doubles) -> float:
    loss_R = np.sum(statistics.quantile_loss_SH, axis=1, where=chosen_RH, dtype=np.float64)
    units = float(weight_R @ np.sum(statistics.truth_SH, axis=1, where=chosen_RH, dtype=np.float64))
    return float(weight_R @ loss_R) / units if units > 0 else float("nan")
