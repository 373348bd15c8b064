"""A server of one process."""

from __future__ import annotations

import logging
import signal
from collections.abc import Callable, Mapping

from forecast.home import Home
from serving.operation.config import OperationConfig
from serving.operation.exposition import Exposition, exposed
from serving.operation.logs import configure
from serving.operation.signals import INTERRUPTED, STOPPING, caught
from serving.operation.state import Ready, ServingState
from serving.server import Server, ServerConfig

log = logging.getLogger("surgecast.serving")


def serve_alone(
    home: Home, config: ServerConfig, operation: OperationConfig, ready: Callable[[Ready], None]
) -> int:
    """Serve until SIGTERM (exit status 0) or SIGINT (130), which are obeyed while it starts, too; `ready` is
    called when calls are answered.
    """
    configure(operation.log_format)
    with caught(*STOPPING) as signals:
        server = Server(home, config)

        def states() -> Mapping[str, ServingState]:
            return {"0": server.state} if server.store.serving else {}

        with exposed(Exposition([server.tally], states, 1), operation.metrics_port) as metrics:
            received = signals.during(server.start)
            if received is None:
                state = server.state
                ready(
                    Ready(
                        address=server.address,
                        port=server.port,
                        snapshot=state.snapshot,
                        refused=state.refused_reason,
                        workers=1,
                        metrics=metrics,
                    )
                )
                received, _ = signals.wait()
                log.info("stopping")
                server.stop()
    return INTERRUPTED if received == signal.SIGINT else 0
