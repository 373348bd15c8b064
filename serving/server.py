"""The gRPC server: one process, synchronous, answering from memory maps."""

from __future__ import annotations

import logging
import math
import os
import signal
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from forecast.errors import BusyError, SurgecastError, UsageError
from forecast.home import Home
from serving.access.admission import Bounds
from serving.access.callers import AccessConfig
from serving.access.connections import connection_options
from serving.access.gate import Gate, make_gate
from serving.access.tls import Credentials
from serving.call import Call
from serving.checks import MAX_REQUEST_BYTES
from serving.interceptors import ErrorInterceptor
from serving.live.engine import LiveConfig, LiveEngine
from serving.methods import FORECASTS, MODELS, Method, all_methods
from serving.store import SnapshotStore

log = logging.getLogger("surgecast.serving")

SERVICES: Final = ("", FORECASTS, MODELS)
SERVING: Final = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING: Final = health_pb2.HealthCheckResponse.NOT_SERVING
PUBLICATION: Final = "surgecast.publication"
"""Name in the health service that is NOT_SERVING while the published snapshot is refused and a former one
serves; `GetServingModel` says why."""
LIVE: Final = "surgecast.live"
"""Name in the health service that is SERVING while what-ifs and new series are answered."""


@dataclass(frozen=True, kw_only=True)
class ServerConfig:
    """How to serve.

    host, port: where to listen; port 0 takes a free one.
    access: what protects it; an address that other machines reach needs TLS or `insecure`.
    bounds: calls waiting or running, by cost; more are answered RESOURCE_EXHAUSTED.
    grace_s: seconds that calls in flight get to end when the server stops.
    live: the model that answers what the snapshot does not hold.
    """

    host: str = "127.0.0.1"
    port: int = 50051
    access: AccessConfig = field(default_factory=AccessConfig)
    bounds: Bounds = field(default_factory=Bounds)
    grace_s: float = 10.0
    live: LiveConfig = field(default_factory=LiveConfig)

    def __post_init__(self) -> None:
        if not 0 <= self.port <= 65_535:
            raise UsageError(f"port: expected 0..65535, found {self.port}")
        self.access.check(self.host)


class Server:
    """A server of one home's published snapshot.

    `start` binds the port, loads the snapshot and begins to answer; health says NOT_SERVING until then.
    """

    def __init__(self, home: Home, config: ServerConfig) -> None:
        self.config = config
        self.store = SnapshotStore(home)
        self._health = health.HealthServicer()
        self.live = LiveEngine(home, config.live, self._report_live)
        methods = all_methods(self.store, self.live)
        self.gate = make_gate(home, config.host, config.access, config.bounds, methods)
        self._server = _build(methods, self._health, config, self.gate)
        self.port = 0

    def start(self) -> None:
        """Begin to serve; BusyError when the port is taken, NotFoundError or IntegrityError when
        nothing can be served.
        """
        self._set_health(NOT_SERVING, *SERVICES, PUBLICATION, LIVE)
        self.port = self._bind()
        self.gate.start()
        self._server.start()
        try:
            self.store.load()
        except SurgecastError:
            self._server.stop(None)
            self.gate.close()
            raise
        self._report_publication()
        self.store.follow(changed=self._report_publication)
        self._set_health(SERVING, *SERVICES)

    @property
    def address(self) -> str:
        """HOST:PORT."""
        return _join(self.config.host, self.port)

    def stop(self) -> None:
        """Take no new calls, let those in flight end, and stop."""
        self._health.enter_graceful_shutdown()
        self._server.stop(self.config.grace_s).wait()
        self.gate.close()
        self.store.close()
        self.live.close()

    def _bind(self) -> int:
        address = _join(self.config.host, self.config.port)
        _check_free(self.config.host, self.config.port)
        try:
            if self.config.access.tls is None:
                return int(self._server.add_insecure_port(address))
            return int(self._server.add_secure_port(address, Credentials(self.config.access.tls).server))
        except RuntimeError as error:  # grpc says no more than that it failed
            raise BusyError("port", expected=f"to listen on {address}", found=str(error)) from error

    def _report_publication(self) -> None:
        self._set_health(SERVING if self.store.refused is None else NOT_SERVING, PUBLICATION)
        self.live.follow(self.store.current)

    def _report_live(self, ready: bool) -> None:
        self._set_health(SERVING if ready else NOT_SERVING, LIVE)

    def _set_health(
        self, status: health_pb2.HealthCheckResponse.ServingStatus.ValueType, *services: str
    ) -> None:
        for service in services:
            self._health.set(service, status)


