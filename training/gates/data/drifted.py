"""Drift of demand and known features: the last weeks against as many before, one value a series."""

from __future__ import annotations

from typing import Final

import polars as pl

from forecast.data_gate_settings import DataGateSettings
from forecast.evaluation.drift import drift
from training.gates.data.survey import Survey
from training.gates.findings import Finding

SEGMENTS: Final = 30
"""Labels up to which a column divides the series into segments."""
LEAST: Final = 50
"""Series that a segment must have on either side."""
CROWDED: Final = 4
"""Series of a location, on average, from which what they share is told from what is their own."""


def check_drift(survey: Survey, settings: DataGateSettings) -> list[Finding]:
    """A finding for each feature: the segment that moved most."""
    rows = drift_table(survey)
    return [_feature(rows.filter(pl.col("feature") == name), name, settings) for name in own_features(survey)]


def drift_table(survey: Survey) -> pl.DataFrame:
    """PSI and Wasserstein distance of each feature in each segment, as `evaluation.drift` gives them, with
    the column `by` that divides into the segments: empty for all series."""
    series = survey.series
    names = own_features(survey)
    columns = [name for name in series.columns if name.startswith("label:")]
    by = [name for name in columns if 1 < series[name].n_unique() <= SEGMENTS]
    old, new = (
        series.select(*columns, *(pl.col(f"{side}:{n}").alias(n) for n in names)) for side in ("old", "new")
    )
    tables = [
        drift(old, new, names, segment=column or None).with_columns(by=pl.lit(column.removeprefix("label:")))
        for column in ("", *by)
    ]
    return pl.concat(tables).filter((pl.col("n_reference") >= LEAST) & (pl.col("n_recent") >= LEAST))


def own_features(survey: Survey) -> list[str]:
    """Demand, and the known features that series have of their own. The weather of a place or the days of
    benefits of a state are the same for all items there, and move with the calendar."""
    series = survey.series
    names = [name.removeprefix("old:") for name in series.columns if name.startswith("old:")]
    n_places = series["label:location"].n_unique()
    if series.height < CROWDED * n_places:
        return names
    courses = {n: series.select("label:location", f"old:{n}", f"new:{n}").n_unique() for n in names}
    return [name for name in names if name == "demand" or courses[name] > 2 * n_places]


def _feature(rows: pl.DataFrame, name: str, settings: DataGateSettings) -> Finding:
    """The worst segment of a feature, of those where PSI is more than chance would make it. All series
    together stop above the second threshold."""
    limit = settings.psi_warning
    if rows.is_empty():
        return Finding(
            check="drift",
            subject=name,
            passed=True,
            expected=f"PSI of at most {limit:g}",
            found="too few series or weeks to compare",
            blocks=False,
        )
    real = rows.filter(pl.col("psi") > pl.col("noise"))
    worst = (real if real.height else rows).sort("psi", descending=True).row(0, named=True)
    over = real.filter(pl.col("psi") > limit).height
    passed = over == 0
    whole = float(rows.filter(pl.col("by") == "")["psi"].max() or 0.0)  # type: ignore[arg-type]
    blocks = whole > settings.psi_blocking
    where = f"{worst['by']} {worst['segment']}" if worst["by"] else "all series"
    moved = worst["moved"]
    distance = f", Wasserstein {worst['wasserstein']:.3g}" + (
        f" ({moved:.2g} sd)" if moved is not None else ""
    )
    more = f"; {over - 1} more segments above {limit:g}" if over > 1 else ""
    return Finding(
        check="drift",
        subject=name,
        passed=passed,
        expected=f"PSI of at most {limit:g} between the last weeks and those before",
        found=f"{worst['psi']:.2f} in {where}{distance}{more}",
        blocks=blocks,
        value=whole if blocks else float(worst["psi"]),
        limit=settings.psi_blocking if blocks else limit,
    )
