"""Origins aligned with events: forecasts whose horizon holds a named surge, made some days before it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from forecast.demand.panel import STEP, Panel
from forecast.errors import InputError, UsageError
from forecast.evaluation.slices import DAY, occurrences

LEADS: Final[tuple[int, ...]] = (14, 7)
"""Days from an origin to the event: two weeks before, when goods are sent, and one week before."""


def event_origins(
    panel: Panel, kind: str, horizon: int, n_occurrences: int, leads: Sequence[int] = LEADS
) -> tuple[int, ...]:
    """Origins `leads` days before each of the last `n_occurrences` of an event, ascending.

    An origin is the number of periods observed then, as in `panel.until`: the event begins `lead` days after
    the last of them. Only occurrences count whose days are all observed, lie within the horizon, and have at
    least a horizon of history before the origin; there may be fewer than asked for.

    Raises:
        UsageError: an unknown kind, a count or lead below 1, a lead beyond the horizon.
        InputError: no occurrence that could be forecast and scored.
    """
    for name, value in (
        ("horizon", horizon),
        ("origins", n_occurrences),
        *(("lead", lead) for lead in leads),
    ):
        if value < 1:
            raise UsageError(f"{name}: expected at least 1, found {value}")
    steps = [max(1, int(lead * DAY // STEP[panel.period])) for lead in leads]
    if not steps or max(steps) > horizon:
        raise UsageError(f"lead: expected days within the horizon of {horizon} periods, found {list(leads)}")
    found = []
    for first, last in occurrences(panel, kind):
        origins = [first - step + 1 for step in steps]
        if min(origins) >= horizon and last < panel.n_periods and max(steps) + last - first <= horizon:
            found.append(origins)
    if not found:
        expected = (
            f"days of {kind} with {horizon + max(steps)} observed periods before them, within a horizon"
        )
        raise InputError("history", expected=expected, found=f"none in {panel.n_periods} periods")
    return tuple(sorted({origin for origins in found[-n_occurrences:] for origin in origins}))
