"""Events of kinds that are like another: what they take over from that kind's own events."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from forecast.demand.events.model import Event, Phase
from forecast.errors import InputError


def with_borrowed(events: Sequence[Event]) -> list[Event]:
    """The events; one that is like another kind as strong as the last event of that kind before it (else the
    first after it), times its own intensity, and with that one's phases where it has none of its own.

    Where there is no event of that kind, nothing is taken over.
    """
    own: dict[str, list[Event]] = {}
    for event in sorted(events, key=lambda event: event.start):
        if event.like is None:
            own.setdefault(event.kind, []).append(event)
    return [_borrowing(event, own.get(event.like or "", [])) for event in events]


def kinds_alike(events: Sequence[Event]) -> dict[str, str]:
    """Which kind each kind is like. Raises InputError for a kind whose events do not agree."""
    alike: dict[str, str] = {}
    for event in events:
        if event.like is None:
            continue
        first = alike.setdefault(event.kind, event.like)
        if first != event.like:
            expected = f"one kind for all events of the kind {event.kind!r}"
            raise InputError("like", expected=expected, found=f"{first!r} and {event.like!r}")
    for event in events:
        if event.lift is not None and event.kind in alike:
            expected = f"either like or lift for all events of the kind {event.kind!r}"
            raise InputError("lift", expected=expected, found=f"like {alike[event.kind]!r} and a lift")
    return alike


def _borrowing(event: Event, likes: list[Event]) -> Event:
    if not likes:
        return event
    model = next((like for like in reversed(likes) if like.start < event.start), likes[0])
    phases = event.phases or tuple(_moved(phase, model, event) for phase in model.phases)
    return replace(event, intensity=event.intensity * model.intensity, phases=phases)


def _moved(phase: Phase, model: Event, event: Event) -> Phase:
    """A phase of `model` at the same distance from `event`: from its end where it begins after the days."""
    away = event.end - model.end if phase.start > model.end else event.start - model.start
    return Phase(name=phase.name, start=phase.start + away, end=phase.end + away, intensity=phase.intensity)
