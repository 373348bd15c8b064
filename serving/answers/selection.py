"""Which series a filter lets through, and how they are grouped."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from surgecast.v1 import forecast_pb2

from forecast.errors import InputError
from forecast.planning.aggregate import combined
from serving.served import Served


def passing(served: Served, wanted: forecast_pb2.SeriesFilter) -> NDArray[np.bool_]:
    """(S,) the series of the snapshot that pass a checked filter; InputError for a label it does not have."""
    labels = served.labels
    passes_S = np.ones(len(served.snapshot.keys), dtype=np.bool_)
    for name, value in (("item", wanted.item), ("location", wanted.location), ("platform", wanted.platform)):
        if value:
            passes_S &= labels[name].number_S == labels[name].number(value)
    for n, label in enumerate(wanted.labels):
        if label.name not in labels.static_names:
            known = ", ".join(labels.static_names) or "no label at all"
            raise InputError(f"filter.labels[{n}].name", expected=f"one of {known}", found=ascii(label.name))
        of_label = labels[label.name]
        passes_V = np.zeros(len(of_label.values) + 1, np.bool_)  # one more: the place of unknown values
        passes_V[[of_label.number(value) for value in label.values]] = True
        passes_V[-1] = False
        passes_S &= passes_V[of_label.number_S]
    if wanted.minimum_recent_mean > 0:
        passes_S &= served.snapshot.summary.base_S >= wanted.minimum_recent_mean
    return passes_S


@dataclass(frozen=True, kw_only=True)
class Groups:
    """Groups of series, ordered by their values.

    group_S: the group of each series, -1 where it does not pass. values: of each group, one for each name
    that it is grouped by. count_G: series in each group.
    """

    group_S: NDArray[np.intp]
    values: list[tuple[str, ...]]
    count_G: NDArray[np.intp]

    def __len__(self) -> int:
        return len(self.values)


def grouped(served: Served, passes_S: NDArray[np.bool_], names: Sequence[str]) -> Groups:
    """The series that pass, by labels; one group for no name, none where no series passes. InputError for
    a name that the snapshot does not have.
    """
    labels = served.labels
    for n, name in enumerate(names):
        if name not in labels.names:
            known = ", ".join(labels.names)
            raise InputError(f"group_by[{n}]", expected=f"one of {known}", found=ascii(name))
    rows = np.flatnonzero(passes_S)
    number_N = np.zeros(len(rows), np.intp)
    for name in names:
        number_N = combined(number_N, labels[name].number_S[rows])
    _, first, count_G = np.unique(number_N, return_index=True, return_counts=True)
    of_name = [(labels[name].values, labels[name].number_S[rows[first]].tolist()) for name in names]
    group_S = np.full(len(passes_S), -1, np.intp)
    group_S[rows] = number_N
    values = [tuple(values[numbers[g]] for values, numbers in of_name) for g in range(len(first))]
    return Groups(group_S=group_S, values=values, count_G=count_G)
