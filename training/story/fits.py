"""What a fit leaves in MLflow beside its epochs: what it measured, the model's schema, and why its forecasts
are what they are."""

from __future__ import annotations

from typing import Final

import numpy as np

from forecast.cli.output import say
from forecast.demand.panel import Panel
from forecast.errors import SurgecastError
from forecast.evaluation.metrics import scored
from forecast.evaluation.plots import example_series, plot_explanation
from forecast.model.bundle import Bundle
from forecast.model.explanation import explain
from forecast.model.forecaster import Forecaster
from training.story.signature import FILE, mlmodel
from training.tracking import Run

EXPLAINED: Final = ("typical", "surging")
"""Of the examples, those whose forecasts are explained: each is drawn apart."""


def log_fit(run: Run, panel: Panel, bundle: Bundle, *, device: str = "auto") -> None:
    """Log a bundle that was fitted on all of `panel`: its id, the metrics `fit/...` that were measured out of
    sample on its way, its facts, its schema, and pictures of what moves the forecasts of chosen series.
    """
    run.metrics(fit_metrics(bundle))
    facts = {name: value for name, value in bundle.facts.items() if not isinstance(value, float)}
    run.parameters({"fit": facts})
    run.tag({"bundle_id": bundle.bundle_id})
    run.text(mlmodel(panel, bundle, run.run_id), f"bundle/{FILE}")
    _log_explanations(run, panel, bundle, device)


def fit_metrics(bundle: Bundle) -> dict[str, float]:
    """What a fit measured out of sample on its way, by name."""
    facts = bundle.facts.items()
    return {f"fit/{name.replace(' ', '_')}": value for name, value in facts if isinstance(value, float)}


def _log_explanations(run: Run, panel: Panel, bundle: Bundle, device: str) -> None:
    horizon = bundle.config.horizon
    before = panel.n_periods - horizon
    if before < 1:
        return
    chosen = example_series(scored(panel, before, horizon), panel.until(before))
    chosen = {name: row for name, row in chosen.items() if name in EXPLAINED}
    rows = list(chosen.values())
    try:
        explanation = explain(Forecaster(bundle, device), panel, rows, horizon) if rows else None
    except SurgecastError as error:  # as known features that do not reach over the horizon
        say(f"no explanation is drawn: {error}")
        return
    if explanation is None:
        return
    few = panel.select(np.array(rows))
    for row, name in enumerate(chosen):
        run.picture(plot_explanation(few, explanation, row), f"pictures/explanation-{name}.png")
