"""The gate that every call passes first. Who is it, may they, is there room? A refusal costs little.

gRPC asks interceptors in the thread that takes calls in, before a call waits for a thread of its own. So the
gate decides there, from the method and the metadata, and a refusal is sent from there: a refused call is
neither read nor does it wait.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from typing import Any, Final

import grpc

from forecast.errors import BusyError, OverloadError, SurgecastError
from forecast.home import Home
from serving.access.admission import AtOnce, Bounds, Lane, Place, make_lanes
from serving.access.audit import Audit
from serving.access.callers import AccessConfig, Callers
from serving.access.guard import Admitted, Guard, Refused
from serving.access.records import Records
from serving.access.timekeeper import Timekeeper
from serving.errors import to_grpc
from serving.methods import Method

log = logging.getLogger("surgecast.serving")

HEALTH: Final = "/grpc.health.v1.Health/"
HEALTH_METHODS: Final = (f"{HEALTH}Check", f"{HEALTH}Watch")
REFLECTION: Final = "/grpc.reflection."
MAX_REFUSALS: Final = 256
CALM_S: Final = 0.05
"""Seconds without a call after which none is on its way."""
DRAIN_S: Final = 1.0
"""Seconds to wait for that at most: callers may go on asking."""


class Gate(grpc.ServerInterceptor):  # type: ignore[misc]  # grpc has no types
    """The first interceptor of a server. Call `start` before the server's and `close` after its `stop`."""

    def __init__(
        self,
        methods: Sequence[Method],
        callers: Callers,
        audit: Audit,
        bounds: Bounds,
        lanes: dict[str, Lane],
        refused: Refused,
    ) -> None:
        self.lanes = lanes
        self.timekeeper = Timekeeper()
        self._methods = {method.path: method for method in methods}
        self._callers = callers
        self._bounds = bounds
        self._guard = Guard(self.timekeeper, Records(audit), refused)
        self._refused = refused
        self._at_once = AtOnce(1)
        self._draining = False
        self._came_at = 0.0
        self._refusals: dict[tuple[type[SurgecastError], str, float], grpc.RpcMethodHandler] = {}

    def start(self) -> None:
        """Begin to watch calls."""
        self.timekeeper.start()

    def drain(self) -> None:
        """Refuse all that comes from now on, so that it is asked elsewhere or again, until nothing came for a
        moment: gRPC drops the calls that it has taken in and not yet brought here when it stops. Then end the
        watches, which have no end of their own and have been told.
        """
        self._draining = True
        began = self._came_at = time.monotonic()
        while (now := time.monotonic()) < min(self._came_at + CALM_S, began + DRAIN_S):
            time.sleep(self._came_at + CALM_S - now)
        for watch in tuple(self._guard.watches):
            watch.cancel()

    def close(self) -> None:
        """End the threads; nobody is let in any more."""
        self.timekeeper.close()
        for lane in self.lanes.values():
            lane.pool.shutdown(wait=False)

    def intercept_service(
        self, continuation: Callable[[Any], grpc.RpcMethodHandler | None], handler_call_details: Any
    ) -> grpc.RpcMethodHandler | None:
        """The guarded handler of a call, or one that refuses it."""
        path = handler_call_details.method
        if path.startswith(HEALTH) and path not in HEALTH_METHODS:  # what the library does not answer
            return None
        try:
            call = self._admit(path, handler_call_details.invocation_metadata or ())
        except SurgecastError as error:
            self._refused(path, error)
            return self._refusal(error)
        handler = None
        try:
            handler = continuation(handler_call_details)
        finally:
            if handler is None:
                call.place.leave()
        return None if handler is None else self._guard.wrap(handler, call)

    def _admit(self, path: str, metadata: Sequence[tuple[str, str | bytes]]) -> Admitted:
        now = self._came_at = time.monotonic()
        longest = self._bounds.seconds
        if path == f"{HEALTH}Watch":
            return Admitted(path, Place(self.lanes["watch"], None, now), float("inf"))
        if path.startswith(HEALTH):
            return Admitted(path, Place(self.lanes["health"], None, now), longest)
        if self._draining:
            raise BusyError("server", expected="one that goes on", found="one that is stopping", retry_s=1.0)
        caller = self._callers.find(metadata, now)
        method = self._methods.get(path)
        if method is None:  # reflection, or nothing that is answered
            lane = self.lanes["reflection" if path.startswith(REFLECTION) else "quick"]
            return Admitted(path, Place(lane, caller.quota, now), longest)
        if method.role == "planner":  # the others' are recorded too
            caller.check(method.role, method.name)
        if self.timekeeper.unsent > self._bounds.unsent_bytes:
            expected = f"at most {self._bounds.unsent_bytes} bytes that callers have not taken"
            raise OverloadError("answers", expected=expected, found="more")
        if method.stream is not None:
            longest = self._bounds.stream_seconds
        place = Place(self.lanes[method.cost], caller.quota, now)
        return Admitted(path, place, longest, method, caller)

    def _refusal(self, error: SurgecastError) -> grpc.RpcMethodHandler:
        """A handler that refuses; kept, as making it costs more than using it."""
        key = (type(error), str(error), error.retry_s if isinstance(error, OverloadError) else 0.0)
        handler = self._refusals.get(key)
        if handler is None:
            if len(self._refusals) >= MAX_REFUSALS:
                self._refusals.clear()
            handler = self._refusals[key] = self._refusing(error)
        return handler

    def _refusing(self, error: SurgecastError) -> grpc.RpcMethodHandler:
        status = to_grpc(error)

        def refuse(_requests: Any, context: grpc.ServicerContext) -> None:
            context.abort_with_status(status)

        refuse.experimental_thread_pool = self._at_once  # type: ignore[attr-defined]
        return grpc.stream_unary_rpc_method_handler(refuse)


def make_gate(
    home: Home,
    host: str,
    access: AccessConfig,
    bounds: Bounds,
    methods: Sequence[Method],
    refused: Refused,
) -> Gate:
    """The gate of a server that listens on `host`; `refused` is told of each refusal. UsageError when tokens
    are needed and there are none.
    """
    return Gate(methods, Callers(home, host, access), Audit(home), bounds, make_lanes(bounds), refused)
