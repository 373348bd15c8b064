"""The demand of each of the last days against what is usual: zeros, tenfold units, a dropped store.

Letters: N labels of a dimension, J judged days.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from forecast.data_gate_settings import DataGateSettings
from training.gates.data.survey import Survey
from training.gates.data.tally import Dimension
from training.gates.data.usual import Usual, usual
from training.gates.findings import Finding

Flags = NDArray[np.bool_]
CHECK: Final = "volume"
LEAST: Final = 10.0
"""Units that a day must usually have for its total to be judged at all."""
NARROWEST: Final = 1.5
"""A day is usual up to this factor however calm the weeks before were."""
WILDEST: Final = 20.0
"""Where the same weekdays vary by more than this factor, nothing is too low."""
WARNED: Final = 0.3
"""Share of `least_units` from which a part of the business is worth a warning."""
LISTED: Final = 5
"""Parts that are named one by one; of more, how many they are."""
MULTIPLE: Final = 5
"""Greatest common divisor of the counts of a day that tells of another unit, if it was 1 before."""
MOVED: Final = 3
"""Days around one without demand where that may lie."""
SELLERS: Final = 5
"""Series that must have sold for that on a day that is unusual anyway."""
CHANCE: Final = 1e-6
"""Chance of such counts, taken as independent, that is believed even where an event explains the demand."""
WEEKDAYS: Final = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")


@dataclass(frozen=True, kw_only=True)
class _Verdict:
    """What is wrong where, and the numbers behind it."""

    found_NJ: NDArray[np.float64]
    low_NJ: NDArray[np.float64]
    high_NJ: NDArray[np.float64]
    factor_NJ: NDArray[np.float64]
    judged_NJ: Flags
    warns_NJ: Flags
    blocks_NJ: Flags
    multiple_NJ: NDArray[np.int64]


def check_volume(survey: Survey, settings: DataGateSettings) -> list[Finding]:
    """Findings by day for all demand, and for each way to divide it."""
    return [finding for dimension in survey.dimensions for finding in _dimension(survey, dimension, settings)]


def _dimension(survey: Survey, dimension: Dimension, settings: DataGateSettings) -> list[Finding]:
    reference = usual(survey, dimension, settings.reference_weeks)
    verdict = _judge(survey, dimension, reference, settings)
    if dimension.name == "all":
        days = range(survey.windows.judged)
        return [_finding(survey, dimension, reference, verdict, 0, j, settings) for j in days]
    found: list[Finding] = []
    for j in np.flatnonzero(verdict.blocks_NJ.any(axis=0)):
        found += _blocking(survey, dimension, reference, verdict, int(j), settings)
    return [*found, *_summary(survey, dimension, verdict, settings)]


def _judge(survey: Survey, dimension: Dimension, reference: Usual, settings: DataGateSettings) -> _Verdict:
    """Days outside of what is usual; those farther off by the dimension's factor block, and those in another
    unit."""
    j, center = survey.windows.judged, reference.center_NJ
    found = dimension.units_ND[:, -j:]
    width = np.maximum(settings.spread * reference.spread_NJ, np.log(NARROWEST))
    low, high = center * np.exp(-width) * reference.low_NJ, center * np.exp(width) * reference.high_NJ
    low = np.where((low < 1) | (width > np.log(WILDEST)), 0.0, low)
    part = dimension.name != "all"
    least = settings.least_units * WARNED if part and dimension.name != "item" else LEAST
    judged = center >= least
    above, below = judged & (found > high), judged & (found < low)
    with np.errstate(divide="ignore", invalid="ignore"):
        factor = np.where(found > center, found / center, center / found)
    multiple, sure = _multiples(dimension, j)
    factor_limit = _factor(dimension.name, settings)
    many = judged & (multiple >= MULTIPLE)
    new_unit = many & sure & (found > 2 * center)
    if dimension.name == "item":
        new_unit |= many & above & (found > settings.part_factor * center)
        above &= (found > factor_limit * reference.high_NJ * center) & (
            center >= settings.least_units * WARNED
        )
        below = np.zeros_like(below)  # of an item that fell silent the check of series tells
    too_high = above & (found > factor_limit * reference.high_NJ * center)
    too_low = below & (found * factor_limit < reference.low_NJ * center)
    heavy = center >= settings.least_units if part else judged
    return _Verdict(
        found_NJ=found,
        low_NJ=low,
        high_NJ=high,
        factor_NJ=factor,
        judged_NJ=judged,
        warns_NJ=above | below | new_unit,
        blocks_NJ=((too_high | too_low) & heavy & ~reference.unseen_NJ) | new_unit,
        multiple_NJ=multiple,
    )


def _factor(name: str, settings: DataGateSettings) -> float:
    """How many times too high or low stops."""
    if name == "all":
        return settings.total_factor
    return settings.part_factor if name in ("location", "platform") else settings.item_factor


def _multiples(dimension: Dimension, j: int) -> tuple[NDArray[np.int64], Flags]:
    """The number that all counts of a judged day are multiples of though those before were not, else 1; and
    where that is a power of ten and no chance. Goods sold by the dozen have such days now and then."""
    divisor_NJ, sold_NJ = dimension.divisor_NW[:, -j:], dimension.sold_NW[:, -j:]
    before_NR, sold_NR = dimension.divisor_NW[:, :-j], dimension.sold_NW[:, :-j]
    packs_N = ((before_NR >= MULTIPLE) & (sold_NR >= SELLERS)).any(axis=1)
    new_N = (np.gcd.reduce(before_NR, axis=1) == 1) & ~packs_N
    multiple_NJ = np.where(new_N[:, None] & (sold_NJ >= SELLERS), np.maximum(divisor_NJ, 1), 1)
    by_ten_NJ = np.isin(multiple_NJ, (10, 100, 1_000))
    return multiple_NJ, by_ten_NJ & (sold_NJ * np.log(multiple_NJ) > -np.log(CHANCE))


def _blocking(
    survey: Survey,
    dimension: Dimension,
    reference: Usual,
    verdict: _Verdict,
    j: int,
    settings: DataGateSettings,
) -> list[Finding]:
    """What a day stops for: each part by name, or how many of them."""
    rows = np.flatnonzero(verdict.blocks_NJ[:, j])
    rows = rows[np.argsort(-reference.center_NJ[rows, j], kind="stable")]
    n_judged = int(verdict.judged_NJ[:, j].sum())
    most = len(rows) > max(LISTED, n_judged / 2)
    listed = rows[: 0 if most else LISTED]
    found = [_finding(survey, dimension, reference, verdict, int(n), j, settings) for n in listed]
    if len(rows) > len(listed):
        names = ", ".join(map(str, dimension.labels_N[rows[:3]]))
        down = int((verdict.found_NJ[rows, j] < reference.center_NJ[rows, j]).sum())
        text = f"{len(rows):,} far outside ({down:,} too low, {len(rows) - down:,} too high), such as {names}"
        found.append(
            Finding(
                check=CHECK,
                subject=f"{day_name(survey, j)}, {dimension.name}",
                passed=False,
                expected=f"each of {n_judged:,} near what is usual",
                found=text,
                value=float(len(rows)),
                limit=0.0,
            )
        )
    return found


def _summary(
    survey: Survey, dimension: Dimension, verdict: _Verdict, settings: DataGateSettings
) -> list[Finding]:
    """One finding for what is unusual and does not stop, or for all being well."""
    n_judged = int(verdict.judged_NJ.any(axis=1).sum())
    expected = f"each of {n_judged:,} within what is usual on {survey.windows.judged} days"
    if not n_judged:
        found = f"none with enough demand to judge ({settings.least_units * WARNED:g} units a day)"
        return [_note(dimension.name, "a usual demand", found, passed=True)]
    odd_NJ = verdict.warns_NJ & ~verdict.blocks_NJ
    if not odd_NJ.any():
        blocked = verdict.blocks_NJ.any()
        return [] if blocked else [_note(dimension.name, expected, "all within", passed=True)]
    rows, days = np.nonzero(odd_NJ)
    order = np.argsort(-verdict.factor_NJ[rows, days], kind="stable")[:3]
    named = "; ".join(
        f"{dimension.labels_N[n]} on {day_name(survey, int(j))} {verdict.found_NJ[n, j]:,.0f}"
        f" instead of {verdict.low_NJ[n, j]:,.0f} to {verdict.high_NJ[n, j]:,.0f}"
        for n, j in zip(rows[order], days[order], strict=True)
    )
    return [_note(dimension.name, expected, f"{len(rows):,} days outside, such as {named}", passed=False)]


def _note(subject: str, expected: str, found: str, *, passed: bool) -> Finding:
    return Finding(check=CHECK, subject=subject, passed=passed, expected=expected, found=found, blocks=passed)


def _finding(
    survey: Survey,
    dimension: Dimension,
    reference: Usual,
    verdict: _Verdict,
    n: int,
    j: int,
    settings: DataGateSettings,
) -> Finding:
    """One day of one part."""
    day = day_name(survey, j)
    subject = day if dimension.name == "all" else f"{day}, {dimension.name} {dimension.labels_N[n]}"
    center, warns = float(reference.center_NJ[n, j]), bool(verdict.warns_NJ[n, j])
    found = float(verdict.found_NJ[n, j])
    if not verdict.judged_NJ[n, j]:
        few = f"{reference.n_NJ[n, j]} such days before" if np.isnan(center) else f"{center:,.0f} usually"
        expected = f"at least {LEAST:g} units as a rule, by 3 days like it"
        return Finding(
            check=CHECK, subject=subject, passed=True, expected=expected, found=f"{found:,.0f} ({few})"
        )
    times = "weeks" if survey.windows.season == 1 else f"{_weekday(survey, j)}s"
    event = _event_text(survey, dimension, n, j)
    event += " (new here: widely)" if reference.unseen_NJ[n, j] else ""
    low, high = verdict.low_NJ[n, j], verdict.high_NJ[n, j]
    is_low = found < center
    return Finding(
        check=CHECK,
        subject=subject,
        passed=not warns,
        expected=f"{low:,.0f} to {high:,.0f} units as on the last {reference.n_NJ[n, j]} {times}{event}",
        found=_found_text(survey, dimension, verdict, n, j, reference.center_NJ[n])
        if warns
        else f"{found:,.0f}",
        blocks=bool(verdict.blocks_NJ[n, j]) or not warns,
        value=found,
        limit=float(low if is_low else high),
    )


def _found_text(
    survey: Survey, dimension: Dimension, verdict: _Verdict, n: int, j: int, center_J: NDArray[np.float64]
) -> str:
    """The demand of an unusual day, with its cause where it shows."""
    w = survey.windows.width - survey.windows.judged + j
    units, rows = float(verdict.found_NJ[n, j]), int(dimension.rows_NW[n, w])
    if units == 0:
        near = range(max(j - MOVED, 0), min(j + MOVED + 1, len(center_J)))
        double = [i for i in near if verdict.warns_NJ[n, i] and verdict.found_NJ[n, i] > center_J[i]]
        times = [f"{day_name(survey, i)} has {verdict.found_NJ[n, i] / center_J[i]:.2g}" for i in double]
        moved = f"; {times[0]} times the usual: shifted dates?" if times else ""
        return f"{f'0: all of {rows:,} rows are zero' if rows else '0: no rows'}{moved}"
    text = f"{units:,.0f}, {units / center_J[j]:.3g} times the usual"
    multiple = int(verdict.multiple_NJ[n, j])
    if multiple >= MULTIPLE:
        return f"{text}: every count is a multiple of {multiple}, another unit"
    return f"{text}: tenfold units?" if 7 <= units / center_J[j] <= 14 else text


def _event_text(survey: Survey, dimension: Dimension, n: int, j: int) -> str:
    """Which events were allowed for."""
    day = len(survey.days_D) - survey.windows.judged + j
    on_E = np.flatnonzero(survey.intensity_UDE[dimension.set_N[n], day] > 0)
    names = [survey.channels[e].removesuffix("/day") for e in on_E[:3]]
    return f" and at {', '.join(names)}" if names else ""


def day_name(survey: Survey, j: int) -> str:
    """The j-th of the judged days."""
    return str(survey.days_D[len(survey.days_D) - survey.windows.judged + j])


def _weekday(survey: Survey, j: int) -> str:
    day = survey.days_D[len(survey.days_D) - survey.windows.judged + j].astype(np.int64)
    return WEEKDAYS[(int(day) + 3) % 7]  # 1970-01-01 was a Thursday
