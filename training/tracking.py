"""Runs in MLflow: one SQLite file and a folder of artifacts below the home, no server.

mlflow takes seconds to import, so it is imported when a run is opened and not before. Metrics are written
once an epoch: a write for every step would slow training down. Nothing here talks to a network.
"""

from __future__ import annotations

import json
import logging
import os
import sqlite3
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self

from forecast.cli.output import plain
from forecast.demand.panel import Panel
from forecast.errors import IntegrityError
from forecast.home import Home
from training.records import EpochRecord

if TYPE_CHECKING:
    import polars as pl
    from matplotlib.figure import Figure
    from mlflow import MlflowClient

EXPERIMENT: Final = "surgecast"
PICKLE_SWITCH: Final = "MLFLOW_ALLOW_PICKLE_DESERIALIZATION"
ENVIRONMENT: Final[Mapping[str, str]] = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_LOGGING_LEVEL": "ERROR",
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    PICKLE_SWITCH: "false",
}
"""What this process and the UI's process tell mlflow: no telemetry, no chatter, no jobs, never unpickle."""
PARAMETER_LENGTH: Final = 500


def tracking_uri(home: Home) -> str:
    """The address of the home's tracking store."""
    return f"sqlite:///{home.mlflow_db.absolute()}"


def connect(home: Home) -> MlflowClient:
    """A client of the home's store, which is made when it is not there. IntegrityError when it is damaged."""
    os.environ.update(ENVIRONMENT)
    home.mlflow_artifacts.mkdir(parents=True, exist_ok=True)
    check_database(home.mlflow_db)
    from mlflow import MlflowClient

    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.ERROR)
    uri = tracking_uri(home)
    return MlflowClient(tracking_uri=uri, registry_uri=uri)


def check_database(path: Path) -> None:
    """Raise IntegrityError for a file that is no SQLite database: mlflow answers that with a page of text."""
    if not path.is_file():
        return
    try:
        with closing(sqlite3.connect(path)) as database:
            database.execute("pragma schema_version").fetchone()
    except sqlite3.DatabaseError as error:
        raise IntegrityError(str(path), expected="MLflow's SQLite database", found=str(error)) from error


