"""What is recorded around every call: a request id, counts and durations, a line for failed and slow ones."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Callable, Iterator
from itertools import count
from time import perf_counter
from typing import TYPE_CHECKING, Any, Final

import grpc

from forecast.errors import SurgecastError
from serving.errors import code_of
from serving.operation.logs import LineBudget
from serving.operation.metrics import CODES, MethodCells, Tally, method_names
from serving.operation.tracing import Tracing

if TYPE_CHECKING:
    from opentelemetry.trace import Span

log = logging.getLogger("surgecast.calls")

REQUEST_ID: Final = "x-request-id"
PACKAGE: Final = "/surgecast.v1."
SLOW_S: Final = 1.0
"""A call that takes longer gets a line in the log; streams do not, for they take as long as their reader."""
REFUSALS_PER_S: Final = 2
"""Lines for refusals at the gate, which come by the thousand."""
_SANE: Final = re.compile(r"[0-9A-Za-z._-]{1,64}")
_CANCELLED: Final = CODES.index("CANCELLED")
_UNKNOWN: Final = CODES.index("UNKNOWN")
_OURS: Final = {"UNKNOWN", "INTERNAL", "DATA_LOSS", "UNAVAILABLE"}
"""Codes that are the server's fault."""
_LONGEST: Final = 500

Handler = Callable[[Any, grpc.ServicerContext], Any]


class RecordingInterceptor(grpc.ServerInterceptor):  # type: ignore[misc]  # grpc has no types
    """Records the calls of our own services. It stands behind the gate, which tells it of its refusals: they
    are counted, not traced.
    """

    def __init__(
        self, tally: Tally, budget: LineBudget | None = None, tracing: Tracing | None = None
    ) -> None:
        self._tally = tally
        self._budget = budget or LineBudget()
        self._refusals = LineBudget(REFUSALS_PER_S)
        self._tracing = tracing
        self._methods = {PACKAGE + name: MethodCells.of(name) for name in method_names()}
        self._prefix = os.urandom(5).hex()
        self._numbers = count()

    def intercept_service(
        self, continuation: Callable[[Any], grpc.RpcMethodHandler | None], handler_call_details: Any
    ) -> grpc.RpcMethodHandler | None:
        """Wrap the handler of one call."""
        arrived = perf_counter()
        handler = continuation(handler_call_details)
        cells = self._methods.get(handler_call_details.method)
        if handler is None or cells is None:
            return handler
        call = _Call(self, cells, arrived, self._request_id(handler_call_details.invocation_metadata))
        ends = handler.request_deserializer, handler.response_serializer
        if handler.unary_unary is not None:
            return grpc.unary_unary_rpc_method_handler(call.answering(handler.unary_unary), *ends)
        if handler.unary_stream is not None:
            return grpc.unary_stream_rpc_method_handler(call.streaming(handler.unary_stream), *ends)
        return handler

    def _request_id(self, metadata: Any) -> str:
        for key, value in metadata or ():
            if key == REQUEST_ID and _SANE.fullmatch(value):
                return str(value)
        return f"{self._prefix}-{next(self._numbers):x}"

    def refused(self, path: str, error: SurgecastError) -> None:
        """Count a call that was not passed on to its method; some of them get a line in the log."""
        cells = self._methods.get(path)
        if cells is None:
            return
        code = code_of(error)
        self._tally.refuse(cells, code)
        if (left_out := self._refusals.take()) is not None:
            extra = {"method": cells.name, "code": CODES[code], "unlogged": left_out}
            more = f" ({left_out} refusals before left out)" if left_out else ""
            log.info("%s refused, %s: %s%s", cells.name, CODES[code], error, more, extra=extra)

    def begin(self, call: _Call, context: grpc.ServicerContext) -> None:
        """A call has got its thread."""
        self._tally.begin(call.cells)
        if self._tracing is not None:
            path = PACKAGE + call.cells.name
            call.span = self._tracing.begin(path, call.request_id, call.arrived, context)

    def end(self, call: _Call, context: grpc.ServicerContext, code: int, began: float, *, slow: bool) -> None:
        """A call has ended; `slow` says whether its time may be complained of."""
        seconds = perf_counter() - call.arrived
        self._tally.end(call.cells, code, seconds, began - call.arrived)
        if self._tracing is not None and call.span is not None:
            self._tracing.end(call.span, CODES[code])
        if code or (slow and seconds > SLOW_S):
            self._write(call, context, code, seconds)

    def _write(self, call: _Call, context: grpc.ServicerContext, code: int, seconds: float) -> None:
        left_out = self._budget.take()
        if left_out is None:
            return
        details = context.details() or b""
        text = details.decode("utf-8", "replace") if isinstance(details, bytes) else str(details)
        name = CODES[code]
        extra: dict[str, object] = {
            "request_id": call.request_id,
            "method": call.cells.name,
            "code": name,
            "seconds": round(seconds, 6),
            "caller": context.peer(),
        }
        if left_out:
            extra["unlogged"] = left_out
        log.log(
            logging.ERROR if name in _OURS else logging.INFO,
            "%s %s after %.1f ms%s [%s]%s",
            call.cells.name,
            name if code else "slow",
            seconds * 1e3,
            f": {' '.join(text.split())[:_LONGEST]}" if text else "",
            call.request_id,
            f" ({left_out} lines before left out)" if left_out else "",
            extra=extra,
        )


