"""One process of several that share a port: `python -m serving.operation.worker`, started by the supervisor.

What to do comes as a line of JSON on stdin, which then stays open: where it ends, the supervisor is gone and
the process ends too. What it serves goes to stdout, a line of JSON at each change; so does, as the last line,
the error that it could not start for.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import sys
import threading
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from pydantic import TypeAdapter

from forecast.errors import SurgecastError
from forecast.home import Home
from serving.operation.config import LogFormat
from serving.operation.logs import configure
from serving.operation.metrics import Tally
from serving.operation.signals import INTERRUPTED, STOPPING, caught
from serving.server import Server, ServerConfig

log = logging.getLogger("surgecast.serving")


@dataclass(frozen=True, kw_only=True)
class Order:
    """What a worker is to do. number: its own, from 0 on. tally: descriptor of the file to count in."""

    home: Path
    config: ServerConfig
    log_format: LogFormat
    number: int
    tally: int


ORDER = TypeAdapter(Order)


def work(order: Order, report: int) -> int:
    """Serve until told to stop, or until stdin ends; the exit status. `report`: descriptor of the lines."""
    writing = threading.Lock()

    def tell(line: str) -> None:
        with writing, suppress(BrokenPipeError):  # the supervisor is gone, and the end of stdin says so
            os.write(report, line.encode() + b"\n")

    with caught(*STOPPING) as signals:
        try:
            server = Server(
                Home(order.home),
                order.config,
                Tally(order.tally),
                changed=lambda: tell(server.state.to_json()),
            )
            received = signals.during(server.start)
        except (SurgecastError, OSError) as error:
            status = error.exit_status if isinstance(error, SurgecastError) else 1
            tell(json.dumps({"error": str(error), "status": status}))
            return status
        if received is None:
            received, ended = signals.wait(files=[sys.stdin.fileno()])
            log.info("stopping" if not ended else "the supervisor is gone: stopping")
            server.stop()
    return INTERRUPTED if received == signal.SIGINT else 0


def main() -> int:
    """The process."""
    order = ORDER.validate_json(sys.stdin.buffer.readline())
    report = os.dup(sys.stdout.fileno())
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # nothing but reports may go where reports go
    configure(order.log_format, order.number)
    return work(order, report)


if __name__ == "__main__":
    sys.exit(main())
