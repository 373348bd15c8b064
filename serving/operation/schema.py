"""Whether the parts of a snapshot fit each other. Sizes, shapes and hashes were checked when it was opened.

Letters: S series, H horizon, K scenarios.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from forecast.errors import IntegrityError
from forecast.snapshot import Snapshot

_RANKS_CHECKED: Final = 256
"""Series whose joint ranks are looked at; all of them would read the whole file."""


def check_schema(snapshot: Snapshot) -> None:
    """Raises IntegrityError that names what does not fit."""
    manifest = snapshot.manifest
    for name, number in (
        ("n_series", manifest.n_series),
        ("horizon", manifest.horizon),
        ("n_scenarios", manifest.n_scenarios),
    ):
        if number < 1:
            raise IntegrityError(name, expected="at least 1", found=str(number))
    for name, names_S in (
        ("item", snapshot.keys.item),
        ("location", snapshot.keys.location),
        ("platform", snapshot.keys.platform),
    ):
        if not all(isinstance(value, str) and value for value in names_S.tolist()):
            raise IntegrityError(
                f"series.{name}", expected="a name for each series", found="none or a number"
            )
    if len(snapshot.index) != manifest.n_series:
        found = f"{manifest.n_series - len(snapshot.index)} twice"
        raise IntegrityError("series", expected="each series once", found=found)
    _check_groups(snapshot)
    if not np.isfinite(snapshot.scale_S).all() or (snapshot.scale_S < 0).any():
        raise IntegrityError("scale", expected="finite numbers of at least 0", found="others")
    _check_ranks(snapshot)


def _check_groups(snapshot: Snapshot) -> None:
    least, n_groups = int(snapshot.group_S.min()), int(snapshot.group_S.max()) + 1
    if least < 0:
        raise IntegrityError("group", expected="numbers of at least 0", found=str(least))
    for number, span in enumerate(snapshot.spans):
        outside = [group for group in span.groups if not 0 <= group < n_groups]
        if outside:
            found = str(outside[0])
            raise IntegrityError(f"events[{number}].groups", expected=f"0..{n_groups - 1}", found=found)


def _check_ranks(snapshot: Snapshot) -> None:
    rows = sample(snapshot.manifest.n_series, _RANKS_CHECKED)
    sorted_SHK = np.sort(snapshot.ranks_SHK[rows], axis=2)
    if (sorted_SHK != np.arange(snapshot.manifest.n_scenarios)).any():
        found = "a rank twice"
        raise IntegrityError("ranks", expected="each scenario's rank once per series and period", found=found)


def sample(n_series: int, at_most: int) -> np.ndarray[tuple[int], np.dtype[np.intp]]:
    """Rows spread over the S series, the first and the last among them."""
    return np.unique(np.linspace(0, n_series - 1, min(n_series, at_most)).astype(np.intp))
