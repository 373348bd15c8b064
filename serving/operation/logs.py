"""Log lines, as text or as JSON objects, and a limit to how many a second bad calls may cause."""

from __future__ import annotations

import json
import logging
import sys
import threading
import time
from collections.abc import Callable
from typing import Final

from serving.operation.config import LogFormat

FIELDS: Final = ("request_id", "method", "code", "seconds", "caller", "snapshot", "unlogged")
"""What a record may say besides its message; given by `extra`."""


def configure(log_format: LogFormat, worker: int | None = None) -> None:
    """Log to stderr from now on; `worker` is the number of a supervised process."""
    handler = logging.StreamHandler(sys.stderr)
    handler.addFilter(GrpcFilter())
    place = "" if worker is None else f" [worker {worker}]"
    if log_format == "json":
        handler.setFormatter(JsonFormatter(worker))
    else:
        handler.setFormatter(logging.Formatter(f"%(asctime)s %(levelname)s{place} %(message)s"))
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)


class JsonFormatter(logging.Formatter):
    """One JSON object a line: time (UTC), level, logger, message, pid and what else is known."""

    def __init__(self, worker: int | None) -> None:
        super().__init__()
        self._worker = worker

    def format(self, record: logging.LogRecord) -> str:
        """The line of a record."""
        clock = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        content: dict[str, object] = {
            "time": f"{clock}.{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            "pid": record.process,
        }
        if self._worker is not None:
            content["worker"] = self._worker
        content |= {name: getattr(record, name) for name in FIELDS if hasattr(record, name)}
        if record.exc_info:
            content["exception"] = self.formatException(record.exc_info)
        return json.dumps(content, ensure_ascii=False, default=str)


class LineBudget:
    """At most so many lines a second: a flood of bad calls must not become a flood of log lines."""

    def __init__(self, per_second: int = 20, clock: Callable[[], float] = time.monotonic) -> None:
        self._per_second = per_second
        self._clock = clock
        self._second = clock()
        self._used = 0
        self._left_out = 0
        self._lock = threading.Lock()

    def take(self) -> int | None:
        """None where a line may not be written; else how many were left out since the last that might."""
        with self._lock:
            now = self._clock()
            if now - self._second >= 1.0:
                self._second, self._used = now, 0
            if self._used >= self._per_second:
                self._left_out += 1
                return None
            self._used += 1
            left_out, self._left_out = self._left_out, 0
            return left_out


class GrpcFilter(logging.Filter):
    """Lines of gRPC's own code, which any caller can cause: not too many, and nothing of what was sent."""

    def __init__(self, budget: LineBudget | None = None) -> None:
        super().__init__()
        self._budget = budget or LineBudget()

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether a record is written."""
        if not record.name.startswith("grpc."):
            return True
        left_out = self._budget.take()
        if left_out is None:
            return False
        if record.args:  # such as a header that is no text: somebody's token, perhaps
            record.msg, record.args, record.exc_info = f"{str(record.msg).partition('%')[0]}…", (), None
        if left_out:
            record.unlogged = left_out
        return True
