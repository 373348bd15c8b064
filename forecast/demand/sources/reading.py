"""Files of rows: Parquet and CSV, read by an allow-list of columns, with times brought to one convention."""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TypeVar

import polars as pl
from pydantic import BaseModel, ConfigDict, ValidationError

from forecast.errors import InputError, NotFoundError, UsageError

Model = TypeVar("Model", bound=BaseModel)
ZONE = r"(?:[+-]\d{2}:?\d{2}|[Zz])$"
FORMATS = ("%Y-%m-%d", "%Y-%m-%d %H:%M", "%Y-%m-%d %H:%M:%S", "%Y-%m-%d %H:%M:%S%.f", "%Y%m%d")


@dataclass(frozen=True, kw_only=True)
class Reading:
    """How rows are read: the zone whose days are counted, the largest believable number of units in a row,
    and the latest moment that can have been observed."""

    timezone: str = "UTC"
    max_units: float = 100_000.0
    now: datetime

    @staticmethod
    def today() -> datetime:
        """The latest moment that can have been observed anywhere: a day ahead of now in UTC."""
        return datetime.now(UTC).replace(tzinfo=None) + timedelta(days=1)


class FileModel(BaseModel):
    """Base of the small TOML files that say which column is what: unknown keys are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid")


def read_toml(path: Path) -> dict[str, object]:
    """A TOML file's content. Raises UsageError naming the file, and the line where it is no TOML."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise UsageError(f"{path}: expected a TOML file, found {error}") from error


def read_model(path: Path, content: object, model: type[Model]) -> Model:
    """Check a TOML file's content. Raises UsageError naming the file, the key, expected and found."""
    try:
        return model.model_validate(content)
    except ValidationError as error:
        raise UsageError(f"{path}: {_complaint(error, model)}") from error


def _complaint(error: ValidationError, model: type[BaseModel]) -> str:
    """The first fault: key, expected and found; for a key that is not known the nearest one."""
    first = error.errors()[0]
    *sections, name = map(str, first["loc"] or ("file",))
    key = ".".join([*sections, name])
    if first["type"] == "extra_forbidden":
        for section in sections:
            inner = model.model_fields[section].annotation
            model = inner if isinstance(inner, type) and issubclass(inner, BaseModel) else model
        near = difflib.get_close_matches(name, model.model_fields, n=1)
        hint = f"; did you mean {near[0]}?" if near else ""
        return f"{key}: expected a key ({', '.join(model.model_fields)}), found {name!r}{hint}"
    if first["type"] == "missing":
        return f"{key}: expected a value, found nothing"
    expected = first["msg"].removeprefix("Input should be ")
    return f"{key}: expected {expected}, found {first['input']!r}"


def read_rows(
    files: Sequence[Path], columns: Mapping[str, str], *, zone: str, optional: frozenset[str] = frozenset()
) -> pl.DataFrame:
    """The named columns of all files, one below the other, with `row` = the row's number over all files.

    columns: name wanted -> column in the file; `time` is read as local time of `zone`, the others as they
    stand.
    optional: names that may lack; they are null then.
    Raises NotFoundError for a file, InputError for an unreadable or empty file, a missing column or mixed
    zones.
    """
    parts, aware = [], set()
    for path in files:
        part = _read_file(path, columns, optional)
        _check_types(part, path)
        times = read_times(part["time"], zone)
        parts.append(part.with_columns(times.local.alias("time")))
        aware |= {times.aware} if part.height else set()
    if len(aware) > 1:
        raise InputError("time", expected="a zone in all files or in none", found="both")
    try:
        rows = pl.concat(parts, how="vertical_relaxed")
    except pl.exceptions.PolarsError as error:
        raise InputError(
            "files", expected="the same types in all", found=str(error).splitlines()[0]
        ) from error
    if rows.is_empty():
        raise InputError(", ".join(path.name for path in files), expected="at least one row", found="none")
    return rows.with_row_index("row")


def column_names(path: Path) -> list[str]:
    """The columns of a file."""
    return _scan(path).collect_schema().names()


def _check_types(part: pl.DataFrame, path: Path) -> None:
    for name, dtype in part.schema.items():
        if dtype.is_nested() or dtype in (pl.Binary, pl.Duration, pl.Object):
            raise InputError(f"{path.name}: {name}", expected="numbers, text or times", found=str(dtype))


def read_columns(path: Path, columns: Sequence[str]) -> pl.DataFrame:
    """Some columns of a file as they stand. Raises NotFoundError, or InputError for a file or column."""
    return _read_file(path, {name: name for name in columns}, frozenset())


