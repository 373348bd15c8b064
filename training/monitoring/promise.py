"""Which model serves, what demand it was trained on, and how well it promised to forecast."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np

from forecast.cli.output import say
from forecast.errors import IntegrityError, NotFoundError, SurgecastError
from forecast.home import Home
from forecast.snapshot.pointer import manifest_of, readable_pointer
from training.registry import MODEL, load_bundle, version_of
from training.tracking import connect

WQL: Final = "backtest/wql/surgecast"
"""The metric of a training's run that holds the WQL of its backtest."""


@dataclass(frozen=True, kw_only=True)
class Promise:
    """The model that serves. trained_until: the last period it saw. wql: of the backtest that it was
    registered with. None where it is not known."""

    bundle: str
    trained_until: np.datetime64 | None
    wql: float | None


def promise_of(home: Home, otherwise: str) -> Promise:
    """What the model promised whose forecasts the pointer names; the bundle `otherwise` where it names
    none."""
    pointer = readable_pointer(home)
    bundle = otherwise
    if pointer is not None:
        try:
            bundle = manifest_of(home, pointer.snapshot).bundle_id
        except (NotFoundError, IntegrityError) as error:
            say(f"which model serves is not known ({error}); taken for it: {otherwise}")
    return Promise(bundle=bundle, trained_until=_trained_until(home, bundle), wql=_wql(home, bundle))


def _trained_until(home: Home, bundle: str) -> np.datetime64 | None:
    try:
        origin = load_bundle(home, bundle).facts.get("origin")
    except (NotFoundError, IntegrityError):
        return None
    return None if origin is None else np.datetime64(str(origin), "s")


def _wql(home: Home, bundle: str) -> float | None:
    """From the run that registered the bundle; MLflow in trouble is no reason not to score."""
    if not home.mlflow_db.is_file():
        return None
    from mlflow.exceptions import MlflowException

    try:
        version = version_of(home, bundle)
        if not version:
            return None
        client = connect(home)
        run_id = client.get_model_version(MODEL, version).run_id
        value = client.get_run(run_id).data.metrics.get(WQL) if run_id else None
    except (SurgecastError, MlflowException) as error:
        say(f"the WQL at promotion is not known: {str(error).splitlines()[0]}")
        return None
    return float(value) if value is not None and math.isfinite(value) else None
