"""The home: the one folder that holds everything of an installation."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Home:
    """Where things lie below `root`. Properties name paths; nothing is created until something is written."""

    root: Path

    @property
    def settings_file(self) -> Path:
        """`surgecast.toml`, the installation's settings."""
        return self.root / "surgecast.toml"

    @property
    def demand_dir(self) -> Path:
        """Delta tables of the demand store."""
        return self.root / "demand"

    @property
    def events_dir(self) -> Path:
        """Calendar files (TOML, CSV) of this installation's own events."""
        return self.root / "events"

    @property
    def bundles_dir(self) -> Path:
        """Trained models, one folder each."""
        return self.root / "bundles"

    @property
    def snapshots_dir(self) -> Path:
        """Published forecasts, one immutable folder each."""
        return self.root / "snapshots"

    @property
    def pointer_file(self) -> Path:
        """The one file that says which snapshot serves."""
        return self.root / "serving.json"

    @property
    def tokens_file(self) -> Path:
        """Who may ask the server, with hashes of their tokens."""
        return self.root / "tokens.json"

    @property
    def audit_file(self) -> Path:
        """What was changed through the server and by whom, one JSON object a line."""
        return self.root / "audit.jsonl"

    @property
    def rollbacks_file(self) -> Path:
        """What was rolled back by whom and why, for the record and for the registry to follow."""
        return self.root / "rollbacks.json"

    @property
    def jobs_dir(self) -> Path:
        """Records of the jobs that train, one folder each, and the lock that keeps them apart."""
        return self.root / "jobs"

    @property
    def monitoring_dir(self) -> Path:
        """How published forecasts compare with what came true."""
        return self.root / "monitoring"

    @property
    def mlflow_db(self) -> Path:
        """MLflow's SQLite file."""
        return self.root / "mlflow" / "mlflow.db"

    @property
    def mlflow_artifacts(self) -> Path:
        """MLflow's artifacts."""
        return self.root / "mlflow" / "artifacts"
