"""The self-check: a few forecasts are answered from what is about to serve, as a planner would get them.

Letters: S series, H horizon, Q quantile levels.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from google.protobuf.message import DecodeError
from surgecast.v1 import forecast_pb2

from forecast.errors import IntegrityError
from forecast.forecasts import Floats
from forecast.quantiles import LEVELS
from serving.answers.forecasts import answer_rows
from serving.operation.schema import sample
from serving.served import Served

ROWS: Final = 64
"""Series that are looked at."""
_FACTOR: Final = 20.0
"""How far the sum of the means may lie from what the quantiles say. A wrong scale is off by more; means of
series that are sold once in a long while are not in their quantiles at all, so that one unit per series and
period is let pass besides."""


def check_answers(served: Served) -> None:
    """Raises IntegrityError when the forecasts of some series are not finite, not ordered, below zero, far
    from their means or do not survive encoding and decoding.
    """
    rows = sample(served.snapshot.manifest.n_series, ROWS)
    horizon = served.snapshot.manifest.horizon
    mean_SH = np.asarray(served.snapshot.mean_SH[rows])
    quantiles_SHQ = served.snapshot.quantiles(rows, horizon)
    for name, values in (("mean", mean_SH), ("quantiles", quantiles_SHQ)):
        wrong_S = ~np.isfinite(values).reshape(len(rows), -1).all(axis=1)
        _demand(served, rows[wrong_S], f"self-check: {name}", "finite numbers", "NaN or infinity")
    slack_S = 1e-3 * (1 + np.abs(quantiles_SHQ).max(axis=(1, 2)))
    wrong_S = (np.diff(quantiles_SHQ, axis=2) < 0).any(axis=(1, 2))
    _demand(served, rows[wrong_S], "self-check: quantiles", "an ascending order", "another")
    wrong_S = np.minimum(mean_SH.min(axis=1), quantiles_SHQ.min(axis=(1, 2))) < -slack_S
    _demand(served, rows[wrong_S], "self-check: forecasts", "demand of at least 0", "less")
    _check_means(mean_SH, quantiles_SHQ)
    _check_encoding(served, rows, mean_SH, quantiles_SHQ)


def _demand(served: Served, wrong: np.ndarray, field: str, expected: str, found: str) -> None:
    if len(wrong):
        keys, row = served.snapshot.keys, int(wrong[0])
        name = f"{keys.item[row]}, {keys.location[row]}, {keys.platform[row]}"
        raise IntegrityError(field, expected=expected, found=f"{found} in {name!a}")


def _check_means(mean_SH: Floats, quantiles_SHQ: Floats) -> None:
    levels = np.asarray(LEVELS)
    weights = np.diff(levels, prepend=0.0)  # the least mean that non-negative demand of these quantiles has
    least = float((quantiles_SHQ[..., :-1] * weights[1:]).sum()) / _FACTOR
    weights[-1] += 1 - levels[-1]
    most = float((quantiles_SHQ * weights).sum()) * _FACTOR + mean_SH.size
    total = float(mean_SH.sum(dtype=np.float64))
    if not least <= total <= most:
        expected = f"a sum of {least:.4g} to {most:.4g} by the quantiles"
        raise IntegrityError("self-check: means", expected=expected, found=f"{total:.4g}")


def _check_encoding(
    served: Served,
    rows: np.ndarray,
    mean_SH: Floats,
    quantiles_SHQ: Floats,
) -> None:
    content = answer_rows(served, rows.tolist(), served.snapshot.manifest.horizon, full=True)
    try:
        reply = forecast_pb2.BatchGetForecastsResponse.FromString(content)
    except DecodeError as error:
        raise IntegrityError("self-check: answer", expected="a message", found=str(error)) from error
    means = np.array([forecast.mean for forecast in reply.forecasts], dtype=np.float32)
    quantiles = np.array([forecast.quantiles for forecast in reply.forecasts], dtype=np.float32)
    if not np.array_equal(means, mean_SH) or not np.array_equal(
        quantiles.reshape(quantiles_SHQ.shape), quantiles_SHQ
    ):
        raise IntegrityError("self-check: answer", expected="the snapshot's numbers", found="others")
    if reply.source != served.source or len(reply.time_seconds) != served.snapshot.manifest.horizon:
        raise IntegrityError("self-check: answer", expected="its source and periods", found="others")