def run(home: Home, config: ServerConfig, ready: Callable[[Server], None]) -> int:
    """Serve until SIGTERM (exit status 0) or SIGINT (130); `ready` is called when calls are answered."""
    with _signals(signal.SIGTERM, signal.SIGINT) as next_signal:
        server = Server(home, config)
        server.start()
        ready(server)
        received = next_signal()
        log.info("stopping")
        server.stop()
    return 130 if received == signal.SIGINT else 0


@contextmanager
def _signals(*numbers: signal.Signals) -> Iterator[Callable[[], int]]:
    """Catch signals, those that a background shell left ignored too; gives a function that waits for one.

    The interpreter writes each signal's number to a pipe from whatever thread it reached. No handler takes a
    lock, which the interrupted main thread could be holding itself.
    """
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    former = {number: signal.signal(number, lambda _number, _frame: None) for number in numbers}
    former_fd = signal.set_wakeup_fd(writer, warn_on_full_buffer=False)

    def next_signal() -> int:
        while (received := os.read(reader, 1)[0]) not in numbers:
            pass
        return received

    try:
        yield next_signal
    finally:
        signal.set_wakeup_fd(former_fd)
        for number, handler in former.items():
            signal.signal(number, handler)
        os.close(reader)
        os.close(writer)


def _build(
    methods: list[Method], health_servicer: health.HealthServicer, config: ServerConfig, gate: Gate
) -> grpc.Server:
    server = grpc.server(
        gate.lanes["quick"].pool,
        interceptors=(gate, ErrorInterceptor()),
        options=(
            ("grpc.so_reuseport", 0),
            ("grpc.max_receive_message_length", MAX_REQUEST_BYTES),
            ("grpc.max_send_message_length", -1),
            ("grpc.max_metadata_size", 16 << 10),
            *connection_options(config.bounds),
        ),
    )
    tables: dict[str, dict[str, grpc.RpcMethodHandler]] = {}
    for method in methods:
        longest = config.bounds.seconds if method.stream is None else config.bounds.stream_seconds
        tables.setdefault(method.service, {})[method.name] = _handler(method, longest)
    for service, table in tables.items():
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, table),))
    health_pb2_grpc.add_HealthServicer_to_server(health_servicer, server)
    reflection.enable_server_reflection(
        (FORECASTS, MODELS, health.SERVICE_NAME, reflection.SERVICE_NAME), server
    )
    return server


def _handler(method: Method, longest_s: float) -> grpc.RpcMethodHandler:
    """Bytes in, bytes out: requests are parsed by our own checks, answers are encoded by `wire`."""
    answer, stream = method.answer, method.stream
    if stream is not None:
        return grpc.unary_stream_rpc_method_handler(
            lambda content, context: stream(content, _call(context, longest_s))
        )
    if answer is None:
        raise TypeError(f"{method.name}: neither an answer nor a stream")
    return grpc.unary_unary_rpc_method_handler(
        lambda content, context: answer(content, _call(context, longest_s))
    )


def _call(context: grpc.ServicerContext, longest_s: float) -> Call:
    """A call of which the deadline is kept on the monotonic clock, `longest_s` from now at the latest."""
    seconds = context.time_remaining()
    end = time.monotonic() + min(longest_s, math.inf if seconds is None else float(seconds))
    return Call(remaining=lambda: end - time.monotonic(), active=context.is_active)


def _join(host: str, port: int) -> str:
    return f"[{host.strip('[]')}]:{port}" if ":" in host else f"{host}:{port}"


def _check_free(host: str, port: int) -> None:
    """A clear error for what gRPC reports without a reason: a name that is none, a port that is taken."""
    try:
        family, kind, _, _, target = socket.getaddrinfo(host.strip("[]"), port, type=socket.SOCK_STREAM)[0]
    except (socket.gaierror, UnicodeError) as error:
        raise UsageError(f"host: expected a name or an address, found {host!r} ({error})") from error
    with socket.socket(family, kind) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(target)
        except OSError as error:
            found = error.strerror or str(error)
            raise BusyError("port", expected=f"to listen on {_join(host, port)}", found=found) from error
