"""A warm start: training goes on from the weights of a bundle, on demand that has grown since.

The network is the start's, so its schema is too: standardisation and labels stay as they were learned, and
a label that is new counts as unknown. An event kind that is new gets a response of its own, which begins as
that of the kind that the calendar likens it to, or as none.

What is out of sample stays honest. The start has seen everything up to its origin, so only forecasts from
that origin on may tell what it is worth, and only where their horizon is known by now: they are scored before
the first step. For the same reason scenarios are not coupled anew: each series keeps its joint ranks, which
came from forecasts that were out of sample when they were made; origins that are out of sample now take the
place of as many scenarios. The level comes from the last origins, as in a fit from scratch.

Letters: S series, N templates, H horizon, K scenarios.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from forecast.demand.panel import Panel
from forecast.model.bundle import Bundle
from forecast.model.config import ModelConfig
from forecast.model.coupling import coupling_rows
from forecast.model.ensemble import Ensemble
from forecast.model.priors import borrowed_channel
from forecast.model.schema import FeatureSchema, seen_events
from forecast.times import iso
from training.config import TrainingConfig
from training.curriculum import Stage, final_stage

FREE: Final = ("origins", "label_dropout")
"""Fields of the model's configuration that its weights do not depend on."""
NEW_SERIES: Final = 0.5
"""Share of the series that may be new to the start."""
NEW_LABELS: Final = 0.1
"""Share of the series that may have a label that the start does not know, in any one column."""
FAR: Final = 3.0
"""Spreads that the centre of a feature may have moved, and times that its spread may have grown."""
GENERATION: Final = "warm_generation"
"""The fact that counts warm starts since the last fit from scratch."""
KERNEL: Final = "event_kernel.weight"


