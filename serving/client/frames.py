"""Answers as polars frames."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import fields

import numpy as np
import polars as pl

from forecast.errors import InputError
from forecast.forecasts import Floats
from serving.client.types import (
    AggregateForecast,
    EventSpan,
    EventSummary,
    Key,
    Levels,
    PublishedModel,
    ScenarioForecast,
    SeriesForecast,
    SeriesSummary,
    Surge,
    Times,
)

Answer = SeriesForecast | ScenarioForecast | SeriesSummary | Surge | EventSummary | PublishedModel


def to_frame(answers: Iterable[Answer]) -> pl.DataFrame:
    """Answers of one kind as a frame, whatever method gave them, lists and iterators alike.

    Forecasts: item, location, platform, time, mean and a column for each level, such as q0.975, with a row
    for each period; what-ifs have these rows twice, told apart by `changed`. Others: a row for each.
    InputError for a mixture.
    """
    rows = list(answers)
    kinds = {type(row) for row in rows}
    if len(kinds) > 1:
        found = ", ".join(sorted(kind.__name__ for kind in kinds))
        raise InputError("answers", expected="answers of one kind", found=found)
    forecasts = [row for row in rows if isinstance(row, SeriesForecast)]
    pairs = [row for row in rows if isinstance(row, ScenarioForecast)]
    if forecasts:
        return _forecasts(forecasts)
    if pairs:
        before = _forecasts([pair.baseline for pair in pairs])
        after = _forecasts([pair.changed for pair in pairs])
        both = [before.with_columns(changed=False), after.with_columns(changed=True)]
        return pl.concat(both).select(
            "item", "location", "platform", "changed", pl.exclude(*Key._fields, "changed")
        )
    others = [row for row in rows if not isinstance(row, (SeriesForecast, ScenarioForecast))]
    return pl.DataFrame([_record(row) for row in others], infer_schema_length=None)


def aggregate_frame(answer: AggregateForecast) -> pl.DataFrame:
    """The groups of an aggregate, a row for each group and sum in time."""
    n_groups, n_times = len(answer.groups), len(answer.times)
    columns: dict[str, pl.Series] = {}
    for position, name in enumerate(answer.by):
        values = np.array([group.values[position] for group in answer.groups], dtype=object)
        columns[name] = pl.Series(name, np.repeat(values, n_times), dtype=pl.String)
    counts = np.array([group.n_series for group in answer.groups], dtype=np.int64)
    columns["series"] = pl.Series("series", np.repeat(counts, n_times))
    columns["time"] = _time_column("time", np.tile(answer.times, n_groups))
    columns["end"] = _time_column("end", np.tile(answer.ends, n_groups))
    means = [group.mean for group in answer.groups]
    quantiles = [group.quantiles for group in answer.groups]
    columns |= _numbers(means, quantiles, answer.levels)
    return pl.DataFrame(list(columns.values()))


def _forecasts(forecasts: Sequence[SeriesForecast]) -> pl.DataFrame:
    levels = forecasts[0].levels
    lengths = [len(forecast.times) for forecast in forecasts]
    columns: dict[str, pl.Series] = {}
    for position, name in enumerate(Key._fields):
        values = np.array([forecast.key[position] for forecast in forecasts], dtype=object)
        columns[name] = pl.Series(name, np.repeat(values, lengths), dtype=pl.String)
    columns["time"] = _time_column("time", np.concatenate([forecast.times for forecast in forecasts]))
    means = [forecast.mean for forecast in forecasts]
    columns |= _numbers(means, [forecast.quantiles for forecast in forecasts], levels)
    return pl.DataFrame(list(columns.values()))


def _numbers(means: list[Floats], quantiles: list[Floats], levels: Levels) -> dict[str, pl.Series]:
    """The columns of means and of quantiles (rows, Q)."""
    empty = np.zeros((0, len(levels)), dtype=np.float32)
    joined = np.concatenate([empty, *quantiles])
    columns = {"mean": pl.Series("mean", np.concatenate([empty[:, 0], *means]))}
    for position, level in enumerate(levels):
        name = f"q{level:g}"
        columns[name] = pl.Series(name, np.ascontiguousarray(joined[:, position]))
    return columns


def _time_column(name: str, times: Times) -> pl.Series:
    return pl.Series(name, times.astype("datetime64[us]"))


def _record(row: SeriesSummary | Surge | EventSummary | PublishedModel) -> dict[str, object]:
    """Columns of one row; what is nested is spread out, what is not there left out, times are Python's."""
    record: dict[str, object] = {}
    for field in fields(row):
        value = getattr(row, field.name)
        if isinstance(value, EventSpan):
            record |= {part.name: _plain(getattr(value, part.name)) for part in fields(value)}
        elif isinstance(value, Key):
            record |= value._asdict()
        elif field.name != "source" and not (value is None or (isinstance(value, tuple) and not value)):
            record[field.name] = _plain(value)
    return record


def _plain(value: object) -> object:
    if isinstance(value, np.datetime64):
        return value.astype("datetime64[us]").item()
    if isinstance(value, np.ndarray):
        return value.astype("datetime64[us]").tolist()  # the only arrays here are times
    return list(value) if isinstance(value, tuple) else value
