"""One run in MLflow: what a job logs of itself, as it happens."""

from __future__ import annotations

import json
import tempfile
import time
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self

from forecast.cli.output import plain, say
from forecast.demand.panel import Panel
from forecast.errors import NotFoundError, SurgecastError
from forecast.home import Home
from forecast.times import iso
from training.records import EpochRecord
from training.tracking.epochs import EpochLog
from training.tracking.store import NOTE, connect, experiment

if TYPE_CHECKING:
    import polars as pl
    from matplotlib.figure import Figure
    from mlflow import MlflowClient
    from mlflow.entities import Metric

LONGEST_VALUE: Final = 500
"""Characters of a parameter's value that are kept."""
LARGEST_BATCH: Final = 1_000
"""Metrics that MLflow takes at once."""
HURRIED_SECONDS: Final = 2.0
"""How long a run that failed or was interrupted waits for the database to say so."""
TABLES: Final = "mlflow.loggedArtifacts"
PARENT: Final = "mlflow.parentRunId"


class Run:
    """One run, a context: it ends as FINISHED, as FAILED after an error, as KILLED when it was interrupted.

    Parameters, metrics, pictures and files are logged through it; `run_id` names it in MLflow. `resume` goes
    on with a run that is there: what it has stays, its name and tags may be set anew.

    Every method raises what `training.tracking.patience.Patient` raises where the database is not usable, but
    for `epoch`, which keeps what it could not write until the run ends.
    """

    def __init__(
        self,
        home: Home,
        name: str,
        *,
        tags: Mapping[str, str] | None = None,
        parent: Run | None = None,
        resume: str | None = None,
    ) -> None:
        self.home = home
        self.client: MlflowClient = connect(home) if parent is None else parent.client
        self.experiment_id: str = experiment(self.client, home) if parent is None else parent.experiment_id
        self._hasty = connect(home, patience_s=0.0)
        self._records: list[EpochRecord] = []
        self._tables: list[dict[str, str]] = []
        self._epochs = EpochLog(
            lambda metrics: _write(self._hasty, self.run_id, metrics),
            lambda metrics: _write(self.client, self.run_id, metrics),
        )
        marks = {"mlflow.source.name": "surgecast", "mlflow.source.type": "LOCAL", **(tags or {})}
        if parent is not None:
            marks[PARENT] = parent.run_id
        if resume is None:
            made = self.client.create_run(self.experiment_id, tags=marks, run_name=name)
            self.run_id: str = made.info.run_id
            self._logged: set[str] = set()
        else:
            self.run_id = resume
            self._resume(name, marks)

    def _resume(self, name: str, marks: Mapping[str, str]) -> None:
        from mlflow.exceptions import MlflowException

        try:
            found = self.client.get_run(self.run_id)
        except MlflowException as error:
            if error.error_code not in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
                raise
            raise NotFoundError("run", expected="a run of this home", found=self.run_id) from error
        self._logged = set(found.data.params)
        self._tables = json.loads(found.data.tags.get(TABLES, "[]"))
        self.client.update_run(self.run_id, status="RUNNING", name=name)
        self.tag(marks)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self._finish("FINISHED")
            return
        self.client = connect(self.home, patience_s=HURRIED_SECONDS) if self._there() else self.client
        try:
            if issubclass(kind, Exception):
                self.tag({"error": f"{kind.__name__}: {error}"[:LONGEST_VALUE]})
                self._finish("FAILED")
            else:
                self._finish("KILLED")  # KeyboardInterrupt, SystemExit
        except SurgecastError as trouble:  # what ended the run matters more
            say(f"how run {self.run_id} ended is not in MLflow: {trouble}")

    def _there(self) -> bool:
        return self.home.mlflow_db.is_file()

    def _finish(self, status: str) -> None:
        self._epochs.flush()
        if self._records:
            self.picture(self.loss_picture(), "pictures/loss.png")
        self.client.set_terminated(self.run_id, status)

    def tag(self, tags: Mapping[str, str]) -> None:
        """Set tags."""
        from mlflow.entities import RunTag

        self.client.log_batch(self.run_id, tags=[RunTag(name, value) for name, value in tags.items()])

    def describe(self, markdown: str) -> None:
        """Set the text that MLflow shows above a run's details."""
        self.tag({NOTE: markdown})

    def parameters(self, values: Mapping[str, object]) -> None:
        """Log parameters; nested mappings become dotted names. What a resumed run has already stays."""
        from mlflow.entities import Param

        flat = {name: str(value)[:LONGEST_VALUE] for name, value in flatten(values)}
        fresh = [Param(name, value) for name, value in flat.items() if name not in self._logged]
        self._logged |= set(flat)
        self.client.log_batch(self.run_id, params=fresh)

    def metrics(self, values: Mapping[str, float], *, step: int = 0) -> None:
        """Log metrics at once; what is not finite is left out, for SQLite cannot hold it."""
        _write(self.client, self.run_id, _as_metrics(values, step))

    def data(self, panel: Panel, *, source: str, context: str = "training") -> None:
        """Log which demand the run saw, and for what: an input of the run, and the tags data_version and
        cutoff."""
        from mlflow.entities import Dataset, DatasetInput, InputTag

        units = ["item", "location", "platform", "time", "demand", *panel.statics, *panel.known]
        kinds = {"time": "datetime", "demand": "double", **dict.fromkeys(panel.known, "double")}
        columns = [{"name": name, "type": kinds.get(name, "string"), "required": True} for name in units]
        profile = {
            "series": panel.n_series,
            "periods": panel.n_periods,
            "period": panel.period,
            "first": iso(panel.start),
            "last": iso(panel.origin),
        }
        dataset = Dataset(
            name="demand",
            digest=panel.data_version[:36] or "none",
            source_type="local",
            source=json.dumps({"uri": source}),
            schema=json.dumps({"mlflow_colspec": columns}),
            profile=json.dumps(profile),
        )
        used = DatasetInput(dataset=dataset, tags=[InputTag("mlflow.data.context", context)])
        self.client.log_inputs(self.run_id, datasets=[used])
        self.tag({"data_version": panel.data_version, "cutoff": iso(panel.origin), "period": panel.period})

    def epoch(self, record: EpochRecord) -> None:
        """Log an epoch's numbers and what it took of the machine; the picture of the loss is drawn from them
        when the run ends. Does not wait for the database, and raises nothing when it is in trouble."""
        self._records.append(record)
        values = {
            "train/loss": record.loss,
            "train/learning_rate": record.learning_rate,
            "train/origins_per_s": record.origins_per_s,
            "train/seconds": record.seconds,
            **{f"validation/{name}": value for name, value in record.validation.items()},
            **record.usage,
        }
        self._epochs.add(_as_metrics(values, record.step))

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
        from matplotlib import rc_context

        target = Path(path)
        with tempfile.TemporaryDirectory(prefix="surgecast-") as folder:
            file = Path(folder) / target.name
            # Names may hold a dollar sign, or be in a script that no installed font has.
            with rc_context({"text.parse_math": False}), warnings.catch_warnings():
                warnings.filterwarnings("ignore", message="Glyph .* missing from font")
                figure.savefig(file, format="png")
            self.client.log_artifact(self.run_id, str(file), str(target.parent))

    def table(self, frame: pl.DataFrame, name: str) -> None:
        """Log a table: `NAME.json`, which the UI shows as a table, and `NAME.csv`."""
        content = {"columns": frame.columns, "data": frame.rows()}
        self.text(json.dumps(plain(content)), f"{name}.json")
        self.text(frame.write_csv(), f"{name}.csv")
        entry = {"path": f"{name}.json", "type": "table"}
        if entry not in self._tables:
            self._tables.append(entry)
        # What MlflowClient.log_table does, without its way through pandas.
        self.tag({TABLES: json.dumps(self._tables)})

    def text(self, text: str, path: str) -> None:
        """Log a text file: Markdown, HTML, YAML ..., as its name says."""
        self.client.log_text(self.run_id, text, path)

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


def _as_metrics(values: Mapping[str, float], step: int) -> list[Metric]:
    from mlflow.entities import Metric

    now = int(time.time() * 1000)
    return [Metric(name, value, now, step) for name, value in values.items() if abs(value) < float("inf")]


def _write(client: MlflowClient, run_id: str, metrics: list[Metric]) -> None:
    for first in range(0, len(metrics), LARGEST_BATCH):
        client.log_batch(run_id, metrics=metrics[first : first + LARGEST_BATCH])