def shortened(training: TrainingConfig) -> TrainingConfig:
    """What a warm start needs of a fit from scratch: a quarter of its minutes and steps, and a lower
    learning rate that falls soon."""
    return replace(
        training,
        minutes=None if training.minutes is None else training.minutes / 4,
        steps=max(training.steps // 4, 1),
        learning_rate=training.learning_rate / 3,
        warmup_steps=max(min(training.warmup_steps // 5, training.steps // 40), 1),
        plateau=0.25,
        stages=2,
    )


def why_not(start: Bundle, panel: Panel, model: ModelConfig) -> str:
    """Why a fit cannot start from a bundle, in a few words; empty where it can."""
    known = {name: value for name, value in asdict(start.config).items() if name not in FREE}
    wanted = asdict(model)
    changed = [f"{name} is {wanted[name]}, was {was}" for name, was in known.items() if wanted[name] != was]
    if changed:
        return f"the model changed: {', '.join(changed)}"
    seen = np.datetime64(str(start.facts["origin"]))
    if seen > panel.origin:
        return f"the start has seen demand up to {iso(seen)}, after the cutoff {iso(panel.origin)}"
    fresh = FeatureSchema.fit(panel, model.horizon)
    return (
        _other_features(start.schema, fresh, panel)
        or _other_series(start, panel)
        or _other_events(start.schema, panel)
        or _other_network(start)
    )


@dataclass(frozen=True, kw_only=True)
class WarmStart:
    """What a fit takes over of a bundle that `why_not` has nothing against.

    schema, weights: the start's, and those of event kinds that are new. generation: warm starts since the
    last fit from scratch, this one counted.
    """

    start: Bundle
    schema: FeatureSchema
    weights: Mapping[str, Tensor]
    generation: int

    @classmethod
    def on(cls, start: Bundle, panel: Panel) -> WarmStart:
        """The start for a panel."""
        old = start.schema
        new = tuple(name for name in seen_events(panel) if name not in old.events)
        integer = FeatureSchema.fit(panel, old.horizon).integer
        like = [borrowed_channel(panel.events, name) for name in new]
        sources = [old.events.index(name) if name in old.events else None for name in like]
        weights = {
            name: _grown(value, len(old.events), sources) if name.endswith(KERNEL) else value.clone()
            for name, value in start.weights.items()
        }
        weights["level_H"] = torch.ones_like(weights["level_H"])
        return cls(
            start=start,
            schema=replace(old, events=(*old.events, *new), integer=integer),
            weights=weights,
            generation=int(start.facts.get(GENERATION, 0)) + 1,
        )

    def seed(self, seed: int) -> int:
        """A seed of this generation's own: the same windows week after week would teach the same series."""
        return seed + 7_919 * self.generation

    def stages(self, panel: Panel, model: ModelConfig, training: TrainingConfig) -> tuple[Stage, ...]:
        """The origins after the start's whose horizon is known, a patch apart, are scored first; then all is
        trained in one stage."""
        seen = panel.index(np.datetime64(str(self.start.facts["origin"]))) + 1
        last = panel.n_periods - model.horizon
        origins = [last - model.patch * i for i in range(training.validation_patches)]
        unseen = tuple(origin for origin in reversed(origins) if origin >= max(seen, model.patch))
        return Stage("start", panel.n_periods, 0.0, unseen), final_stage(panel.n_periods)

    def ranks(self, panel: Panel, templates: Sequence[NDArray[np.float32]], seed: int) -> NDArray[np.uint8]:
        """(S, H, K) ranks of the panel's series: the start's, but N of the scenarios from N new templates.

        A series that the start does not know borrows those of another, as in its forecasts.
        """
        old_SHK = self.start.ranks_SHK
        rng = np.random.default_rng(self.seed(seed))
        row_S = coupling_rows(self.start.keys, panel.keys)
        n_scenarios = old_SHK.shape[2]
        n = min(len(templates), n_scenarios)
        replaced = rng.choice(n_scenarios, n, replace=False)
        ranks = np.empty((panel.n_series, *old_SHK.shape[1:]), np.uint8)
        for first in range(0, panel.n_series, 2048):
            rows = slice(first, first + 2048)
            ranks[rows] = old_SHK[row_S[rows]]
            if n:
                place_SHK = (ranks[rows] + np.float32(0.5)) / np.float32(n_scenarios)
                place_SHK[:, :, replaced] = np.moveaxis(np.stack([t[rows] for t in templates[-n:]]), 0, 2)
                ranks[rows] = place_SHK.argsort(axis=2, kind="stable").argsort(axis=2).astype(np.uint8)
        return ranks

    def facts(self) -> dict[str, str | int]:
        """Of the bundle that comes of it."""
        return {"start": self.start.bundle_id, GENERATION: self.generation}


def _grown(kernel: Tensor, n_known: int, sources: Sequence[int | None]) -> Tensor:
    """The event kernel with a channel for each new kind: a copy of channel `source`, or zeros."""
    nothing = torch.zeros_like(kernel[:, :1])
    new = [nothing if source is None else kernel[:, source : source + 1] for source in sources]
    return torch.cat([kernel[:, :n_known], *new], dim=1) if new else kernel.clone()


def _other_features(old: FeatureSchema, new: FeatureSchema, panel: Panel) -> str:
    """What differs in the known features and the statics."""
    before, now = [{f.name: f for f in schema.known} for schema in (old, new)]
    changed = [f"{name} is new" for name in now if name not in before]
    changed += [f"{name} is gone" for name in before if name not in now]
    for name in before.keys() & now.keys():
        was, found = before[name], now[name]
        if was.relative != found.relative:
            changed.append(f"{name} is {'now' if found.relative else 'no longer'} read as a price")
        elif not was.relative and (
            abs(found.center - was.center) > FAR * was.spread or found.spread > FAR * was.spread
        ):
            changed.append(f"{name} is about {found.center:.4g}, was about {was.center:.4g}")
    if old.seasonal != new.seasonal:
        changed.append(f"the time of the year is {'new' if new.seasonal else 'gone'}")
    columns = (*panel.statics, "item", "location", "platform")
    learned = [static.name for static in old.statics]
    changed += [f"{s.name} is new" for s in new.statics if s.name not in learned]
    changed += [f"{name} is gone" for name in learned if name not in columns]
    if not changed and learned != [name for name in columns if name in learned]:
        changed.append("the statics come in another order")
    return f"the features changed: {', '.join(sorted(changed))}" if changed else ""


def _other_series(start: Bundle, panel: Panel) -> str:
    """Whether too much of the panel is new to the start."""
    own = set(zip(start.keys.item, start.keys.location, start.keys.platform, strict=True))
    keys = zip(panel.keys.item, panel.keys.location, panel.keys.platform, strict=True)
    share = sum(key not in own for key in keys) / panel.n_series
    if share > NEW_SERIES:
        return f"too many new series: {share:.0%} of {panel.n_series:,}"
    codes_SN = start.schema.encode_statics(panel)
    for static, unknown in zip(start.schema.statics, (codes_SN == 0).mean(axis=0), strict=True):
        if unknown > NEW_LABELS:
            return f"too many new labels: {unknown:.0%} of the series have one of {static.name}"
    return ""


def _other_events(old: FeatureSchema, panel: Panel) -> str:
    """Whether there are too many event kinds to learn in a short training."""
    new = [name for name in seen_events(panel) if name not in old.events]
    if len(new) > len(old.events) // 2:
        named = ", ".join(new[:3]) + (" ..." if len(new) > 3 else "")
        return f"too many new event kinds: {named} beside {len(old.events)} that the start knows"
    return ""


def _other_network(start: Bundle) -> str:
    """Whether this release's network has other parameters."""
    with torch.device("meta"):
        expected = Ensemble(start.config, start.schema).state_dict()
    shapes = {name: tuple(value.shape) for name, value in expected.items()}
    found = {name: tuple(value.shape) for name, value in start.weights.items()}
    if shapes == found:
        return ""
    differing = sorted(name for name in shapes.keys() | found.keys() if shapes.get(name) != found.get(name))
    return f"the network changed: {differing[0]}" + (" and others" if len(differing) > 1 else "")
