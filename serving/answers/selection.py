"""Which series a filter lets through."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from surgecast.v1 import forecast_pb2

from forecast.errors import InputError
from serving.store import Served


def passing(served: Served, wanted: forecast_pb2.SeriesFilter) -> NDArray[np.bool_]:
    """(S,) the series of the snapshot that pass a checked filter; InputError for a label it does not have."""
    snapshot = served.snapshot
    keys = snapshot.keys
    passes_S = np.ones(len(keys), dtype=np.bool_)
    for names_S, name in (
        (keys.item, wanted.item),
        (keys.location, wanted.location),
        (keys.platform, wanted.platform),
    ):
        if name:
            passes_S &= names_S == name
    for n, label in enumerate(wanted.labels):
        if label.name not in snapshot.statics:
            known = ", ".join(snapshot.statics) or "no label at all"
            raise InputError(f"filter.labels[{n}].name", expected=f"one of {known}", found=ascii(label.name))
        passes_S &= np.isin(snapshot.statics[label.name], list(label.values))
    if wanted.minimum_recent_mean > 0:
        passes_S &= snapshot.summary.base_S >= wanted.minimum_recent_mean
    return passes_S
