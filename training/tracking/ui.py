"""MLflow's pages on the home's store."""

from __future__ import annotations

import sys

from forecast.home import Home
from training.tracking.store import tracking_uri


def ui_command(home: Home, port: int) -> list[str]:
    """The command that shows the home's store in a browser, on the loopback address alone."""
    store = ["--backend-store-uri", tracking_uri(home), "--no-serve-artifacts"]
    place = ["--default-artifact-root", home.mlflow_artifacts.absolute().as_uri()]
    address = ["--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    return [sys.executable, "-m", "mlflow", "server", *store, *place, *address]


def home_page(port: int, experiment_id: str = "") -> str:
    """Where to start reading: the runs, on the pages that MLflow has for models."""
    place = f"experiments/{experiment_id}/runs" if experiment_id else "experiments"
    return f"http://127.0.0.1:{port}/#/{place}?workflowType=machine_learning"
