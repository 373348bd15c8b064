"""How a call that was let in is run: its one request read, its time kept, its place given back."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final

import grpc
from google.protobuf.message import DecodeError

from forecast.errors import InputError, LateError, SurgecastError
from serving.access.admission import Place
from serving.access.callers import Caller
from serving.access.records import Records
from serving.access.timekeeper import RECEIVE_S, TAKE_S, Clock, Timekeeper
from serving.call import ASKING
from serving.errors import to_grpc
from serving.methods import Method

SLACK_S: Final = 1.0
"""Seconds after its time in which a call may say by itself that it is late."""
Parse = Callable[[bytes], Any] | None
Refused = Callable[[str, SurgecastError], None]
"""Told of each call that is not passed on to its method: the path, and why."""


@dataclass(frozen=True)
class Admitted:
    """A call that was let in. `seconds`: how long it may take; method and caller are those of our own
    methods.
    """

    path: str
    place: Place
    seconds: float
    method: Method | None = None
    caller: Caller | None = None


@dataclass(frozen=True)
class Guard:
    """Runs calls. Methods with one request are given to gRPC as streams of requests, of which one is read:
    so a call runs as soon as its lane has a thread, be its request there or not, or its caller gone.
    """

    timekeeper: Timekeeper
    records: Records
    refused: Refused
    watches: set[grpc.ServicerContext] = field(default_factory=set)
    """Open streams that hold no thread, and have no end of their own."""

    def wrap(self, handler: grpc.RpcMethodHandler, call: Admitted) -> grpc.RpcMethodHandler:
        """The handler to give to gRPC."""
        guarded: Any
        if handler.unary_unary is not None:
            guarded, make = self._one(handler, call), grpc.stream_unary_rpc_method_handler
        elif getattr(handler.unary_stream, "experimental_non_blocking", False):
            guarded, make = self._pushed(handler, call), grpc.stream_stream_rpc_method_handler
            guarded.experimental_non_blocking = True
        else:
            guarded, make = self._many(handler, call), grpc.stream_stream_rpc_method_handler
        guarded.experimental_thread_pool = call.place.lane.pool
        return make(guarded, response_serializer=handler.response_serializer)

    def _one(self, handler: grpc.RpcMethodHandler, call: Admitted) -> Callable[..., Any]:
        behave, parse, method, caller = (
            handler.unary_unary,
            handler.request_deserializer,
            call.method,
            call.caller,
        )
        audited = method is not None and method.role != "planner"

        def answer(requests: Iterable[bytes], context: grpc.ServicerContext) -> Any:
            clock = None
            try:
                end = _end(context, call.seconds)
                clock = self.timekeeper.begin(context, min(end, time.monotonic() + RECEIVE_S))
                request = _first(requests, parse)
                call.place.ready()
                clock.until = end + SLACK_S
                with call.place.lane.turn():
                    if time.monotonic() > end or not context.is_active():
                        raise _late(call.seconds)
                    if audited and method is not None and caller is not None:
                        asking = ASKING.set(caller.name)
                        try:
                            reply = self.records.around(method, caller, behave, request, context)
                        finally:
                            ASKING.reset(asking)
                    else:
                        reply = behave(request, context)
                self.timekeeper.hand_over(clock, len(reply) if isinstance(reply, bytes) else 0)
                clock = None
                return reply
            except SurgecastError as error:
                self.refused(call.path, error)
                context.abort_with_status(to_grpc(error))
            finally:
                if clock is not None:
                    self.timekeeper.end(clock)
                call.place.leave()

        return answer

    def _many(self, handler: grpc.RpcMethodHandler, call: Admitted) -> Callable[..., Any]:
        parse = handler.request_deserializer

        def pieces(requests: Iterable[bytes], context: grpc.ServicerContext) -> Iterator[Any]:
            clock = None
            started = time.monotonic()
            context.add_callback(call.place.leave)
            try:
                end = _end(context, call.seconds)
                clock = self.timekeeper.begin(context, end)
                if handler.stream_stream is not None:
                    call.place.ready()
                    found = handler.stream_stream((_parsed(one, parse) for one in requests), context)
                else:
                    clock.until = min(end, started + RECEIVE_S)
                    request = _first(requests, parse)
                    call.place.ready()
                    clock.until = end + SLACK_S
                    found = handler.unary_stream(request, context)
                with call.place.lane.turn():  # as many as there are places: nobody waits for one
                    yield from _timed(found, clock, end, call.seconds)
            except SurgecastError as error:
                self.refused(call.path, error)
                context.abort_with_status(to_grpc(error))
            finally:
                if clock is not None:
                    self.timekeeper.end(clock)
                call.place.leave()

        return pieces

    def _pushed(self, handler: grpc.RpcMethodHandler, call: Admitted) -> Callable[..., Any]:
        """Of a stream that holds no thread: what is sent is pushed into it by others."""

        def begin(
            requests: Iterable[bytes], context: grpc.ServicerContext, send: Callable[..., None]
        ) -> None:
            def leave() -> None:
                self.watches.discard(context)
                call.place.leave()

            self.watches.add(context)
            if not context.add_callback(leave):
                leave()
            clock = self.timekeeper.begin(context, time.monotonic() + RECEIVE_S)
            try:
                request = _first(requests, handler.request_deserializer)
                call.place.ready()
                handler.unary_stream(request, context, send)
            except SurgecastError as error:
                self.refused(call.path, error)
                context.abort_with_status(to_grpc(error))
            finally:
                self.timekeeper.end(clock)

        return begin


def _end(context: grpc.ServicerContext, seconds: float) -> float:
    """When the time of a call is over (monotonic, seconds); LateError when it is already."""
    left = context.time_remaining()
    left = math.inf if left is None else float(left)
    if left <= 0 or not context.is_active():
        raise LateError("deadline", expected="a caller that still waits", found="none")
    return time.monotonic() + min(left, seconds)


def _late(seconds: float) -> LateError:
    return LateError("deadline", expected=f"an end within the deadline, {seconds:g} s at most", found="none")


def _timed(pieces: Iterable[Any], clock: Clock, end: float, seconds: float) -> Iterator[Any]:
    for piece in pieces:
        now = time.monotonic()
        if now > end:
            raise _late(seconds)
        clock.until = min(end + SLACK_S, now + TAKE_S)
        yield piece
        clock.until = end + SLACK_S


def _first(requests: Iterable[bytes], parse: Parse) -> Any:
    for content in requests:
        return _parsed(content, parse)
    raise InputError("request", expected="one message", found="none")


def _parsed(content: bytes, parse: Parse) -> Any:
    if parse is None:
        return content
    try:
        return parse(content)
    except DecodeError as error:
        found = f"{len(content)} bytes that are not one"
        raise InputError("request", expected="a message of this method", found=found) from error
