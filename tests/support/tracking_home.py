"""Homes with an empty MLflow database, quickly."""

from __future__ import annotations

import tempfile
from functools import cache
from pathlib import Path

from forecast.home import Home
from training.tracking import connect


@cache
def _empty_database() -> bytes:
    """What MLflow makes in seconds, once a process; a copy takes none."""
    with tempfile.TemporaryDirectory() as folder:
        home = Home(Path(folder))
        connect(home)
        return home.mlflow_db.read_bytes()


def home_with_mlflow(root: Path) -> Home:
    """A home whose MLflow database is there and empty."""
    home = Home(root)
    home.mlflow_db.parent.mkdir(parents=True)
    home.mlflow_db.write_bytes(_empty_database())
    return home
