"""What a forecast can lean on: known features whose future is known as far as the horizon, events that the
model has seen or of which the calendar says what to expect."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from forecast.cli.output import say
from forecast.demand.panel import Panel, SeriesKeys
from forecast.errors import InputError
from forecast.model.priors import check_likes, without_model, without_prior
from forecast.model.schema import FeatureSchema

SOLD_OUT: Final = "sold_out"
"""The feature of `given_stock`."""


def usable(panel: Panel, horizon: int) -> tuple[Panel, tuple[str, ...]]:
    """The panel without the known features that do not reach the end of the horizon, and their names.

    A model that learned to lean on a promotion plan is of no use where there is no plan.
    """
    last = panel.n_periods + horizon - 1
    kept = {
        name: values
        for name, values in panel.known.items()
        if values.shape[1] > last and np.isfinite(values[:, last]).any()
    }
    dropped = tuple(name for name in panel.known if name not in kept)
    return replace(panel, known=kept), dropped


def check_known(schema: FeatureSchema, panel: Panel, horizon: int) -> None:
    """Raise InputError, with the ways out, where features a model needs do not reach over the horizon."""
    reaching, _ = usable(panel, horizon)
    lacking = [feature.name for feature in schema.known if feature.name not in reaching.known]
    if lacking:
        ways = "import them, publish with an earlier --cutoff, or train again, which leaves them out"
        expected = f"{', '.join(lacking)} for the {horizon} periods after {panel.origin}, as in training"
        raise InputError("known features", expected=expected, found=f"none that reach so far ({ways})")


def check_events(panel: Panel, known: Sequence[str], horizon: int) -> None:
    """Say on stderr of which events in the horizon a model that knows these channels can tell nothing.

    Raises InputError where an event is like a kind that the model does not know.
    """
    check_likes(panel, known, horizon)
    unseen = without_prior(panel, known, horizon)
    if unseen:
        ways = 'say in a calendar file what they are like (like = "KIND") or their multiple (lift = 4.0)'
        say(f"events that the model never saw, without effect on its forecasts: {', '.join(unseen)}; {ways}")
    lacking = without_model(panel, known, horizon)
    if lacking:
        reason = "the kind that they are like never had them"
        say(f"phases without effect on the forecasts, because {reason}: {', '.join(lacking)}")


def tell_new(series: SeriesKeys, no_history_S: NDArray[np.bool_]) -> int:
    """Say on stderr which series have no demand at all, so that their forecasts lean on others; how many."""
    rows = np.flatnonzero(no_history_S)
    if len(rows):
        keys = series.select(rows[:3])
        named = [
            f"{i} at {x} on {p}" for i, x, p in zip(keys.item, keys.location, keys.platform, strict=True)
        ]
        more = ", …" if len(rows) > len(named) else ""
        say(f"forecast from what they are, without history: {len(rows):,} series ({', '.join(named)}{more})")
    return len(rows)


def given_stock(panel: Panel, horizon: int) -> Panel:
    """The panel with one more feature: which periods sold out, and that the `horizon` ahead will not.

    Goods sell out on busy days, so the days in stock are those of less demand. A model with this feature
    answers for them: what is wanted on a day that does not sell out. Stock after the panel's end is not read.
    """
    sold_out_SP = np.zeros((panel.n_series, panel.n_periods + horizon), np.float32)
    if panel.stocked_out_ST is not None:
        sold_out_SP[:, : panel.n_periods] = panel.stocked_out_ST > 0
    return replace(panel, known={**panel.known, SOLD_OUT: sold_out_SP})
