"""How the processes of a server are run and watched."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from forecast.errors import UsageError

LogFormat = Literal["text", "json"]
MAX_WORKERS: Final = 64


@dataclass(frozen=True, kw_only=True)
class OperationConfig:
    """How to operate a server.

    workers: processes that share the port; with one there is no supervisor.
    metrics_port: loopback port of the Prometheus metrics; 0 for none.
    log_format: lines of text, or JSON objects.
    """

    workers: int = 1
    metrics_port: int = 0
    log_format: LogFormat = "text"

    def __post_init__(self) -> None:
        if not 1 <= self.workers <= MAX_WORKERS:
            raise UsageError(f"workers: expected 1..{MAX_WORKERS}, found {self.workers}")
        if not 0 <= self.metrics_port <= 65_535:
            raise UsageError(f"metrics_port: expected 0..65535, found {self.metrics_port}")
        if self.log_format not in ("text", "json"):
            raise UsageError(f"log_format: expected text or json, found {self.log_format!r}")
