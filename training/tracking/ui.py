"""MLflow's pages on the home's store."""

from __future__ import annotations

import sqlite3
import sys
from contextlib import closing, suppress

from forecast.home import Home
from training.tracking.store import EXPERIMENT, tracking_uri


def ui_command(home: Home, port: int) -> list[str]:
    """The command that shows the home's store in a browser, on the loopback address alone."""
    store = ["--backend-store-uri", tracking_uri(home), "--no-serve-artifacts"]
    place = ["--default-artifact-root", home.mlflow_artifacts.absolute().as_uri()]
    address = ["--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    return [sys.executable, "-m", "mlflow", "server", *store, *place, *address]


def home_page(home: Home, port: int) -> str:
    """Where to start reading: the runs, on the pages that MLflow has for models, not those for chats."""
    place = "experiments"
    with suppress(sqlite3.Error), closing(sqlite3.connect(home.mlflow_db, timeout=1)) as database:
        asked = "select experiment_id from experiments where name = ?"
        found = database.execute(asked, (EXPERIMENT,)).fetchone()
        place = f"experiments/{found[0]}/runs" if found else place
    return f"http://127.0.0.1:{port}/#/{place}?workflowType=machine_learning"