class Run:
    """One run, a context: it ends as FINISHED, as FAILED after an error, as KILLED when it was interrupted.

    Parameters, metrics, pictures and files are logged through it; `run_id` names it in MLflow.
    """

    def __init__(
        self,
        home: Home,
        name: str,
        *,
        tags: Mapping[str, str] | None = None,
        parent: Run | None = None,
    ) -> None:
        self.home = home
        self.client: MlflowClient = connect(home) if parent is None else parent.client
        self._records: list[EpochRecord] = []
        self._tables: list[dict[str, str]] = []
        marks = {"mlflow.source.name": "surgecast", "mlflow.source.type": "LOCAL", **(tags or {})}
        if parent is not None:
            marks["mlflow.parentRunId"] = parent.run_id
        experiment = _experiment(self.client, home)
        self.run_id: str = self.client.create_run(experiment, tags=marks, run_name=name).info.run_id

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            status = "FINISHED"
        elif issubclass(kind, Exception):
            status = "FAILED"
            self.tag({"error": f"{kind.__name__}: {error}"})
        else:
            status = "KILLED"  # KeyboardInterrupt, SystemExit
        if self._records:
            self.picture(self.loss_picture(), "pictures/loss.png")
        self.client.set_terminated(self.run_id, status)

    def tag(self, tags: Mapping[str, str]) -> None:
        """Set tags."""
        for name, value in tags.items():
            self.client.set_tag(self.run_id, name, value)

    def parameters(self, values: Mapping[str, object]) -> None:
        """Log parameters; nested mappings become dotted names."""
        from mlflow.entities import Param

        flat = [Param(name, str(value)[:PARAMETER_LENGTH]) for name, value in flatten(values)]
        self.client.log_batch(self.run_id, params=flat)

    def metrics(self, values: Mapping[str, float], *, step: int = 0) -> None:
        """Log metrics at once; what is not finite is left out, for SQLite cannot hold it."""
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        batch = [
            Metric(name, value, now, step) for name, value in values.items() if abs(value) < float("inf")
        ]
        self.client.log_batch(self.run_id, metrics=batch)

    def data(self, panel: Panel, *, source: str) -> None:
        """Log which demand the run saw: an input of the run, and the tags data_version and cutoff."""
        from mlflow.entities import Dataset, DatasetInput

        dataset = Dataset(
            name="demand",
            digest=panel.data_version[:36] or "none",
            source_type="local",
            source=source,
            profile=f'{{"series": {panel.n_series}, "periods": {panel.n_periods}}}',
        )
        self.client.log_inputs(self.run_id, datasets=[DatasetInput(dataset=dataset)])
        self.tag({"data_version": panel.data_version, "cutoff": str(panel.origin), "period": panel.period})

    def epoch(self, record: EpochRecord) -> None:
        """Log an epoch's numbers; the picture of the loss is drawn from them when the run ends."""
        self._records.append(record)
        values = {
            "train/loss": record.loss,
            "train/learning_rate": record.learning_rate,
            "train/origins_per_s": record.origins_per_s,
            "train/seconds": record.seconds,
            **{f"validation/{name}": value for name, value in record.validation.items()},
        }
        self.metrics(values, step=record.step)

    def loss_picture(self) -> Figure:
        """Training loss and validation metrics of the epochs so far."""
        from forecast.evaluation.plots import plot_loss

        names = dict.fromkeys(name for record in self._records for name in record.validation)
        lines = {
            name: [record.validation.get(name, float("nan")) for record in self._records] for name in names
        }
        steps = [record.step for record in self._records]
        return plot_loss(steps, [record.loss for record in self._records], lines)

    def picture(self, figure: Figure, path: str) -> None:
        """Log a figure as the PNG file `path`, which may name a folder."""
        target = Path(path)
        with tempfile.TemporaryDirectory(prefix="surgecast-") as folder:
            file = Path(folder) / target.name
            figure.savefig(file, format="png")
            self.client.log_artifact(self.run_id, str(file), str(target.parent))

    def table(self, frame: pl.DataFrame, name: str) -> None:
        """Log a table: `NAME.json`, which the UI shows as a table, and `NAME.csv`."""
        content = {"columns": frame.columns, "data": frame.rows()}
        self.client.log_text(self.run_id, json.dumps(plain(content)), f"{name}.json")
        self.client.log_text(self.run_id, frame.write_csv(), f"{name}.csv")
        self._tables.append({"path": f"{name}.json", "type": "table"})
        # What MlflowClient.log_table does, without its way through pandas.
        self.tag({"mlflow.loggedArtifacts": json.dumps(self._tables)})

    def folder(self, folder: Path, path: str) -> None:
        """Log all files of a folder below `path`."""
        self.client.log_artifacts(self.run_id, str(folder), path)


def flatten(values: Mapping[str, object], prefix: str = "") -> Iterator[tuple[str, object]]:
    """Yield (dotted name, value) of nested mappings and dataclasses."""
    for name, value in values.items():
        inner = _as_mapping(value)
        if inner is None:
            yield f"{prefix}{name}", value
        else:
            yield from flatten(inner, f"{prefix}{name}.")


def _as_mapping(value: Any) -> Mapping[str, object] | None:
    if isinstance(value, Mapping):
        return value
    return asdict(value) if hasattr(value, "__dataclass_fields__") else None


def _experiment(client: MlflowClient, home: Home) -> str:
    found = client.get_experiment_by_name(EXPERIMENT)
    if found is not None:
        return str(found.experiment_id)
    made: str = client.create_experiment(EXPERIMENT, home.mlflow_artifacts.absolute().as_uri())
    return made


def ui_command(home: Home, port: int) -> list[str]:
    """The command that shows the home's store in a browser, on the loopback address alone."""
    store = ["--backend-store-uri", tracking_uri(home), "--no-serve-artifacts"]
    place = ["--default-artifact-root", home.mlflow_artifacts.absolute().as_uri()]
    address = ["--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    return [sys.executable, "-m", "mlflow", "server", *store, *place, *address]
