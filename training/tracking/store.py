"""The home's tracking store: where it is, and a client of it."""

from __future__ import annotations

import logging
import os
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Final, cast

from forecast.errors import IntegrityError
from forecast.home import Home
from training.tracking.patience import PATIENCE_SECONDS, Patient, patiently

if TYPE_CHECKING:
    from mlflow import MlflowClient

EXPERIMENT: Final = "surgecast"
ENVIRONMENT: Final[Mapping[str, str]] = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_LOGGING_LEVEL": "ERROR",
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
}
"""What this process and the UI's process tell mlflow: no telemetry, no chatter, no jobs, never unpickle."""
NOTE: Final = "mlflow.note.content"
"""The tag whose Markdown MLflow shows as description of an experiment or a run."""
EXPERIMENT_TAGS: Final[Mapping[str, str]] = {
    "mlflow.experimentKind": "custom_model_development",  # the UI's pages for models, not those for chats
    NOTE: (
        "Every training, backtest, retraining and check of this installation of surgecast is a run here."
        " The tag `purpose` says what it was for. The newest run with purpose `overview` holds"
        " `overview.html`, a page that tells the story without any knowledge of the code: open its artifacts."
    ),
}


def tracking_uri(home: Home) -> str:
    """The address of the home's tracking store."""
    return f"sqlite:///{home.mlflow_db.absolute()}"


def connect(home: Home, *, patience_s: float = PATIENCE_SECONDS) -> MlflowClient:
    """A client of the home's store, which is made when it is not there; its calls are `Patient`."""
    os.environ.update(ENVIRONMENT)
    home.mlflow_artifacts.mkdir(parents=True, exist_ok=True)
    check_database(home.mlflow_db)
    from mlflow import MlflowClient

    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.ERROR)
    # It would print a traceback of each error that is raised anyway.
    logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)
    uri = tracking_uri(home)
    if not home.mlflow_db.is_file():
        client = MlflowClient(tracking_uri=uri, registry_uri=uri)
    else:
        with patiently(home.mlflow_db, patience_s):
            client = MlflowClient(tracking_uri=uri, registry_uri=uri)
    return cast("MlflowClient", Patient(client, home.mlflow_db, patience_s))


def check_database(path: Path) -> None:
    """Raise IntegrityError for a file that is no SQLite database: mlflow answers that with a page of text."""
    if not path.is_file():
        return
    try:
        with closing(sqlite3.connect(path)) as database:
            database.execute("pragma schema_version").fetchone()
    except sqlite3.OperationalError:
        return  # locked: whoever needs it will wait
    except sqlite3.DatabaseError as error:
        raise IntegrityError(str(path), expected="MLflow's SQLite database", found=str(error)) from error


def experiment(client: MlflowClient, home: Home) -> str:
    """The id of the experiment that holds all runs; it is made, and told what it is, where it is missing."""
    found = client.get_experiment_by_name(EXPERIMENT)
    if found is None:
        made: str = client.create_experiment(
            EXPERIMENT, home.mlflow_artifacts.absolute().as_uri(), tags=dict(EXPERIMENT_TAGS)
        )
        return made
    for name, value in EXPERIMENT_TAGS.items():
        if name not in found.tags:
            client.set_experiment_tag(found.experiment_id, name, value)
    return str(found.experiment_id)
