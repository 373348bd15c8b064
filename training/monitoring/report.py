"""A round as tables for people and as one object for programs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Final

import polars as pl

from forecast.cli.output import Cell, print_table, say
from forecast.times import iso
from training.gates.findings import Finding
from training.monitoring.rounds import Round
from training.monitoring.table import METRICS, overall
from training.monitoring.tally import ALL, BANDS

HEADINGS: Final[Mapping[str, str]] = {
    "n": "scored",
    "wql": "WQL",
    "naive_wql": "naive",
    "fva": "FVA",
    "wape": "WAPE",
    "bias": "bias",
    **{f"coverage_{band}": f"{band} %" for band in BANDS},
}
"""Column -> its heading. scored: periods of series; naive: WQL of the seasonal naive."""
DIMENSIONS: Final = ("segment", "platform", "week", "event")


def print_round(found: Round, by: str | None) -> None:
    """A row per snapshot, then per part where asked for, and what there is to say."""
    whole = overall(found.scores)
    rows = [[*_about(row), *_cells(row)] for row in whole.iter_rows(named=True)]
    title = f"Published forecasts against demand up to {iso(found.last)} (data version {found.data_version})"
    print_table(("origin", "snapshot", "bundle", "periods", *HEADINGS.values()), rows, title=title)
    if by is not None:
        _print_parts(found.scores, by)
    for row in whole.filter(pl.col("gone") > 0).iter_rows(named=True):
        say(f"{row['snapshot']}: {row['gone']:,} of its series are not in the store and were not scored")
    for skipped in found.skipped:
        say(f"skipped {skipped.snapshot}: {skipped.reason}")
    for waiting in found.waiting:
        say(f"{waiting.manifest.id}: nothing known yet; from {iso(waiting.first)} on")
    for finding in found.warnings:
        say(f"warning: {finding.sentence()}")
    for finding in found.failures:
        say(f"finding: {finding.sentence()}")


def round_json(found: Round) -> dict[str, object]:
    """A round as one JSON object."""
    whole = overall(found.scores)
    return {
        "data": {"version": found.data_version, "last": str(found.last), "period": found.period},
        "snapshots": [
            {
                "snapshot": row["snapshot"],
                "bundle": row["bundle"],
                "origin": row["origin"],
                "periods": row["periods"],
                "horizon": row["horizon"],
                "series": row["series"],
                "gone": row["gone"],
                "data_version": row["data_version"],
                **_metrics(row),
                "by": _by(found.scores.filter(pl.col("snapshot") == row["snapshot"])),
            }
            for row in whole.iter_rows(named=True)
        ],
        "recent": _by(found.recent),
        "new": list(found.new),
        "waiting": [{"snapshot": one.manifest.id, "from": str(one.first)} for one in found.waiting],
        "skipped": [asdict(one) for one in found.skipped],
        "serving": {
            "bundle": found.promise.bundle,
            "trained_until": None if (seen := found.promise.trained_until) is None else str(seen),
            "wql_at_promotion": found.promise.wql,
        },
        "findings": [_finding(one) for one in found.findings],
    }


def wide(scores: pl.DataFrame) -> pl.DataFrame:
    """The scores' table as a person wants to read it in MLflow."""
    about = ("origin", "snapshot", "bundle", "periods", "horizon", "gone", "dimension", "value", "n", "units")
    return scores.select(*about, *METRICS).with_columns(pl.col("origin").dt.to_string("%Y-%m-%d %H:%M"))


def _print_parts(scores: pl.DataFrame, by: str) -> None:
    parts = scores.filter(pl.col("dimension") == by)
    if parts.is_empty():
        say(f"no snapshot has any {by}")
        return
    rows: list[list[Cell]] = []
    previous = ""
    for row in parts.iter_rows(named=True):
        origin, snapshot = _about(row)[:2] if row["snapshot"] != previous else ("", "")
        rows.append([origin, snapshot, row["value"], *_cells(row)])
        previous = row["snapshot"]
    print_table(("origin", "snapshot", by, *HEADINGS.values()), rows, title=f"By {by}")


def _about(row: dict[str, object]) -> tuple[str, str, str, str]:
    origin = str(row["origin"]).removesuffix(" 00:00:00")
    return origin, str(row["snapshot"]), str(row["bundle"]), f"{row['periods']} of {row['horizon']}"


def _cells(row: dict[str, object]) -> list[Cell]:
    return [_cell(name, row[name]) for name in HEADINGS]


def _cell(name: str, value: object) -> Cell:
    if not isinstance(value, (int, float)):
        return None
    return int(value) if name == "n" else round(float(value), 4)


def _by(scores: pl.DataFrame) -> dict[str, dict[str, object]]:
    """dimension -> value -> metrics."""
    found: dict[str, dict[str, object]] = {}
    for row in scores.iter_rows(named=True):
        if row["dimension"] == ALL.dimension:
            found[ALL.dimension] = dict(_metrics(row))
        else:
            found.setdefault(row["dimension"], {})[row["value"]] = _metrics(row)
    return found


def _metrics(row: dict[str, object]) -> dict[str, object]:
    n = row["n"]
    scored = int(n) if isinstance(n, float) else 0
    return {"scored": scored, "units": row["units"], **{name: row[name] for name in METRICS}}


def _finding(finding: Finding) -> dict[str, object]:
    return asdict(finding)