def _scan(path: Path) -> pl.LazyFrame:
    if path.is_dir():
        raise InputError(str(path), expected="a Parquet or CSV file", found="a folder")
    if not path.is_file():
        raise NotFoundError("file", expected=f"{path}", found="nothing there")
    if path.stat().st_size == 0:
        raise InputError(path.name, expected="Parquet or CSV with at least one row", found="an empty file")
    try:
        if path.suffix.lower() in (".parquet", ".pq"):
            frame = pl.scan_parquet(path)
        elif path.suffix.lower() in (".csv", ".txt", ".tsv"):
            separator = "\t" if path.suffix.lower() == ".tsv" else ","
            frame = pl.scan_csv(path, separator=separator, infer_schema=False)
        else:
            raise InputError(
                path.name, expected="a .parquet, .csv or .tsv file", found=path.suffix or "no suffix"
            )
        frame.collect_schema()
    except (pl.exceptions.PolarsError, OSError) as error:
        raise InputError(
            path.name, expected="readable Parquet or CSV", found=str(error).splitlines()[0]
        ) from error
    return frame


def _read_file(path: Path, columns: Mapping[str, str], optional: frozenset[str]) -> pl.DataFrame:
    frame = _scan(path)
    present = frame.collect_schema().names()
    for name, column in columns.items():
        if column not in present and name not in optional:
            raise InputError(
                f"{path.name}: {name}", expected=f"a column {column!r}", found=f"columns {', '.join(present)}"
            )
    wanted = [
        pl.col(column).alias(name) if column in present else pl.lit(None, pl.String).alias(name)
        for name, column in columns.items()
    ]
    try:
        return frame.select(wanted).collect()
    except (pl.exceptions.PolarsError, OSError) as error:
        raise InputError(
            path.name, expected="readable Parquet or CSV", found=str(error).splitlines()[0]
        ) from error


def label(name: str) -> pl.Expr:
    """A key or a static label as text without blanks around it; numbers are written out."""
    return pl.col(name).cast(pl.String).str.strip_chars()


def number(rows: pl.DataFrame, name: str) -> pl.Expr:
    """A number; `true` and `false` are 1 and 0; null where it cannot be read as one.

    Raises InputError for a column of dates or times.
    """
    value, dtype = pl.col(name), rows.schema[name]
    if dtype.is_temporal():
        raise InputError(name, expected="numbers", found=str(dtype))
    if dtype.is_numeric() or dtype in (pl.Boolean, pl.Null):
        return value.cast(pl.Float64, strict=False)
    text = value.cast(pl.String).str.strip_chars()
    flag = (
        pl.when(text.str.to_lowercase() == "true")
        .then(1.0)
        .when(text.str.to_lowercase() == "false")
        .then(0.0)
    )
    return pl.coalesce(text.cast(pl.Float64, strict=False), flag)


@dataclass(frozen=True, kw_only=True)
class Times:
    """local: times without zone, null where unreadable. aware: whether they named a zone."""

    local: pl.Series
    aware: bool


def read_times(column: pl.Series, zone: str) -> Times:
    """Times as local times of one zone; one that names its zone or offset is converted, others are local
    already.

    Raises InputError when a column mixes both, or holds no times.
    """
    if isinstance(column.dtype, pl.Datetime):
        aware = column.dtype.time_zone is not None
        local = column.dt.convert_time_zone(zone).dt.replace_time_zone(None) if aware else column
        return Times(local=local.cast(pl.Datetime("us")), aware=aware)
    if column.dtype == pl.Date:
        return Times(local=column.cast(pl.Datetime("us")), aware=False)
    if column.dtype != pl.String:
        raise InputError("time", expected="dates, times or ISO 8601 text", found=str(column.dtype))
    text = column.str.strip_chars().str.replace("T", " ", literal=True)
    aware_rows = text.str.contains(":", literal=True) & text.str.contains(ZONE)
    n_aware, n_given = int(aware_rows.sum()), text.len() - text.null_count()
    if 0 < n_aware < n_given:
        found = f"{n_aware} times with a zone and {n_given - n_aware} without"
        raise InputError("time", expected="either all times with a zone or none", found=found)
    if not n_aware:
        return Times(local=_parse(text, FORMATS), aware=False)
    utc = text.str.replace(r"(?i)z$", "+00:00").str.replace(r" ?([+-]\d{2}):?(\d{2})$", "$1:$2")
    moments = _parse(utc, [f"{form}%:z" for form in FORMATS[1:4]])
    return Times(local=moments.dt.convert_time_zone(zone).dt.replace_time_zone(None), aware=True)


def _parse(text: pl.Series, formats: Sequence[str]) -> pl.Series:
    attempts = [text.str.to_datetime(form, time_unit="us", strict=False) for form in formats]
    return pl.select(pl.coalesce(attempts)).to_series()
