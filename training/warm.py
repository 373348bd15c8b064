"""A warm start: a fit that goes on from the weights of a bundle instead of chance.

A bundle has learned all that lies before its origin, so a fit that starts from it spends its steps on
everything up to the new cutoff at once. Nothing before the bundle's origin can be forecast out of sample any
more: how the series move together, which such forecasts tell, is taken over from the bundle.
"""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from forecast.demand.panel import Panel
from forecast.model.bundle import Bundle
from forecast.model.config import ModelConfig
from forecast.model.coupling import coupling_rows
from forecast.model.schema import FeatureSchema, KnownFeature, StaticFeature
from training.config import TrainingConfig

SHARE: Final = 0.25
"""Of the minutes and steps of a fit from scratch."""
LEARNING_RATE: Final = 1.0
"""Times that of a fit from scratch: the weights are near where they should be."""
WARMUP_STEPS: Final = 20
GENERATION: Final = "warm_generation"
"""Fact of a bundle: fits since the one that started from chance."""


def why_not(start: Bundle, panel: Panel, model: ModelConfig) -> str:
    """Why a fit of `model` on a panel cannot start from a bundle; empty where it can.

    The network must be the same and the panel must have the same known-future features, labels and kinds of
    events to learn from. Other series, and labels that one of these columns did not have, are no obstacle.
    """
    for field in fields(ModelConfig):
        there, here = getattr(start.config, field.name), getattr(model, field.name)
        if there != here:
            return f"the model differs: {field.name} is {here} and was {there}"
    wanted = FeatureSchema.fit(panel, model.horizon)
    for kind, here, there in (
        ("known feature", _names(wanted.known), _names(start.schema.known)),
        ("label column", _names(wanted.statics), _names(start.schema.statics)),
        ("kind of event", set(wanted.events), set(start.schema.events)),
    ):
        if here - there:
            return f"{kind}: {', '.join(sorted(here - there))} is new"
        if kind == "known feature" and there - here:
            return f"{kind}: {', '.join(sorted(there - here))} is gone"
    if wanted.integer != start.schema.integer:
        return (
            "demand is in whole units no longer" if start.schema.integer else "demand is in whole units now"
        )
    return ""


def shortened(training: TrainingConfig) -> TrainingConfig:
    """The settings of a warm start: a quarter of the minutes and steps."""
    return replace(
        training,
        minutes=None if training.minutes is None else training.minutes * SHARE,
        steps=max(round(training.steps * SHARE), 1),
        learning_rate=training.learning_rate * LEARNING_RATE,
        warmup_steps=min(WARMUP_STEPS, training.warmup_steps),
    )


def carried_ranks(start: Bundle, panel: Panel) -> NDArray[np.uint8]:
    """(S, H, K) ranks of the joint scenarios of a panel's series, as they were in `start`; a series that was
    not in it borrows another's."""
    ranks_SHK: NDArray[np.uint8] = np.asarray(start.ranks_SHK)[coupling_rows(start.keys, panel.keys)]
    return ranks_SHK


def facts(start: Bundle) -> dict[str, str | int]:
    """What the facts of the new bundle say of its start."""
    return {"start": start.bundle_id, GENERATION: int(start.facts.get(GENERATION, 0)) + 1}


def _names(features: tuple[KnownFeature | StaticFeature, ...]) -> set[str]:
    return {feature.name for feature in features}
