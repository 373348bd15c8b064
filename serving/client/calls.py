"""Questions asked over a channel, by a thread that waits."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import chain
from typing import Any, TypeVar

import grpc
from surgecast.v1 import forecast_pb2 as pb

from serving.client.arrow import Export, read_export
from serving.client.connection import OPTIONS, Connection
from serving.client.questions import Page, Question
from serving.errors import from_call

A = TypeVar("A")


class Calls:
    """A channel to a server and the calls on it; from several threads, too."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._metadata = connection.metadata()
        credentials = connection.credentials()
        if credentials is None:
            self._channel = grpc.insecure_channel(connection.address, OPTIONS)
        else:
            self._channel = grpc.secure_channel(connection.address, credentials, OPTIONS)
        self._methods: dict[str, Callable[..., Any]] = {}

    def close(self) -> None:
        """End the connection."""
        self._channel.close()

    def ask(self, question: Question[A], timeout_s: float | None) -> A:
        """The answer to a question."""
        patience = self._connection.patience(timeout_s)
        method = self._method(question.method, self._channel.unary_unary)
        content = question.request.SerializeToString()
        while True:
            try:
                reply = method(content, timeout=patience.remaining_s, metadata=self._metadata)
            except grpc.RpcError as error:
                time.sleep(patience.pause_s(error))
            else:
                return question.read(reply)

    def pages(self, question: Question[Page[A]], timeout_s: float | None) -> Iterator[A]:
        """All entries of a list."""
        page = self.ask(question, timeout_s)
        yield from page.entries
        while page.token:
            page = self.ask(question.at_page(page.token), timeout_s)
            yield from page.entries

    @contextmanager
    def export(self, question: Question[pb.ExportForecastsResponse], timeout_s: float) -> Iterator[Export]:
        """An export under way; it is made again where the server refuses it, not once its first piece is
        there.
        """
        patience = self._connection.patience(timeout_s)
        method = self._method(question.method, self._channel.unary_stream)
        content = question.request.SerializeToString()
        while True:
            call = method(content, timeout=patience.remaining_s, metadata=self._metadata)
            try:
                first = next(call, None)
                break
            except grpc.RpcError as error:
                time.sleep(patience.pause_s(error))
        try:
            pieces = chain([] if first is None else [first], self._rest(call))
            yield read_export(map(question.read, pieces))
        finally:
            call.cancel()

    def _rest(self, call: Iterator[bytes]) -> Iterator[bytes]:
        try:
            yield from call
        except grpc.RpcError as error:
            raise from_call(error, self._connection.address) from error

    def _method(self, path: str, make: Callable[[str], Callable[..., Any]]) -> Callable[..., Any]:
        if path not in self._methods:
            self._methods[path] = make(path)
        return self._methods[path]
