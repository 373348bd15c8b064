"""What is searched: keys of `[training]` and the values that they may take."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from typing import Any, Final

from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from forecast.errors import UsageError
from forecast.training_settings import TrainingSettings

Value = float | int
SPACE: Final[Mapping[str, BaseDistribution]] = {
    "learning_rate": FloatDistribution(5e-4, 1e-2, log=True),
    "weight_decay": FloatDistribution(1e-4, 1e-1, log=True),
    "batch": CategoricalDistribution((0, 32, 64, 128, 256)),
    "half_life": IntDistribution(13, 208, log=True),
    "cold": FloatDistribution(0.0, 0.12),
    "parts": CategoricalDistribution((1, 2, 4)),
    "members": CategoricalDistribution((1, 2, 3)),
    "channels": CategoricalDistribution((32, 48, 64, 96)),
    "hidden": CategoricalDistribution((64, 128, 192, 256)),
}


def space_of(names: Sequence[str], base: TrainingSettings) -> dict[str, BaseDistribution]:
    """The values of these keys, of all where there are none; those of the settings are always among them.

    Raises UsageError, with the nearest name, for a key that is not searched.
    """
    for name in names:
        if name not in SPACE:
            near = difflib.get_close_matches(name, SPACE, n=1)
            hint = f"; did you mean {near[0]}?" if near else ""
            raise UsageError(f"tune.search: expected some of {', '.join(SPACE)}, found {name!r}{hint}")
    return {name: _with(SPACE[name], getattr(base, name)) for name in names or SPACE}


def present(space: Mapping[str, BaseDistribution], base: TrainingSettings) -> dict[str, Value]:
    """The settings' own values."""
    return {name: getattr(base, name) for name in space}


def applied(base: TrainingSettings, values: Mapping[str, Any]) -> TrainingSettings:
    """The settings with other values."""
    return base.model_copy(update=dict(values))


def _with(values: BaseDistribution, own: Value) -> BaseDistribution:
    """The same values and one more, or up to it."""
    if isinstance(values, CategoricalDistribution):
        more = values.choices if own in values.choices else (*values.choices, own)
        return CategoricalDistribution(more)
    if isinstance(values, IntDistribution):
        return IntDistribution(min(values.low, int(own)), max(values.high, int(own)), log=values.log)
    if isinstance(values, FloatDistribution):
        low, high = min(values.low, own), max(values.high, own)
        return FloatDistribution(low, high, log=values.log and low > 0)
    return values
