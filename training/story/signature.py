"""What MLflow's page of a model version shows as its schema: an `MLmodel` file beside the bundle.

It names no flavour that MLflow could load: there is nothing to unpickle, and nothing that would run. It is
JSON, which is YAML too.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Final

from forecast.demand.panel import Panel
from forecast.model.bundle import Bundle
from forecast.quantiles import LEVELS

FILE: Final = "MLmodel"
FLAVOUR: Final = "surgecast"
KEY: Final = ("item", "location", "platform")


def mlmodel(panel: Panel, bundle: Bundle, run_id: str) -> str:
    """The text of the `MLmodel` file: what a model reads of each series and period, and what it writes."""
    schema = bundle.schema
    labels = [feature.name for feature in schema.statics if feature.name not in KEY]
    numbers = [feature.name for feature in schema.known]
    stock = ["stocked_out"] if panel.stocked_out_ST is not None else []
    reads = [
        *_columns("string", KEY),
        *_columns("datetime", ["time"]),
        *_columns("double", ["demand"]),
        *_columns("double", stock, required=False),
        *_columns("string", labels),
        *_columns("double", numbers),
        *_columns("double", (f"event {name}" for name in panel.events.names), required=False),
    ]
    writes = [
        *_columns("string", KEY),
        *_columns("datetime", ["time"]),
        *_columns("double", ["mean", *(f"q{level:g}" for level in LEVELS)]),
    ]
    content = {
        "artifact_path": "bundle",
        "flavors": {FLAVOUR: {"bundle_id": bundle.bundle_id, "horizon": bundle.config.horizon}},
        "metadata": {"period": panel.period, "horizon": bundle.config.horizon},
        "run_id": run_id,
        "signature": {"inputs": json.dumps(reads), "outputs": json.dumps(writes), "params": None},
    }
    return json.dumps(content, indent=1)


def _columns(kind: str, names: Iterable[str], *, required: bool = True) -> list[dict[str, object]]:
    return [{"type": kind, "name": name, "required": required} for name in names]
