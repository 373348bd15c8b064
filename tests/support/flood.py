"""More calls than a server can answer, sent at a steady pace whatever comes back."""

from __future__ import annotations

import threading
import time
from collections import Counter
from types import TracebackType
from typing import Any, Self

import grpc
from google.rpc import error_details_pb2
from grpc_status import rpc_status

CONNECTIONS = 4
MOST_AT_ONCE = 300
"""Calls that are out at most: a caller that never waited would measure its own queue."""


def open_channel(address: str) -> Any:
    """A connection of its own."""
    return grpc.insecure_channel(address, options=(("grpc.use_local_subchannel_pool", 1),))


class Flood:
    """Calls `path` with `content`, `rate` times a second, from entering to leaving a `with`.

    codes: how often each code came back. unexplained: RESOURCE_EXHAUSTED without RetryInfo.
    """

    def __init__(self, address: str, path: str, content: bytes, rate: float) -> None:
        self.codes: Counter[str] = Counter()
        self.unexplained = 0
        self._content = content
        self._rate = rate
        self._channels = [open_channel(address) for _ in range(CONNECTIONS)]
        self._calls = [channel.unary_unary(path) for channel in self._channels]
        self._lock = threading.Lock()
        self._out = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._send)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()
        end = time.monotonic() + 30
        while self._out and time.monotonic() < end:
            time.sleep(0.01)
        for channel in self._channels:
            channel.close()

    def _send(self) -> None:
        started, sent = time.perf_counter(), 0
        while not self._stop.wait(0.0005):
            due = int((time.perf_counter() - started) * self._rate)
            for number in range(sent, due):  # many where this thread was held up: each connection gets some
                if self._out >= MOST_AT_ONCE:
                    continue
                with self._lock:
                    self._out += 1
                call = self._calls[number % CONNECTIONS].future(self._content, timeout=10)
                call.add_done_callback(self._ended)
            sent = due

    def _ended(self, call: Any) -> None:
        code = call.code().name
        explained = code != "RESOURCE_EXHAUSTED" or has_retry(call)
        with self._lock:
            self._out -= 1
            self.codes[code] += 1
            self.unexplained += not explained


def has_retry(call: Any) -> bool:
    """Whether a refusal says when to ask again."""
    status = rpc_status.from_call(call)
    return status is not None and any(
        detail.Is(error_details_pb2.RetryInfo.DESCRIPTOR) for detail in status.details
    )
