"""The requests of the bench, as raw bytes: drawn at random, and no two alike where answers may be kept."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from google.protobuf.message import Message
from surgecast.v1 import forecast_pb2

from forecast.demand.panel import STEP
from forecast.errors import IntegrityError
from forecast.home import Home
from forecast.quantiles import LEVELS, M5_NINE
from forecast.snapshot import Snapshot

SERVICE: Final = "/surgecast.v1.ForecastService"
GET: Final = f"{SERVICE}/GetForecast"
BATCH: Final = f"{SERVICE}/BatchGetForecasts"
AGGREGATE: Final = f"{SERVICE}/AggregateForecast"
SURGES: Final = f"{SERVICE}/ListSurges"
SIMULATE: Final = f"{SERVICE}/SimulateScenario"
EXPORT: Final = f"{SERVICE}/ExportForecasts"
Key = tuple[str, str, str]
SHORTER: Final = 3
"""By how many periods the range of a sum is shorter than the horizon at most."""


@dataclass(frozen=True, kw_only=True)
class Questions:
    """Draws requests about the series of a snapshot. keys: those that may be asked for."""

    snapshot: Snapshot
    keys: Sequence[Key]
    seed: int

    @classmethod
    def about(cls, snapshot: Snapshot, other: Snapshot | None, seed: int) -> Questions:
        """Questions that another snapshot answers as well."""
        keys = list(snapshot.index if other is None else snapshot.index.keys() & other.index.keys())
        return cls(snapshot=snapshot, keys=sorted(keys), seed=seed)

    def draw(self, n: int, salt: int) -> list[Key]:
        """n keys, one perhaps twice; another salt, other keys."""
        random = np.random.default_rng((self.seed, salt))
        return [self.keys[row] for row in random.integers(len(self.keys), size=n).tolist()]

    def singles(self, n: int) -> list[bytes]:
        """`GetForecast` of n series, the whole horizon."""
        return _raw([forecast_pb2.GetForecastRequest(key=_key(key)) for key in self.draw(n, 1)])

    def batches(self, n: int, size: int) -> list[bytes]:
        """`BatchGetForecasts` of n times `size` series, the whole horizon."""
        return _raw(
            [
                forecast_pb2.BatchGetForecastsRequest(keys=[_key(key) for key in self.draw(size, 2 + i)])
                for i in range(n)
            ]
        )

    def export(self) -> list[bytes]:
        """`ExportForecasts` of all series with the mean and M5's nine quantiles."""
        return _raw([forecast_pb2.ExportForecastsRequest(levels=[LEVELS[q] for q in M5_NINE])])

    @property
    def groups(self) -> list[str]:
        """What sums are grouped by: location and the first static label (M5's stores and departments)."""
        return ["location", *list(self.snapshot.statics)[:1]]

    @property
    def n_groups(self) -> int:
        """How many groups these are."""
        labels = [self.snapshot.keys.location, *list(self.snapshot.statics.values())[:1]]
        return len(set(zip(*(values.tolist() for values in labels), strict=True)))

    def total(self) -> bytes:
        """`AggregateForecast` of each platform over the whole horizon: nothing that `sums` asks."""
        request = forecast_pb2.AggregateForecastRequest(
            group_by=["platform"], aggregation=forecast_pb2.AGGREGATION_TOTAL
        )
        return request.SerializeToString()

    def sums(self, groups: Sequence[str]) -> list[bytes]:
        """`AggregateForecast` by period over the whole horizon, and over every range up to `SHORTER` periods
        shorter: no two alike."""
        return _raw(
            [
                forecast_pb2.AggregateForecastRequest(group_by=groups, range=span)
                for span in self.ranges(SHORTER)
            ]
        )

    def ranges(self, shorter: int) -> list[forecast_pb2.TimeRange]:
        """The whole horizon and the ranges up to so many periods shorter, the longest first."""
        manifest = self.snapshot.manifest
        step = int(STEP[manifest.period] // np.timedelta64(1, "s"))
        first = int(manifest.origin.astype("M8[s]").astype(np.int64)) + step
        return [
            forecast_pb2.TimeRange(
                start_seconds=first + begin * step, end_seconds=first + (begin + length) * step
            )
            for length in range(manifest.horizon, max(manifest.horizon - shorter, 1) - 1, -1)
            for begin in range(manifest.horizon - length + 1)
        ]

    def surges(self, n: int) -> list[bytes]:
        """`ListSurges` of single series, each with another multiple."""
        return _raw([forecast_pb2.ListSurgesRequest(multiple=1.5 + i / n) for i in range(n)])

    def scenarios(self, n: int, home: Home) -> list[bytes]:
        """`SimulateScenario` of one series each, with another change of the first feature that the model
        knows ahead, or of its first event; empty where it knows neither."""
        changes = _changes(n, home, self.snapshot.manifest.bundle_id)
        return _raw(
            [
                forecast_pb2.SimulateScenarioRequest(keys=[_key(key)], changes=[change])
                for key, change in zip(self.draw(len(changes), 1_000_003), changes, strict=True)
            ]
        )


def _changes(n: int, home: Home, bundle: str) -> list[forecast_pb2.Change]:
    path = home.bundles_dir / bundle / "bundle.json"
    try:
        schema = json.loads(path.read_text(encoding="utf-8"))["schema"]
        features = [one["name"] for one in schema["known"]]
        kinds = [name.partition("/")[0] for name in schema["events"]]
    except FileNotFoundError:
        return []
    except (ValueError, KeyError, TypeError) as error:
        raise IntegrityError(str(path), expected="the manifest of a bundle", found=str(error)) from error
    parts = [0.5 + 0.5 * i / n for i in range(n)]
    if features:
        return [_feature(features[0], part) for part in parts]
    if kinds:
        return [_event(kinds[0], part) for part in parts]
    return []


def _feature(name: str, part: float) -> forecast_pb2.Change:
    return forecast_pb2.Change(feature=forecast_pb2.FeatureChange(name=name, multiply=part))


def _event(kind: str, part: float) -> forecast_pb2.Change:
    return forecast_pb2.Change(event=forecast_pb2.EventChange(kind=kind, multiply_intensity=part))


def _key(key: Key) -> forecast_pb2.SeriesKey:
    item, location, platform = key
    return forecast_pb2.SeriesKey(item=item, location=location, platform=platform)


def _raw(requests: Sequence[Message]) -> list[bytes]:
    return [request.SerializeToString() for request in requests]
