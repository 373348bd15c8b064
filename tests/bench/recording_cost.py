"""What the recording around a call costs: `python -m tests.bench.recording_cost [CALLS]`.

Prints microseconds a call of the recording alone, on a context that does nothing, and the server's processor
time a call with and without it, over a real connection, in turns.
"""

from __future__ import annotations

import sys
import time
from concurrent.futures import ThreadPoolExecutor
from multiprocessing import get_context
from multiprocessing.connection import Connection
from statistics import median
from types import SimpleNamespace
from typing import Any

import grpc

from serving.operation.metrics import Tally
from serving.operation.recording import RecordingInterceptor

METHOD = "/surgecast.v1.ForecastService/GetForecast"
ANSWER = b"x" * 1_500
"""About as long as the answer for 28 periods without history."""


class Context:
    """A call that is well."""

    def is_active(self) -> bool:
        return True

    def trailing_metadata(self) -> None:
        return None

    def set_trailing_metadata(self, metadata: Any) -> None:
        self.metadata = metadata


def alone(calls: int) -> float:
    """Microseconds a call of the interceptor and its wrapper, without gRPC."""
    handler = grpc.unary_unary_rpc_method_handler(lambda _content, _context: ANSWER)
    details = SimpleNamespace(method=METHOD, invocation_metadata=(("user-agent", "grpc-python"),))
    interceptor = RecordingInterceptor(Tally())
    context = Context()

    def seconds(wrapped: bool) -> float:
        began = time.process_time()
        for _ in range(calls):
            found = interceptor.intercept_service(lambda _details: handler, details) if wrapped else handler
            found.unary_unary(b"", context)
        return time.process_time() - began

    return median((seconds(True) - seconds(False)) / calls * 1e6 for _ in range(5))


def serve(pipe: Connection, recorded: bool) -> None:
    """A server of one method that tells its processor time whenever it is asked."""
    interceptors = (RecordingInterceptor(Tally()),) if recorded else ()
    server = grpc.server(ThreadPoolExecutor(4), interceptors=interceptors)
    handler = grpc.unary_unary_rpc_method_handler(lambda _content, _context: ANSWER)
    service, _, name = METHOD[1:].partition("/")
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, {name: handler}),))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    pipe.send(port)
    while pipe.recv():
        pipe.send(time.process_time())
    server.stop(None)


def over_the_wire(calls: int) -> dict[bool, float]:
    """Microseconds of the server's processor time a call, with and without the recording."""
    processes, found = get_context("spawn"), {True: [], False: []}
    servers = {}
    for recorded in (False, True):
        here, there = processes.Pipe()
        process = processes.Process(target=serve, args=(there, recorded))
        process.start()
        servers[recorded] = (here, process, grpc.insecure_channel(f"127.0.0.1:{here.recv()}"))
    for turn in range(9):
        for recorded, (pipe, _process, channel) in servers.items():
            ask = channel.unary_unary(METHOD)
            pipe.send(True)
            before = pipe.recv()
            for _ in range(calls):
                ask(b"")
            pipe.send(True)
            if turn:  # the first turn warms up
                found[recorded].append((pipe.recv() - before) / calls * 1e6)
            else:
                pipe.recv()
    for pipe, process, channel in servers.values():
        channel.close()
        pipe.send(False)
        process.join()
    return {recorded: median(values) for recorded, values in found.items()}


if __name__ == "__main__":
    n_calls = int(sys.argv[1]) if len(sys.argv) > 1 else 2_000
    wire = over_the_wire(n_calls)
    print(f"recording alone: {alone(20_000):.1f} us a call")
    print(f"server's processor time: {wire[False]:.0f} us without, {wire[True]:.0f} us with it")
