"""What is missing: demand, stock, known features, series; and what is new."""

from __future__ import annotations

import json
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from forecast.data_gate_settings import DataGateSettings
from forecast.errors import IntegrityError, NotFoundError
from forecast.home import Home
from forecast.model.schema import FeatureSchema
from forecast.snapshot.pointer import manifest_of, readable_pointer
from training.gates.data.survey import Survey
from training.gates.findings import Finding

SILENT: Final = 10.0
"""A series has fallen silent when nothing is there in the judged days that usually bring so many units."""


def check_missing(survey: Survey, settings: DataGateSettings) -> list[Finding]:
    """The share of missing demand, and the share without stock, against the weeks before."""
    missing_W: NDArray[np.float64] = 1 - survey.seen_W / np.maximum(survey.born_W, 1)
    there_W = survey.seen_W > 0  # of a day without any row the check of gaps tells
    findings = [_against(survey, "missing demand", "all", missing_W, there_W, settings.missing)]
    told_W: NDArray[np.bool_] = np.isfinite(survey.stocked_W)
    if told_W.any():
        findings += _stock(survey, settings, told_W)
    return findings


def _stock(survey: Survey, settings: DataGateSettings, told_W: NDArray[np.bool_]) -> list[Finding]:
    """Stock is short at an event as a rule, so that days that are one's only warn."""
    calm_W = survey.calm_D()[-survey.windows.width :]
    j = survey.windows.judged
    blocks = bool(calm_W[-j:].all())
    found = [_against(survey, "stocked out", "all", survey.stocked_W, told_W, settings.stocked_out, blocks)]
    before, last = told_W[:-j].mean() if len(told_W) > j else 0.0, told_W[-j:].mean()
    if last < before - settings.missing:
        found.append(
            Finding(
                check="stocked out",
                subject="record",
                passed=False,
                expected=f"stock to be recorded on {before:.0%} of the days, as before",
                found=f"{last:.0%}",
                value=float(last),
                limit=float(before - settings.missing),
            )
        )
    return found


def _against(
    survey: Survey,
    check: str,
    subject: str,
    share_W: NDArray[np.float64],
    told_W: NDArray[np.bool_],
    limit: float,
    blocks: bool = True,
) -> Finding:
    """The worst judged day against the median of the days before."""
    j = survey.windows.judged
    before = share_W[:-j][told_W[:-j]]
    last = np.where(told_W[-j:], share_W[-j:], np.nan)
    if not len(before) or not np.isfinite(last).any():
        return Finding(
            check=check,
            subject=subject,
            passed=True,
            expected="a share like before",
            found="nothing to compare",
        )
    usual = float(np.median(before))
    off = np.abs(last - usual) if check == "stocked out" else last - usual
    worst = int(np.nanargmax(off))
    day = survey.days_D[len(survey.days_D) - j + worst]
    low = f"{max(usual - limit, 0):.0%} to " if check == "stocked out" else "at most "
    return Finding(
        check=check,
        subject=subject,
        passed=bool(off[worst] <= limit),
        expected=f"{low}{min(usual + limit, 1):.0%} (usually {usual:.1%})",
        found=f"{last[worst]:.1%} on {day}" + ("" if off[worst] > limit else " at the most"),
        blocks=blocks,
        value=float(last[worst]),
        limit=usual + limit,
    )


def check_series(survey: Survey, settings: DataGateSettings) -> list[Finding]:
    """Series that are new, and series that fell silent though nothing says that they are sold out."""
    rows, j = survey.series, survey.windows.judged
    alive = rows.filter((pl.col("told_usual") > 0) | (pl.col("told_last") > 0))
    new = alive.filter((pl.col("told_before") == 0) & (pl.col("told_last") > 0))
    usual = float(rows["usual"].sum())
    sold_out = pl.col("stocked").fill_nan(0).fill_null(0) > 0.5
    gone = rows.filter((pl.col("usual") * j >= SILENT) & (pl.col("last") == 0) & ~sold_out)
    lost = float(gone["usual"].sum()) / usual if usual > 0 else 0.0
    share = new.height / max(alive.height, 1)
    known = bool((rows["told_before"] > 0).any())
    return [
        Finding(
            check="new series",
            subject="all",
            passed=share <= settings.new_series or not known,
            expected=f"at most {settings.new_series:.0%} of {alive.height:,} series",
            found=f"{new.height:,} ({share:.1%}){_examples(new)}",
            value=share,
            limit=settings.new_series,
        ),
        Finding(
            check="vanished series",
            subject="all",
            passed=lost <= settings.vanished,
            expected=f"at most {settings.vanished:.0%} of the usual demand",
            found=f"{lost:.1%}, of {gone.height:,} series{_examples(gone)}",
            value=lost,
            limit=settings.vanished,
        ),
    ]