class _Call:
    """One call under way."""

    __slots__ = ("_recorder", "arrived", "cells", "request_id", "span")

    def __init__(
        self, recorder: RecordingInterceptor, cells: MethodCells, arrived: float, request_id: str
    ) -> None:
        self._recorder = recorder
        self.cells = cells
        self.arrived = arrived
        self.request_id = request_id
        self.span: Span | None = None

    def answering(self, answer: Handler) -> Handler:
        """The handler of a single answer."""

        def answer_recorded(request: Any, context: grpc.ServicerContext) -> Any:
            began = self._begin(context)
            code = _UNKNOWN
            try:
                reply = answer(request, context)
                code = 0 if context.is_active() else _CANCELLED
            finally:
                self._end(context, code, began, slow=True)
            return reply

        return answer_recorded

    def streaming(self, stream: Handler) -> Handler:
        """The handler of a stream of pieces; one whose reader went away was cancelled."""

        def pieces_recorded(request: Any, context: grpc.ServicerContext) -> Iterator[Any]:
            began = self._begin(context)
            code = _UNKNOWN
            try:
                yield from stream(request, context)
                code = 0 if context.is_active() else _CANCELLED
            except GeneratorExit:
                code = _CANCELLED
                raise
            finally:
                self._end(context, code, began, slow=False)

        return pieces_recorded

    def _begin(self, context: grpc.ServicerContext) -> float:
        began = perf_counter()
        self._recorder.begin(self, context)
        context.set_trailing_metadata(((REQUEST_ID, self.request_id),))
        return began

    def _end(self, context: grpc.ServicerContext, code: int, began: float, *, slow: bool) -> None:
        if code:
            self._identify(context)
        self._recorder.end(self, context, _final(code, context), began, slow=slow)

    def _identify(self, context: grpc.ServicerContext) -> None:
        """Give the caller the request id; after a refusal too, which replaces trailing metadata."""
        mine = (REQUEST_ID, self.request_id)
        present = context.trailing_metadata() or ()
        if mine not in present:
            context.set_trailing_metadata((*present, mine))


def _final(code: int, context: grpc.ServicerContext) -> int:
    """The number of the status that the caller gets: the one that a refusal chose, else `code`."""
    if code != _UNKNOWN:
        return code
    chosen = context.code()
    if chosen is None:
        return code if context.is_active() else _CANCELLED
    return int(chosen.value[0]) if isinstance(chosen, grpc.StatusCode) else int(chosen)
