"""Several processes that share a port and, through the page cache, one map of the snapshot: they are started,
watched, started again when they die, and told to stop.
"""

from __future__ import annotations

import logging
import signal
import socket
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from time import monotonic
from typing import Final

from forecast.home import Home
from serving.addresses import join_address
from serving.operation.child import Child
from serving.operation.config import OperationConfig
from serving.operation.exposition import Exposition, exposed
from serving.operation.logs import configure
from serving.operation.metrics import Tally
from serving.operation.signals import INTERRUPTED, STOPPING, Signals, caught
from serving.operation.state import Ready, ServingState
from serving.server import ServerConfig, take_port

log = logging.getLogger("surgecast.serving")

EXTRA_S: Final = 5.0
"""Seconds that a process gets to end beyond those for its calls, before it is killed."""


def supervise(
    home: Home, config: ServerConfig, operation: OperationConfig, ready: Callable[[Ready], None]
) -> int:
    """Serve from several processes until SIGTERM (exit status 0) or SIGINT (130); `ready` is called when all
    of them answer calls. An error that one of them cannot start for ends all before that, and is raised.
    """
    configure(operation.log_format)
    with caught(*STOPPING) as signals, _reserved(config) as port:
        supervisor = Supervisor(home, replace(config, port=port, shared_port=True), operation)
        exposition = Exposition(supervisor.tallies, supervisor.states, operation.workers)
        with exposed(exposition, operation.metrics_port) as metrics:
            try:
                received = supervisor.start(signals)
                if received is None:
                    ready(supervisor.ready(metrics))
                    received = supervisor.watch(signals)
                log.info("stopping")
            finally:
                supervisor.stop()
    return INTERRUPTED if received == signal.SIGINT else 0


class Supervisor:
    """Keeps so many processes serving."""

    def __init__(self, home: Home, config: ServerConfig, operation: OperationConfig) -> None:
        self._config = config
        self._own = Tally()
        self._children = [
            Child(number, home, config, operation.log_format) for number in range(operation.workers)
        ]
        self.tallies = [self._own, *(child.tally for child in self._children)]
        self._apart: Mapping[str, int] = {}

    def states(self) -> Mapping[str, ServingState]:
        """What each process that serves now serves, by its number."""
        return {str(child.number): state for child in self._children if (state := child.state) is not None}

    def ready(self, metrics: str) -> Ready:
        """What may be told when all serve."""
        states = list(self.states().values())
        return Ready(
            address=join_address(self._config.host, self._config.port),
            port=self._config.port,
            snapshot=states[0].snapshot,
            refused=next((state.refused_reason for state in states if state.refused_reason), ""),
            workers=len(states),
            metrics=metrics,
        )

    def start(self, signals: Signals) -> int | None:
        """Start all and wait until they serve; the signal that came before that. Raises the error of one
        that cannot.
        """
        for child in self._children:
            child.start()
        while any(child.state is None for child in self._children):
            received = self._wait(signals, None)
            if received is not None:
                return received
            for child in self._children:
                if child.dead:
                    raise child.failure()
        return None

    def watch(self, signals: Signals) -> int:
        """Start again what dies, until a signal comes; that signal."""
        for child in self._children:
            child.kept = True
        while True:
            due = [child.due for child in self._children if child.dead]
            received = self._wait(signals, max(0.0, min(due) - monotonic()) if due else None)
            if received is not None:
                return received
            for child in self._children:
                if child.dead and child.due <= monotonic():
                    log.warning("starting worker %d again", child.number)
                    self._own.add("surgecast_worker_restarts")
                    child.start()

    def stop(self) -> None:
        """Let all end their calls and wait until they are gone; kill those that take too long."""
        for child in self._children:
            child.signal(signal.SIGTERM)
        end = monotonic() + self._config.grace_s + EXTRA_S
        for child in self._children:
            child.wait(max(0.0, end - monotonic()))

    def _wait(self, signals: Signals, timeout: float | None) -> int | None:
        """A signal; on the way, take what the processes report."""
        files = {child.report: child for child in self._children if not child.dead}
        received, readable = signals.wait(timeout, list(files))
        for file in readable:
            files[file].read()
        if readable:
            self._tell_apart()
        return received

    def _tell_apart(self) -> None:
        """Say it where one could not serve what others serve; in a swap they differ for a moment, too."""
        states = self.states().values()
        found = Counter(state.snapshot for state in states)
        refused = any(state.refused_reason for state in states)
        apart = found if len(found) > 1 and refused else {}
        if apart and apart != self._apart:
            log.error("workers serve %d different snapshots: %s", len(found), ", ".join(sorted(found)))
        self._apart = apart


@contextmanager
def _reserved(config: ServerConfig) -> Iterator[int]:
    """The port, held for the processes that will listen on it.

    It is taken as if for this process alone, so that a second supervisor or another program is noticed, and
    opened for sharing afterwards.
    """
    with take_port(config.host, config.port) as held:
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 0)
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        yield int(held.getsockname()[1])
