"""What every forecaster of the comparison gets: a panel that ends at the cutoff, and nothing after it.

Letters: S series, T history, P periods with known features, H horizon.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from pathlib import Path
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from forecast.demand.panel import Floats, Panel
from forecast.demand.sources.freshretail import read_freshretail_panel
from forecast.demand.sources.m5 import read_m5_panel
from forecast.errors import InputError, UsageError
from forecast.evaluation.metrics import scored

M5_HORIZON: Final = 28
FRESHRETAIL_HORIZON: Final = 7
Dataset = Literal["m5", "freshretail"]


@dataclass(frozen=True, kw_only=True)
class Task:
    """One cutoff of one data set.

    panel: ends at the cutoff; known features end with the horizon, those unknown there are left out.
    truth_SH: demand of the horizon; NaN where it is not scored. Forecasters never see it.
    """

    dataset: Dataset
    cutoff: str
    panel: Panel
    horizon: int
    truth_SH: Floats


def m5_tasks(folder: Path, cutoffs: Sequence[int], n_series: int | None) -> list[Task]:
    """M5 at cutoffs d_1 ... whose next 28 days are there. Raises UsageError where they are not."""
    try:
        whole = read_m5_panel(folder, max(cutoffs) + M5_HORIZON)
    except InputError as error:
        if error.field != "cutoff":
            raise
        last = int(error.expected.split("..")[-1]) - M5_HORIZON
        raise UsageError(f"cutoff: expected 1..{last}, found {max(cutoffs)}") from error
    whole = whole.select(whole_items(whole, n_series))
    return [
        Task(
            dataset="m5",
            cutoff=str(cutoff),
            panel=as_known(whole, cutoff, M5_HORIZON),
            horizon=M5_HORIZON,
            # Not yet launched is not sold: the competition scores it as 0.
            truth_SH=np.nan_to_num(whole.demand_ST[:, cutoff : cutoff + M5_HORIZON]),
        )
        for cutoff in cutoffs
    ]


def freshretail_tasks(folder: Path, cutoffs: Sequence[date], n_series: int | None) -> list[Task]:
    """FreshRetailNet with the 7 days up to (and with) each cutoff held back; days in stock are scored."""
    tasks = []
    for cutoff in cutoffs:
        whole = read_freshretail_panel(folder, cutoff)
        whole = whole.select(whole_items(whole, n_series))
        first = whole.n_periods - FRESHRETAIL_HORIZON
        tasks.append(
            Task(
                dataset="freshretail",
                cutoff=str(cutoff - timedelta(days=FRESHRETAIL_HORIZON)),
                panel=as_known(whole, first, FRESHRETAIL_HORIZON, observed=True),
                horizon=FRESHRETAIL_HORIZON,
                truth_SH=scored(whole, first, FRESHRETAIL_HORIZON),
            )
        )
    return tasks


def as_known(whole: Panel, n_periods: int, horizon: int, *, observed: bool = False) -> Panel:
    """The panel at an origin, without later demand and without features from beyond the horizon.

    observed: the known features are observations, so none of them is known after the origin.
    """
    panel = whole.until(n_periods)
    last = n_periods + horizon
    known = {} if observed else {name: values[:, :last] for name, values in panel.known.items()}
    known = {name: values for name, values in known.items() if np.isfinite(values[:, last - 1]).any()}
    return replace(panel, known=known)


def whole_items(panel: Panel, n_series: int | None) -> NDArray[np.intp]:
    """Rows of about `n_series` series (at least so many): items evenly spread over the list, each with all
    its locations; all rows when None.
    """
    if n_series is None or n_series >= panel.n_series:
        return np.arange(panel.n_series)
    if n_series < 1:
        raise UsageError(f"series: expected all or at least 1, found {n_series}")
    items, item_S, size_I = np.unique(panel.keys.item, return_inverse=True, return_counts=True)
    n_items = max(int(np.ceil(n_series * len(items) / panel.n_series)), 1)
    while True:
        chosen = np.unique(np.linspace(0, len(items) - 1, n_items).round().astype(np.intp))
        if size_I[chosen].sum() >= n_series:
            return np.flatnonzero(np.isin(item_S, chosen))
        n_items += 1
