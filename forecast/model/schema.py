"""Which features a model knows, and how they become numbers: stored in the bundle, so that serving agrees
with training."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from forecast.demand.panel import Panel
from forecast.errors import InputError
from forecast.model.config import YEAR

Floats = NDArray[np.float32]
Floats64 = NDArray[np.float64]
MOSTLY = 0.99
"""Share of positive values from which a feature can be a price; a price of 0 is then taken as unknown."""


@dataclass(frozen=True, kw_only=True)
class KnownFeature:
    """How one known-future feature is standardised.

    relative: the log ratio to the series' own median (prices), else (x - center) / spread over all series.
    """

    name: str
    relative: bool
    center: float
    spread: float


@dataclass(frozen=True, kw_only=True)
class StaticFeature:
    """A categorical column and the labels seen in training; label i has code i + 1, any other has 0."""

    name: str
    labels: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class FeatureSchema:
    """The features of a model in their order; `fit` learns it from the training panel.

    seasonal: whether the calendar tells the time of the year and the place in the month. A history that ends
        before it has come back to the season ahead would teach of them no more than which day it was, and
        what all series did that day by chance.
    """

    horizon: int
    known: tuple[KnownFeature, ...]
    statics: tuple[StaticFeature, ...]
    events: tuple[str, ...]
    integer: bool
    seasonal: bool

    @classmethod
    def fit(cls, panel: Panel, horizon: int) -> Self:
        """Learn ranges and labels. Keys count as static features where several series share them.

        Labels of series without any demand are not learned: no weight would ever be trained for them.
        """
        seen_S = ~panel.no_history_S
        known = tuple(_fit_known(name, values, panel.n_periods) for name, values in panel.known.items())
        statics = []
        for name, labels in _static_columns(panel).items():
            found = np.unique(labels[seen_S])
            if 1 < len(found) <= seen_S.sum() // 2:
                statics.append(StaticFeature(name=name, labels=tuple(map(str, found))))
        sample = panel.demand_ST[:: max(1, panel.n_series // 1000)]
        sample = sample[np.isfinite(sample)]
        integer = bool((sample == np.round(sample)).all())
        events = seen_events(panel)
        return cls(
            horizon=horizon,
            known=known,
            statics=tuple(statics),
            events=events,
            integer=integer,
            seasonal=panel.n_periods >= YEAR[panel.period] + horizon,
        )

    def check(self, panel: Panel, horizon: int) -> None:
        """Raise InputError where a known feature of training is not there, or not for the horizon."""
        n = panel.n_periods + horizon
        for feature in self.known:
            if feature.name not in panel.known:
                raise InputError(
                    feature.name, expected="a known-future column, as in training", found="no such column"
                )
            values = panel.known[feature.name]
            if horizon and not np.isfinite(values[:, n - 1 : n]).any():
                reach = int(np.isfinite(values[:, panel.n_periods : n]).any(axis=0).sum())
                raise InputError(
                    feature.name,
                    expected=f"known values for the {horizon} periods after {panel.origin}",
                    found=f"values for {reach}",
                )

    def standardise(self, panel: Panel, horizon: int) -> Floats:
        """(S, T + horizon, F) features of a panel that was checked, 0 where unknown."""
        n = panel.n_periods + horizon
        columns = [_standardise(feature, panel.known[feature.name][:, :n]) for feature in self.known]
        if not columns:
            return np.zeros((panel.n_series, n, 0), np.float32)
        return np.stack(columns, axis=2)

    def encode_statics(self, panel: Panel) -> NDArray[np.int64]:
        """(S, N) codes; 0 for a label that training never saw."""
        columns = _static_columns(panel)
        codes = np.zeros((panel.n_series, len(self.statics)), np.int64)
        for n, feature in enumerate(self.statics):
            if feature.name not in columns:
                raise InputError(
                    feature.name, expected="a static column, as in training", found="no such column"
                )
            known = np.asarray(feature.labels)
            values = columns[feature.name].astype(str)
            place = np.minimum(np.searchsorted(known, values), len(known) - 1)
            codes[:, n] = np.where(known[place] == values, place + 1, 0)
        return codes

    def mean_prices(self, panel: Panel, horizon: int) -> Floats64:
        """(S, A) log of the mean of each relative feature (a price) of each series; NaN where unknown."""
        names = [feature.name for feature in self.known if feature.relative]
        logs_SA = np.full((panel.n_series, len(names)), np.nan)
        for a, name in enumerate(names):
            values_SP = panel.known[name][:, : panel.n_periods + horizon]
            there_SP = np.isfinite(values_SP) & (values_SP > 0)
            total_S: NDArray[np.float64] = np.sum(values_SP, axis=1, where=there_SP, dtype=np.float64)
            known_S = there_SP.any(axis=1)
            logs_SA[known_S, a] = np.log(total_S[known_S] / there_SP.sum(axis=1)[known_S])
        return logs_SA

    def price_levels(self, panel: Panel, prices_SA: Floats64) -> Floats:
        """(S, A) log ratio of the `mean_prices` of each series to the median of the series that share the
        first static; 0 where unknown."""
        levels_SA = np.zeros(prices_SA.shape, np.float32)
        first = next(iter(panel.statics.values()), np.zeros(panel.n_series, np.str_))
        _, department_S = np.unique(first, return_inverse=True)
        for a, log_S in enumerate(prices_SA.T):
            known_S = np.isfinite(log_S)
            for department in np.unique(department_S[known_S]):
                rows = known_S & (department_S == department)
                levels_SA[rows, a] = np.clip(log_S[rows] - np.median(log_S[rows]), -3, 3)
        return levels_SA

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Self:
        """The inverse of `to_dict`."""
        return cls(
            horizon=data["horizon"],
            known=tuple(KnownFeature(**k) for k in data["known"]),
            statics=tuple(StaticFeature(name=s["name"], labels=tuple(s["labels"])) for s in data["statics"]),
            events=tuple(data["events"]),
            integer=data["integer"],
            seasonal=data["seasonal"],
        )


def seen_events(panel: Panel) -> tuple[str, ...]:
    """The channels that a model trained on the panel has seen: those that were on at some time in it."""
    active = (panel.events.intensity_GLE[:, : panel.n_periods] != 0).any(axis=(0, 1))
    return tuple(n for n, a in zip(panel.events.names, active, strict=True) if a)


def _static_columns(panel: Panel) -> dict[str, NDArray[np.str_]]:
    keys = {"item": panel.keys.item, "location": panel.keys.location, "platform": panel.keys.platform}
    return {**panel.statics, **keys}


def _fit_known(name: str, values: Floats, n_periods: int) -> KnownFeature:
    sample = values[:: max(1, len(values) // 2000), :n_periods]
    sample = sample[np.isfinite(sample)]
    if sample.size == 0:
        raise InputError(name, expected="at least one known value", found="none")
    # A price: positive but for mistakes, and far more different between series than a flag or a temperature.
    positive = float(np.mean(sample > 0))
    relative = bool(sample.min() >= 0 and positive >= MOSTLY and sample.std() > 0.5 * sample.mean())
    return KnownFeature(
        name=name, relative=relative, center=float(sample.mean()), spread=max(float(sample.std()), 1e-6)
    )


def _standardise(feature: KnownFeature, values_SP: Floats) -> Floats:
    if feature.relative:
        with np.errstate(divide="ignore", invalid="ignore"):
            logs = np.log(values_SP)
        logs[~np.isfinite(logs)] = np.nan
        present = np.isfinite(logs)
        count = np.maximum(present.sum(1, keepdims=True), 1)
        mean = np.where(present, logs, 0).sum(1, keepdims=True) / count
        result = 5 * (logs - mean)
    else:
        result = (values_SP - feature.center) / feature.spread
    clipped: Floats = np.clip(np.nan_to_num(result, nan=0.0), -8, 8).astype(np.float32)
    return clipped
