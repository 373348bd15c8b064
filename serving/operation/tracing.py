"""A span for each call, sent to a collector over OTLP/gRPC, inside the trace that the caller is in.

Nothing of OpenTelemetry is imported before an endpoint is given. What it needs besides one comes from its
standard variables (OTEL_TRACES_SAMPLER, OTEL_EXPORTER_OTLP_HEADERS, …).
"""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable
from importlib.util import find_spec
from time import perf_counter, time_ns
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

import grpc

from forecast.errors import UsageError

if TYPE_CHECKING:
    from opentelemetry.trace import Span

EXPORTER: Final = "opentelemetry.exporter.otlp.proto.grpc"
CLOSE_S: Final = 2.0
"""Seconds that the last spans get to be sent when the server stops."""
_PARENT: Final = "traceparent"
_LONGEST: Final = 128
"""Characters of a caller's traceparent; one of today has 55."""
_FAULTS: Final = {"UNKNOWN", "DEADLINE_EXCEEDED", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS"}
"""Codes that make a server's span one of an error, as OpenTelemetry has it."""


def check_endpoint(endpoint: str) -> None:
    """UsageError unless it is empty, or an address that what is installed can send to."""
    if not endpoint:
        return
    try:
        parts = urlsplit(endpoint)
        good = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port is not None
    except ValueError:  # a port that is none
        good = False
    if not good or endpoint != f"{parts.scheme}://{parts.netloc}":
        expected = "http://HOST:PORT or https://HOST:PORT"
        raise UsageError(f"trace_endpoint: expected {expected}, found {endpoint!r}")
    try:
        missing = find_spec(EXPORTER) is None
    except ModuleNotFoundError:
        missing = True
    if missing:
        raise UsageError(
            "trace_endpoint: expected the extra tracing (pip install 'surgecast[tracing]'), found none"
        )


class Tracing:
    """Makes and sends spans, from a thread of its own; what a slow collector does not take is dropped.

    snapshot: the identifier of what serves now.
    """

    def __init__(self, endpoint: str, snapshot: Callable[[], str]) -> None:
        from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
        from opentelemetry.trace import SpanKind, Status, StatusCode
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        about: dict[str, str | int] = {
            "service.name": os.environ.get("OTEL_SERVICE_NAME", "surgecast"),
            "host.name": socket.gethostname(),
            "process.pid": os.getpid(),
        }
        self._exporter = OTLPSpanExporter(endpoint)
        self._provider = TracerProvider(resource=Resource.create(about), shutdown_on_exit=False)
        self._provider.add_span_processor(BatchSpanProcessor(self._exporter))
        self._tracer = self._provider.get_tracer("surgecast.serving")
        self._callers = TraceContextTextMapPropagator()
        self._kind = SpanKind.SERVER
        self._error = Status(StatusCode.ERROR)
        self._snapshot = snapshot

    def begin(self, path: str, request_id: str, arrived: float, context: grpc.ServicerContext) -> Span:
        """The span of a call that arrived at `arrived` (of `perf_counter`) and has now got its thread."""
        waited = perf_counter() - arrived
        method = path.removeprefix("/")
        parents = [value for key, value in context.invocation_metadata() or () if key == _PARENT]
        known = len(parents) == 1 and isinstance(parents[0], str) and len(parents[0]) <= _LONGEST
        return self._tracer.start_span(
            method,
            self._callers.extract({_PARENT: parents[0]} if known else {}),
            self._kind,
            {
                "rpc.system.name": "grpc",
                "rpc.method": method,
                "surgecast.request_id": request_id,
                "surgecast.snapshot": self._snapshot(),
                "surgecast.queue_seconds": waited,
            },
            start_time=time_ns() - int(1e9 * waited),
        )

    def end(self, span: Span, code: str) -> None:
        """The call has ended."""
        span.set_attribute("rpc.response.status_code", code)
        if code in _FAULTS:
            span.set_status(self._error)
        span.end()

    def close(self) -> None:
        """Send what is left, within `CLOSE_S`."""
        impatience = threading.Timer(CLOSE_S, self._exporter.shutdown)
        impatience.start()
        self._provider.shutdown()
        impatience.cancel()
