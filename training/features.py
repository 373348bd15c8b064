"""Which known features a forecast can lean on: those whose future is known as far as the horizon."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from forecast.demand.panel import Panel
from forecast.errors import InputError
from forecast.model.schema import FeatureSchema


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
