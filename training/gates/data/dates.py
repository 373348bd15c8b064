"""Whether demand is new enough, without gaps, and under the right dates.

Letters: D days, P periods.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from forecast.data_gate_settings import DataGateSettings
from forecast.times import iso
from training.gates.data.survey import BLOCK, SEASON, Survey
from training.gates.findings import Finding

Array = NDArray[np.float64]
SEASONS: Final[dict[str, tuple[int, ...]]] = {"day": (1, 2, 3, 4), "hour": (1, 2, 4, 7)}
"""Last weeks (of hours: days) that may have come under other dates."""
REFERENCE: Final = 26
"""Weeks (days) before them that show the usual pattern; fewer where there are no more."""
FARTHEST: Final = {"day": 3, "hour": 12}
"""Days (hours) a shift is looked for on either side."""
EVIDENCE: Final = 9.0
"""Log-likelihood ratio from which another shift is believed. Real weeks of M5 reach 7.5 without any."""
EVIDENCE_ONE: Final = 30.0
"""The same for a single week (day), which may be a special one: Christmas reaches 26."""
REST: Final = 0.6
"""Squared error that may be left at that shift, as a share of that without it."""
SAME: Final = 10
"""Items with demand from which two days of the same numbers are no chance."""
LEAST_PROFILE: Final = 0.03
"""Standard deviation, relative, that the days of a week must differ by to tell them apart."""


def check_cutoff(
    cutoff: np.datetime64 | None, first: np.datetime64, last: np.datetime64, step: np.timedelta64
) -> Finding:
    """Whether the cutoff, if one is given, lies within the demand."""
    good = cutoff is None or bool(first <= cutoff < last + step)
    return Finding(
        check="cutoff",
        subject="all",
        passed=bool(good),
        expected=f"a period with demand, {iso(first)} to {iso(last)}",
        found="none: all demand is used" if cutoff is None else iso(cutoff),
    )


def check_freshness(
    survey: Survey, settings: DataGateSettings, cutoff: np.datetime64 | None, today: np.datetime64
) -> Finding:
    """Whether the last demand is of the last days before today; of a cutoff in the past, whether there is
    demand up to it. Demand after today comes from wrong dates."""
    last, now = survey.last.astype("datetime64[D]"), today.astype("datetime64[D]")
    oldest = now - settings.max_age_days
    age = int((now - last) / np.timedelta64(1, "D"))
    found = f"{iso(survey.last)}, " + (f"{age:,} days ago" if age >= 0 else f"{-age:,} days after today")
    if cutoff is not None:
        expected, good = f"demand up to the cutoff, none after {now}", last <= now
    else:
        expected, good = f"demand up to {oldest} or later, none after {now}", oldest <= last <= now
        found += "" if good or age < 0 else " (--cutoff DAY trains on history)"
    return Finding(
        check="freshness",
        subject="all",
        passed=bool(good),
        expected=expected,
        found=found,
        value=float(age),
        limit=float(settings.max_age_days),
    )


def check_gaps(survey: Survey) -> list[Finding]:
    """Days without any row, where that weekday has some as a rule; those judged stop, those before warn."""
    w, season = survey.windows.width, survey.windows.season
    empty_W = survey.seen_W == 0
    day_W = np.arange(w)
    usual_W = np.array([np.mean(~empty_W[d % season :: season]) > 0.5 for d in day_W], np.bool_)
    gap_W = empty_W & usual_W
    expected = f"demand on each of the last {w:,} {'weeks' if season == 1 else 'days'}"
    is_judged_W = day_W >= w - survey.windows.judged
    findings = []
    for rows, blocks in ((gap_W & is_judged_W, True), (gap_W & ~is_judged_W, False)):
        days = [str(day) for day in survey.days_D[-w:][rows]]
        if days:
            more = f" and {len(days) - 5} more" if len(days) > 5 else ""
            findings.append(
                Finding(
                    check="gaps",
                    subject="all",
                    passed=False,
                    expected=expected,
                    found=f"no row on {', '.join(days[:5])}{more}",
                    blocks=blocks,
                    value=float(len(days)),
                    limit=0.0,
                )
            )
    return findings or [Finding(check="gaps", subject="all", passed=True, expected=expected, found="no gap")]


def check_dates(survey: Survey) -> list[Finding]:
    """Whether the last days lie under the dates of their weekdays, and hourly demand under its hours, and
    none is another day once more."""
    findings = []
    if SEASON[survey.period] > 1:
        shift = best_shift(survey.all.units_ND[0], survey.calm_D(), SEASON[survey.period], "day")
        findings.append(_shift_finding(survey, "day", "weekdays", shift))
    if BLOCK[survey.period] > 1:
        calm_P = np.repeat(survey.calm_D(), BLOCK[survey.period])
        shift = best_shift(survey.units_P, calm_P, BLOCK[survey.period], "hour")
        findings.append(_shift_finding(survey, "hour", "hours", shift))
    return [*findings, *_repeats(survey)]


def _repeats(survey: Survey) -> list[Finding]:
    """Days whose demand is, item by item, that of an earlier day: sent again under another date."""
    finest = survey.dimensions[-1]
    w, j = survey.windows.width, survey.windows.judged
    units_NW = finest.units_ND[:, -w:]
    findings = []
    for day in range(w - j, w):
        if (units_NW[:, day] > 0).sum() >= SAME:
            same_W = (units_NW[:, :day] == units_NW[:, day, None]).all(axis=0)
            if same_W.any():
                name, earlier = survey.days_D[-w:][day], survey.days_D[-w:][np.flatnonzero(same_W)[-1]]
                findings.append(_repeat(str(name), str(earlier), len(units_NW), finest.name))
    return findings


def _repeat(day: str, earlier: str, n: int, of: str) -> Finding:
    return Finding(
        check="dates",
        subject=day,
        passed=False,
        expected="demand of its own",
        found=f"that of {earlier} once more, the same for each of {n:,} {of}s: shifted or sent again",
    )


def _shift_finding(survey: Survey, unit: str, pattern: str, shift: tuple[int, int]) -> Finding:
    steps, length = shift
    expected = f"the last {length or survey.windows.judged} {unit}s to follow the usual pattern of {pattern}"
    late = f"{abs(steps)} {unit}{'s' if abs(steps) > 1 else ''} too {'late' if steps > 0 else 'early'}"
    return Finding(
        check="dates",
        subject="all" if unit == "day" else "hours",
        passed=steps == 0,
        expected=expected,
        found="that pattern, not shifted" if steps == 0 else f"the pattern {late}: shifted dates",
        value=float(steps),
        limit=0.0,
    )


def best_shift(units_D: Array, calm_D: NDArray[np.bool_], season: int, unit: str) -> tuple[int, int]:
    """By how many days (hours) the last ones lie too late, and how many of them; (0, 0) where the pattern of
    the weeks (days) before fits best as it is.

    Logarithms of demand are compared with the mean of each weekday over the weeks before; a shift k is
    believed where demand follows that mean of k days earlier, the likelihood of independent normal errors,
    whose variance the weeks before give, is EVIDENCE higher in logarithms, and no more than the share REST
    of the squared error is left. Errors count as far as the weekdays differ, so that one odd day, be it a
    tenfold one, makes no shift.
    """
    best, most = (0, 0), 0.0
    log_D = np.log(units_D + 0.5)
    usable_D = calm_D & (units_D > 0)
    phase_D = np.arange(len(units_D)) % season
    for seasons in SEASONS[unit]:
        first = len(units_D) - seasons * season
        start = max(first - REFERENCE * season, 0)
        if first - start < 3 * season or usable_D[first:].sum() < 0.7 * seasons * season:
            continue
        before = np.flatnonzero(usable_D[start:first]) + start
        profile, noise = _profile(log_D[before], phase_D[before], before, season)
        if profile is None or profile.std() < LEAST_PROFILE:
            continue
        last = np.flatnonzero(usable_D[first:]) + first
        errors = {}
        for k in range(-FARTHEST[unit], FARTHEST[unit] + 1):
            rest = log_D[last] - profile[(phase_D[last] - k) % season]
            bounded = np.clip(rest - np.median(rest), -np.ptp(profile), np.ptp(profile))
            errors[k] = float(np.sum(bounded**2))
        k = min(errors, key=lambda shift: (errors[shift], abs(shift)))
        ratio = (errors[0] - errors[k]) / (2 * noise)
        enough = ratio > (EVIDENCE_ONE if seasons == 1 else EVIDENCE)
        if k != 0 and enough and ratio > most and errors[k] < REST * errors[0]:
            best, most = (k, seasons * season), ratio
    return best


def _profile(
    log_N: Array, phase_N: NDArray[np.intp], day_N: NDArray[np.intp], season: int
) -> tuple[Array | None, float]:
    """The mean of each weekday relative to its week, and the variance around it; None where one lacks."""
    week_N = day_N // season
    weeks, week_N = np.unique(week_N, return_inverse=True)
    level_N = (np.bincount(week_N, log_N) / np.bincount(week_N))[week_N]
    n_phases = np.bincount(phase_N, minlength=season)
    if n_phases.min() < 2:
        return None, 0.0
    profile = np.bincount(phase_N, log_N - level_N, minlength=season) / n_phases
    rest_N = log_N - level_N - profile[phase_N]
    free = max(len(log_N) - len(weeks) - season + 1, 1)
    return profile, max(float(np.sum(rest_N**2)) / free, 0.02**2)
