"""The forecasts of a home as an MLflow model from code, for `mlflow models serve`.

`python mlflow_model.py FOLDER HOME ready|model` writes the model; MLflow runs this file again in
each of its workers.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from mlflow.models import set_model
from mlflow.pyfunc import save_model
from mlflow.pyfunc.model import PythonModel

from forecast.forecasts import Floats
from forecast.home import Home
from forecast.snapshot import Pointer, Snapshot


class ForecastModel(PythonModel):
    """Means and quantiles of the series asked for: {"item": [...], "location": [...], "platform": [...]}."""

    def load_context(self, context: Any) -> None:
        """Map the snapshot or load the model, once a worker."""
        home = Home(Path(context.model_config["home"]))
        if context.model_config["what"] == "model":
            from serving.bench.peers.model import ModelForecasts

            self._forecasts = ModelForecasts(home).of
        else:
            self._snapshot = Snapshot.open(home.snapshots_dir / Pointer.read(home).snapshot)
            self._forecasts = self._ready

    def predict(self, context: Any, model_input: Any, params: Any = None) -> dict[str, list[Any]]:
        """Lists of numbers, which MLflow writes as JSON."""
        columns = (model_input["item"], model_input["location"], model_input["platform"])
        mean_RH, quantiles_RHQ = self._forecasts(list(zip(*columns, strict=True)))
        return {"mean": mean_RH.tolist(), "quantiles": quantiles_RHQ.tolist()}

    def _ready(self, keys: Sequence[tuple[str, str, str]]) -> tuple[Floats, Floats]:
        rows = np.array([self._snapshot.index[key] for key in keys])
        horizon = self._snapshot.manifest.horizon
        return self._snapshot.mean_SH[rows], self._snapshot.quantiles(rows, horizon)


if __name__ == "__main__":
    save_model(
        sys.argv[1],
        python_model=__file__,
        model_config={"home": sys.argv[2], "what": sys.argv[3]},
        pip_requirements=["mlflow"],
    )
else:
    set_model(ForecastModel())
