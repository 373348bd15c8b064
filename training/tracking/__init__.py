"""Runs in MLflow: one SQLite file and a folder of artifacts below the home, no server.

mlflow takes seconds to import, so it is imported when a run is opened and not before. Metrics are written
once an epoch: a write for every step would slow training down. Nothing here talks to a network.

What happens when the database is not there for a job:

locked by somebody   every call waits and tries again for `PATIENCE_SECONDS`, then ends with BusyError
gone, read-only      ends at once with an error that names the file; nothing is written to another one
while a model fits   the fit goes on: epochs are kept in memory, tried again now and then, and written when
                     the run ends. A job that cannot write them then fails, after its bundle was saved.
"""

from training.tracking.patience import PATIENCE_SECONDS, Patient
from training.tracking.run import Run
from training.tracking.store import (
    ENVIRONMENT,
    EXPERIMENT,
    EXPERIMENT_TAGS,
    NOTE,
    check_database,
    connect,
    experiment,
    tracking_uri,
)
from training.tracking.ui import home_page, ui_command

__all__ = [
    "ENVIRONMENT",
    "EXPERIMENT",
    "EXPERIMENT_TAGS",
    "NOTE",
    "PATIENCE_SECONDS",
    "Patient",
    "Run",
    "check_database",
    "connect",
    "experiment",
    "home_page",
    "tracking_uri",
    "ui_command",
]
