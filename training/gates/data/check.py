"""All checks of the data gate, in the order in which a person would look."""

from __future__ import annotations

import fnmatch
from dataclasses import replace

import numpy as np

from forecast.data_gate_settings import DataGateSettings
from forecast.demand.panel import STEP
from forecast.demand.store import DemandStore, store_period
from forecast.errors import NotFoundError
from forecast.home import Home
from training.gates.data.dates import check_cutoff, check_dates, check_freshness, check_gaps
from training.gates.data.drifted import check_drift
from training.gates.data.shares import check_missing, check_schema, check_series
from training.gates.data.survey import Survey, read_survey
from training.gates.data.volume import check_volume
from training.gates.findings import Finding, GateReport


def check_data(
    home: Home, settings: DataGateSettings, *, cutoff: np.datetime64 | None, today: np.datetime64
) -> GateReport:
    """Whether the demand in the store, up to the cutoff, is fit to train on.

    cutoff: the last period whose demand is looked at (any moment in it); all demand when None, which must
    then be as new as the settings ask.

    Raises NotFoundError for an empty store, IntegrityError for a damaged one.
    """
    ledger = DemandStore(home.demand_dir).ledger()
    if ledger.is_empty():
        raise NotFoundError("demand store", expected="imported demand", found=f"none in {home.demand_dir}")
    period = store_period(ledger)
    first, last = (
        np.datetime64(ledger[name].drop_nulls().sort()[i], "s") for name, i in (("first", 0), ("last", -1))
    )
    step = STEP[period]
    findings = [check_cutoff(cutoff, first, last, step)]
    if not findings[0].passed:
        return GateReport(gate="data", findings=tuple(findings))
    if cutoff is not None:
        last = first + (cutoff.astype("datetime64[s]") - first) // step * step
    survey = read_survey(home, settings, period, last, cutoff)
    before = set(ledger["known"][:-1].explode().drop_nulls())
    findings += [check_freshness(survey, settings, cutoff, today), *check_gaps(survey)]
    if len(survey.days_D) > survey.windows.judged:
        findings += checks_of_demand(survey, settings)
        findings += check_schema(home, survey, settings, before)
        findings += check_drift(survey, settings)
    else:
        findings.append(_short(survey))
    return GateReport(gate="data", findings=tuple(_accepted(one, settings) for one in findings))


def checks_of_demand(survey: Survey, settings: DataGateSettings) -> list[Finding]:
    """Those that look at demand alone."""
    return [
        *check_dates(survey),
        *check_volume(survey, settings),
        *check_missing(survey, settings),
        *check_series(survey, settings),
    ]


def _short(survey: Survey) -> Finding:
    return Finding(
        check="history",
        subject="all",
        passed=False,
        expected=f"more than {survey.windows.judged} days, to compare the last ones with",
        found=f"{len(survey.days_D)}",
        blocks=False,
    )


def _accepted(finding: Finding, settings: DataGateSettings) -> Finding:
    """The finding, as a warning where the settings accept it."""
    name = finding.check if finding.subject == "all" else f"{finding.check}, {finding.subject}"
    if finding.passed or not any(fnmatch.fnmatchcase(name, pattern) for pattern in settings.accepted):
        return finding
    return replace(finding, blocks=False, found=f"{finding.found} (accepted in the settings)")
