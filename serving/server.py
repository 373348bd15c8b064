"""The gRPC server: one process, synchronous, answering from memory maps."""

from __future__ import annotations

import math
import socket
import time
from collections.abc import Callable
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
from serving.addresses import join_address
from serving.call import ASKING, Call
from serving.checks import MAX_REQUEST_BYTES
from serving.interceptors import ErrorInterceptor
from serving.live.engine import LiveConfig, LiveEngine
from serving.methods import FORECASTS, MODELS, Method, all_methods
from serving.operation.metrics import Tally
from serving.operation.recording import RecordingInterceptor
from serving.operation.selfcheck import check_answers
from serving.operation.state import ServingState
from serving.operation.tracing import Tracing, check_endpoint
from serving.store import SnapshotStore

SERVICES: Final = ("", FORECASTS, MODELS)
SERVING: Final = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING: Final = health_pb2.HealthCheckResponse.NOT_SERVING
PUBLICATION: Final = "surgecast.publication"
"""Name in the health service that is NOT_SERVING while the published snapshot is refused and a former one
serves; `GetServingModel` says why."""
LIVE: Final = "surgecast.live"
"""Name in the health service that is SERVING while what-ifs and new series are answered."""

CONNECTION_AGE_MS: Final = 60_000
"""Where several processes share a port, connections are told to begin anew after this time, when their calls
have ended: a process that was started again gets its share."""


@dataclass(frozen=True, kw_only=True)
class ServerConfig:
    """How to serve.

    host, port: where to listen; port 0 takes a free one.
    access: what protects it; an address that other machines reach needs TLS or `insecure`.
    bounds: calls waiting or running, by cost; more are answered RESOURCE_EXHAUSTED.
    grace_s: seconds that calls in flight get to end when the server stops.
    live: the model that answers what the snapshot does not hold.
    shared_port: other processes listen on the port too; this one does when it has something to serve.
    trace_endpoint: where a span of each call is sent; empty for nowhere.
    """

    host: str = "127.0.0.1"
    port: int = 50051
    access: AccessConfig = field(default_factory=AccessConfig)
    bounds: Bounds = field(default_factory=Bounds)
    grace_s: float = 10.0
    live: LiveConfig = field(default_factory=LiveConfig)
    shared_port: bool = False
    trace_endpoint: str = ""

    def __post_init__(self) -> None:
        if not 0 <= self.port <= 65_535:
            raise UsageError(f"port: expected 0..65535, found {self.port}")
        self.access.check(self.host)
        check_endpoint(self.trace_endpoint)


class Server:
    """A server of one home's published snapshot.

    `start` binds the port, loads the snapshot and begins to answer; health says NOT_SERVING until then.

    tally: where calls and swaps are counted. changed: called when what is served changes.
    """

    def __init__(
        self,
        home: Home,
        config: ServerConfig,
        tally: Tally | None = None,
        changed: Callable[[], None] = lambda: None,
    ) -> None:
        self.config = config
        self.tally = tally or Tally()
        self.store = SnapshotStore(
            home,
            checks=(check_answers,),
            swapped=lambda: self.tally.add("surgecast_swaps"),
            refusing=lambda: self.tally.add("surgecast_refused_swaps"),
        )
        self._changed = changed
        self._health = health.HealthServicer()
        self._live_ready = False
        self.live = LiveEngine(
            home,
            config.live,
            self._report_live,
            batched=lambda series: self.tally.observe("surgecast_live_batch_series", series),
        )
        methods = all_methods(self.store, self.live)
        self._tracing = (
            Tracing(config.trace_endpoint, lambda: self.store.serving) if config.trace_endpoint else None
        )
        recorder = RecordingInterceptor(self.tally, tracing=self._tracing)
        self.gate = make_gate(home, config.host, config.access, config.bounds, methods, recorder.refused)
        self._server = _build(methods, self._health, config, self.gate, recorder)
        self.port = 0

    def start(self) -> None:
        """Begin to serve; BusyError when the port is taken, NotFoundError or IntegrityError when
        nothing can be served.
        """
        self._set_health(NOT_SERVING, *SERVICES, PUBLICATION, LIVE)
        if self.config.shared_port:  # calls must not come here while others could answer them
            self.store.load()
        self.port = self._bind()
        self.gate.start()
        self._server.start()
        try:
            if not self.config.shared_port:
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
        return join_address(self.config.host, self.port)

    @property
    def state(self) -> ServingState:
        """What is served; BusyError before the snapshot is loaded."""
        return ServingState.of(self.store, live=self._live_ready)

    def stop(self) -> None:
        """Say so to who watches, take no new calls, let those in flight end, and stop."""
        self._health.enter_graceful_shutdown()
        self.gate.drain()
        self._server.stop(self.config.grace_s).wait()
        self.gate.close()
        self.store.close()
        self.live.close()
        if self._tracing is not None:
            self._tracing.close()

    def _bind(self) -> int:
        address = join_address(self.config.host, self.config.port)
        if not self.config.shared_port:
            take_port(self.config.host, self.config.port).close()
        try:
            if self.config.access.tls is None:
                return int(self._server.add_insecure_port(address))
            return int(self._server.add_secure_port(address, Credentials(self.config.access.tls).server))
        except RuntimeError as error:  # grpc says no more than that it failed
            raise BusyError("port", expected=f"to listen on {address}", found=str(error)) from error

    def _report_publication(self) -> None:
        self._set_health(SERVING if self.store.refused is None else NOT_SERVING, PUBLICATION)
        self.live.follow(self.store.current)
        self._changed()

    def _report_live(self, ready: bool) -> None:
        self._live_ready = ready
        self._set_health(SERVING if ready else NOT_SERVING, LIVE)
        self._changed()

    def _set_health(
        self, status: health_pb2.HealthCheckResponse.ServingStatus.ValueType, *services: str
    ) -> None:
        for service in services:
            self._health.set(service, status)


def _build(
    methods: list[Method],
    health_servicer: health.HealthServicer,
    config: ServerConfig,
    gate: Gate,
    recorder: RecordingInterceptor,
) -> grpc.Server:
    server = grpc.server(
        gate.lanes["quick"].pool,
        interceptors=(gate, recorder, ErrorInterceptor()),
        options=(
            ("grpc.so_reuseport", int(config.shared_port)),
            *((("grpc.max_connection_age_ms", CONNECTION_AGE_MS),) if config.shared_port else ()),
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

    def caller() -> str:
        return ASKING.get() or str(context.peer())

    return Call(remaining=lambda: end - time.monotonic(), active=context.is_active, caller=caller)


def take_port(host: str, port: int) -> socket.socket:
    """A socket bound to an address, not listening. UsageError for a name that is none, BusyError for a port
    that is taken: gRPC reports both without a reason.
    """
    try:
        family, kind, _, _, target = socket.getaddrinfo(host.strip("[]"), port, type=socket.SOCK_STREAM)[0]
    except (socket.gaierror, UnicodeError) as error:
        raise UsageError(f"host: expected a name or an address, found {host!r} ({error})") from error
    taken = socket.socket(family, kind)
    taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        taken.bind(target)
    except OSError as error:
        taken.close()
        found = error.strerror or str(error)
        raise BusyError("port", expected=f"to listen on {join_address(host, port)}", found=found) from error
    return taken
