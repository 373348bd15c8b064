"""The event calendar as the model reads it: its own channels, and which past period resembles which.

Letters: G event groups, L periods of the calendar, E event channels of the model.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from forecast.demand.panel import EventGrid, Floats
from forecast.model.calendar import Moved, analog_periods
from forecast.model.config import ModelConfig
from forecast.model.priors import borrowed_events


class EventFeatures(NamedTuple):
    """events_GLE: intensities of the model's channels, what other kinds borrow included. analog_GL: the past
    period most like each, -1 where there is none."""

    events_GLE: Floats
    analog_GL: NDArray[np.int64]


def event_features(
    events: EventGrid, known: Sequence[str], config: ModelConfig, n: int, moved: Moved | None = None
) -> EventFeatures:
    """The first `n` periods of a calendar for a model that knows the channels `known`; others are left out.

    moved: events that stand elsewhere than they were given for (`forecast.model.calendar.Moved`), by the
    model's channels.
    """
    own_GLE = np.zeros((len(events.intensity_GLE), n, len(known)), np.float32)
    source_GLE = events.intensity_GLE[:, :n]
    for e, name in enumerate(known):
        if name in events.names:
            own_GLE[:, : source_GLE.shape[1], e] = source_GLE[:, :, events.names.index(name)]
    borrowed_GLE = borrowed_events(events, known, n)
    analog_GL = analog_periods(
        own_GLE,
        least=config.analog_gap,
        year=config.year,
        reach=config.event_reach,
        borrowed_GLE=borrowed_GLE,
        moved=moved,
    )
    if borrowed_GLE is not None:
        own_GLE = np.maximum(own_GLE, borrowed_GLE)
    return EventFeatures(own_GLE, analog_GL)
