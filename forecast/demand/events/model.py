"""Events: named surges with their days, phases and the part of the business they touch."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import date
from typing import Final

from forecast.errors import InputError

DAY: Final = "day"
PHASES: Final[tuple[str, ...]] = ("pre-sale", "warm-up", DAY, "after")
"""What a surge consists of: orders taken ahead, the time when buyers hold back, the days, the dip."""
ONE_PRIOR: Final = "either like or lift, or neither"


@dataclass(frozen=True, kw_only=True)
class Phase:
    """A phase around an event, from `start` to `end`, both included; intensity relative to the event's.

    lift: expected multiple of ordinary demand, as long as no model has seen the kind; None says nothing.
    """

    name: str
    start: date
    end: date
    intensity: float = 1.0
    lift: float | None = None

    def __post_init__(self) -> None:
        if self.name not in PHASES:
            raise InputError("phase", expected=f"one of {', '.join(PHASES)}", found=repr(self.name))
        check_span(self.start, self.end)
        check_intensity(self.intensity)
        check_lift(self.lift)


@dataclass(frozen=True, kw_only=True)
class Event:
    """One occurrence of a surge.

    name: what a person calls it (`Singles' Day 2026`).
    kind: what it shares with its other occurrences (`double-11`); a model remembers by kind.
    start, end: the days of the event itself, both included.
    platforms, locations: glob patterns of what it touches; empty means all.
    intensity: 1 is ordinary; 2 is twice as strong, for instance by the depth of the discount. Never negative.
    phases: the time around it (pre-sale, warm-up, after); further spells of the days may be given too.
    like, lift: what a planner expects of a kind that no model has seen yet, one of the two at most: a kind
        whose response it borrows, intensity 1 then being as strong as that kind's; or the multiple of
        ordinary demand on its days.
    """

    name: str
    kind: str
    start: date
    end: date
    platforms: tuple[str, ...] = ()
    locations: tuple[str, ...] = ()
    intensity: float = 1.0
    phases: tuple[Phase, ...] = ()
    like: str | None = None
    lift: float | None = None

    def __post_init__(self) -> None:
        if not self.name.strip():
            raise InputError("name", expected="a name", found=repr(self.name))
        if not self.kind.strip() or "/" in self.kind:
            raise InputError("kind", expected="a word without /", found=repr(self.kind))
        check_span(self.start, self.end)
        check_intensity(self.intensity)
        check_prior(self.kind, self.like, self.lift)
        if self.like is not None and any(phase.lift is not None for phase in self.phases):
            raise InputError("lift", expected=ONE_PRIOR, found="a like and a lift of a phase")

    @property
    def spells(self) -> Iterator[Phase]:
        """All phases, the days of the event among them, each with its full intensity."""
        yield Phase(name=DAY, start=self.start, end=self.end, intensity=self.intensity, lift=self.lift)
        for phase in self.phases:
            full = phase.intensity * self.intensity
            yield replace(phase, intensity=full)

    def touches(self, start: date, end: date) -> bool:
        """Whether any phase shares a day with `start`..`end`."""
        return any(spell.start <= end and spell.end >= start for spell in self.spells)


def check_span(start: date, end: date) -> None:
    """Raise InputError when a span ends before it starts."""
    if end < start:
        raise InputError("end", expected=f"{start} or later", found=str(end))


def check_intensity(value: float) -> None:
    """Raise InputError when an intensity is negative, NaN or infinite."""
    if not math.isfinite(value) or value < 0:
        raise InputError("intensity", expected="a number of at least 0", found=str(value))


def check_lift(value: float | None) -> None:
    """Raise InputError when a lift is given and is not a finite multiple above 0."""
    if value is not None and not (math.isfinite(value) and value > 0):
        raise InputError("lift", expected="a multiple of ordinary demand, more than 0", found=str(value))


def check_prior(kind: str, like: str | None, lift: float | None) -> None:
    """Raise InputError when what is expected of a new kind is no kind, no multiple, or both at once."""
    check_lift(lift)
    if like is not None and lift is not None:
        raise InputError("lift", expected=ONE_PRIOR, found=f"both: like {like!r}, lift {lift:g}")
    if like is not None and (not like.strip() or "/" in like or like == kind):
        raise InputError("like", expected="another kind of event, a word without /", found=repr(like))
