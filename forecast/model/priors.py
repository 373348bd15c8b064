"""What is expected of events that a model never saw: a like kind's response, or a planner's multiple.

A channel of the event grid (a kind and a phase) is known to a model when it was on at some time in its
training; what the calendar says of what it is like, and of its lift, then counts for nothing.

Letters: G event groups, L periods of the event grid, E event channels of the model, H horizon.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from forecast.demand.panel import EventGrid, Floats, Panel
from forecast.errors import InputError


def borrowed_events(events: EventGrid, known: Sequence[str], n: int) -> Floats | None:
    """(G, n, E) intensities of kinds that the model never saw, at the channels of the kinds that they are
    like; None where there are none."""
    pairs = [
        (e, known.index(channel))
        for e, name in enumerate(events.names)
        if name not in known and (channel := borrowed_channel(events, name)) in known
    ]
    if not pairs:
        return None
    source = events.intensity_GLE[:, :n]
    result = np.zeros((source.shape[0], n, len(known)), np.float32)
    for e, place in pairs:
        span = result[:, : source.shape[1], place]
        np.maximum(span, source[:, :, e], out=span)
    return result


def prior_lift(panel: Panel, known: Sequence[str], horizon: int) -> Floats | None:
    """(G, H) multiples that the calendar expects of kinds that the model never saw, over the periods after
    the panel's last; None where there are none.

    Phases of one kind that overlap count once, by the multiple farthest from 1; kinds multiply.
    """
    events = panel.events
    unseen = [e for e, name in enumerate(events.names) if name not in known]
    if events.lift_GLE is None or not unseen:
        return None
    ahead_GHE = np.nan_to_num(events.lift_GLE[:, panel.n_periods : panel.n_periods + horizon], nan=1.0)
    result = np.ones((ahead_GHE.shape[0], horizon), np.float32)
    for kind in sorted({_kind(events.names[e]) for e in unseen}):
        of_kind_GHE = ahead_GHE[:, :, [e for e in unseen if _kind(events.names[e]) == kind]]
        farthest = np.abs(np.log(of_kind_GHE)).argmax(axis=2)
        picked_GH = np.take_along_axis(of_kind_GHE, farthest[:, :, None], axis=2)[:, :, 0]
        result[:, : picked_GH.shape[1]] *= picked_GH
    return result


def check_likes(panel: Panel, known: Sequence[str], horizon: int) -> None:
    """Raise InputError where an event of the `horizon` ahead is like a kind that the model does not know."""
    kinds = sorted({_kind(name) for name in known})
    for kind in _kinds(_unseen_ahead(panel, known, horizon)):
        other = panel.events.like.get(kind, "")
        if other and other not in kinds:
            near = difflib.get_close_matches(other, kinds, n=1)
            hint = f"; did you mean {near[0]}?" if near else ""
            expected = f"a kind that the model knows ({', '.join(kinds) or 'it knows none'})"
            raise InputError(f"like of the event kind {kind}", expected=expected, found=f"{other!r}{hint}")


def without_prior(panel: Panel, known: Sequence[str], horizon: int) -> tuple[str, ...]:
    """The kinds of events in the `horizon` ahead of which the model saw nothing and the calendar says
    nothing; those of which it saw other phases as `kind (phase, …)`."""
    events, seen = panel.events, {_kind(name) for name in known}
    found = []
    for kind, phases in _unseen_phases(panel, known, horizon):
        if kind in events.like or _has_lift(panel, kind):
            continue
        found.append(f"{kind} ({', '.join(phases)})" if kind in seen else kind)
    return tuple(found)


def without_model(panel: Panel, known: Sequence[str], horizon: int) -> tuple[str, ...]:
    """The kinds of events in the `horizon` ahead that are like a kind which never had some of their phases,
    as `kind (phase, …) like other`; these phases borrow nothing."""
    events = panel.events
    found = []
    for kind, phases in _unseen_phases(panel, known, horizon):
        lacking = [phase for phase in phases if borrowed_channel(events, f"{kind}/{phase}") not in known]
        if kind in events.like and lacking:
            found.append(f"{kind} ({', '.join(lacking)}) like {events.like[kind]}")
    return tuple(found)


def _has_lift(panel: Panel, kind: str) -> bool:
    """Whether the calendar gives a multiple of a kind, be it 1, after the panel's last period."""
    events = panel.events
    if events.lift_GLE is None:
        return False
    columns = [e for e, name in enumerate(events.names) if _kind(name) == kind]
    return bool(np.isfinite(events.lift_GLE[:, panel.n_periods :, columns]).any())


def _unseen_phases(panel: Panel, known: Sequence[str], horizon: int) -> list[tuple[str, list[str]]]:
    """The kinds that are on in the horizon in phases that the model never saw, and these phases."""
    unseen = _unseen_ahead(panel, known, horizon)
    return [
        (kind, [name.partition("/")[2] for name in unseen if _kind(name) == kind]) for kind in _kinds(unseen)
    ]


def _unseen_ahead(panel: Panel, known: Sequence[str], horizon: int) -> list[str]:
    """Channels that are on in the horizon and that the model never saw."""
    ahead_GHE = panel.events.intensity_GLE[:, panel.n_periods : panel.n_periods + horizon]
    on_E: NDArray[np.bool_] = np.any(ahead_GHE > 0, axis=(0, 1))
    return [name for name, on in zip(panel.events.names, on_E, strict=True) if on and name not in known]


def borrowed_channel(events: EventGrid, name: str) -> str:
    """The channel that a channel is like by what the calendar says of its kind; of no kind where it says
    nothing."""
    kind, _, phase = name.partition("/")
    return f"{events.like.get(kind, '')}/{phase}"


def _kind(name: str) -> str:
    return name.partition("/")[0]


def _kinds(names: Iterable[str]) -> list[str]:
    return sorted({_kind(name) for name in names})
