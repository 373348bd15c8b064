"""The forecasts of a snapshot as an MLflow model from code, for `mlflow models serve`.

`python mlflow_model.py FOLDER SNAPSHOT` writes the model; MLflow runs this file again in each of its workers.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
from mlflow.models import set_model
from mlflow.pyfunc import save_model
from mlflow.pyfunc.model import PythonModel

from forecast.snapshot import Snapshot


class ForecastModel(PythonModel):
    """Means and quantiles of the series asked for: {"item": [...], "location": [...], "platform": [...]}."""

    def load_context(self, context: Any) -> None:
        """Map the snapshot, once a worker."""
        self._snapshot = Snapshot.open(Path(context.model_config["snapshot"]))

    def predict(self, context: Any, model_input: Any, params: Any = None) -> dict[str, list[Any]]:
        """Lists of numbers, which MLflow writes as JSON."""
        keys = zip(model_input["item"], model_input["location"], model_input["platform"], strict=True)
        rows = np.array([self._snapshot.index[key] for key in keys])
        quantiles = self._snapshot.quantiles(rows, self._snapshot.manifest.horizon)
        return {"mean": self._snapshot.mean_SH[rows].tolist(), "quantiles": quantiles.tolist()}


if __name__ == "__main__":
    save_model(
        sys.argv[1],
        python_model=__file__,
        model_config={"snapshot": sys.argv[2]},
        pip_requirements=["mlflow"],
    )
else:
    set_model(ForecastModel())