def _examples(rows: pl.DataFrame) -> str:
    keys = (
        rows.sort("usual", descending=True).head(3).select("label:item", "label:location", "label:platform")
    )
    names = [f"{item} at {location} on {platform}" for item, location, platform in keys.iter_rows()]
    return f", such as {'; '.join(names)}" if names else ""


def check_schema(home: Home, survey: Survey, settings: DataGateSettings, before: set[str]) -> list[Finding]:
    """Known features and labels against those of the model that serves, and against the weeks before.

    before: the known features of the imports but the last.
    """
    schema = served_schema(home)
    wanted = {feature.name for feature in schema.known} if schema else set()
    findings = [_known(survey, name, settings, name in wanted) for name in sorted(survey.known_W)]
    gone = sorted(wanted - set(survey.known_W))
    if schema is not None:
        labels = {name.removeprefix("label:") for name in survey.series.columns if name.startswith("label:")}
        gone += sorted({feature.name for feature in schema.statics} - labels)
        findings += [_ahead(survey, name, schema.horizon) for name in sorted(wanted & set(survey.ahead))]
    findings += [_column(name, "a column, as the model that serves knows it", "none") for name in gone]
    known = wanted | before
    if known:
        new = sorted(set(survey.known_W) - known)
        findings += [_column(name, "known features as before", "a new one", blocks=False) for name in new]
    return findings or [
        Finding(check="schema", subject="all", passed=True, expected="known features", found="none to check")
    ]


def _column(name: str, expected: str, found: str, *, blocks: bool = True) -> Finding:
    return Finding(check="schema", subject=name, passed=False, expected=expected, found=found, blocks=blocks)


def _known(survey: Survey, name: str, settings: DataGateSettings, served: bool) -> Finding:
    """Whether a feature is there as often as before."""
    j, share_W = survey.windows.judged, np.nan_to_num(survey.known_W[name])
    before = float(np.median(share_W[:-j])) if len(share_W) > j else float(share_W[-1])
    worst = int(np.argmin(share_W[-j:]))
    found = float(share_W[-j:][worst])
    least = max(before - settings.missing, 0.0)
    for_whom = " and the model that serves needs it" if served else ""
    return Finding(
        check="schema",
        subject=name,
        passed=found >= least,
        expected=f"known for at least {least:.0%} of the series (usually {before:.1%}){for_whom}",
        found=f"{found:.1%} on {survey.days_D[len(survey.days_D) - j + worst]}",
        value=found,
        limit=least,
    )


def _ahead(survey: Survey, name: str, horizon: int) -> Finding:
    """Whether a feature that the model that serves needs is known over its horizon."""
    reach = survey.ahead[name]
    return Finding(
        check="schema",
        subject=f"{name} ahead",
        passed=reach >= horizon,
        expected=f"known for {horizon} periods after {survey.last}, as the model that serves needs it",
        found=f"for {reach}",
        value=float(reach),
        limit=float(horizon),
    )


def served_schema(home: Home) -> FeatureSchema | None:
    """The features of the model that serves; None where none does or its files are not readable."""
    pointer = readable_pointer(home)
    if pointer is None:
        return None
    try:
        bundle_id = manifest_of(home, pointer.snapshot).bundle_id
        text = (home.bundles_dir / bundle_id / "bundle.json").read_text(encoding="utf-8")
        return FeatureSchema.from_dict(json.loads(text)["schema"])
    except (NotFoundError, IntegrityError, OSError, ValueError, KeyError, TypeError):
        return None
