"""How the periods of a snapshot are put together in time.

Letters: H horizon, T sums in time.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray
from surgecast.v1 import forecast_pb2

from forecast.demand.panel import STEP
from forecast.errors import InputError
from serving.served import Served, seconds

_DAY: Final = 86_400
_LENGTH: Final[dict[int, int]] = {
    forecast_pb2.AGGREGATION_DAY: _DAY,
    forecast_pb2.AGGREGATION_WEEK: 7 * _DAY,
}


def starts(served: Served) -> list[int]:
    """(H,) the starts of the periods of the horizon, in seconds."""
    return [seconds(time) for time in served.snapshot.times]


def step(served: Served) -> int:
    """The length of a period, in seconds."""
    return int(STEP[served.snapshot.manifest.period] // np.timedelta64(1, "s"))


def edges(served: Served, first: int, last: int, aggregation: int) -> NDArray[np.intp]:
    """(T + 1,) where each sum of the periods `first` up to, without, `last` begins, and `last`.

    Days are those of the installation's clock, from midnight to midnight; weeks are runs of seven days from
    `first` on. The range may cut the first and the last one short. InputError for one that is no whole
    number of the snapshot's periods.
    """
    if aggregation not in forecast_pb2.Aggregation.values():
        known = ", ".join(forecast_pb2.Aggregation.keys())
        raise InputError("aggregation", expected=f"one of {known}", found=str(aggregation))
    if aggregation == forecast_pb2.AGGREGATION_TOTAL:
        return np.array([first, last])
    length = _LENGTH.get(aggregation, step(served))
    if length < step(served):
        period = served.snapshot.manifest.period
        name = forecast_pb2.Aggregation.Name(forecast_pb2.Aggregation.ValueType(aggregation))
        raise InputError("aggregation", expected=f"sums of a {period} or longer", found=name)
    start_h = np.array(starts(served)[first:last])
    begin = start_h[0] - start_h[0] % _DAY if aggregation == forecast_pb2.AGGREGATION_DAY else start_h[0]
    run_h = (start_h - begin) // length
    begins = np.flatnonzero(np.diff(run_h, prepend=-1))
    return np.append(begins + first, last)
