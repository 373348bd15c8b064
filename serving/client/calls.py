"""Questions asked over a channel, by a thread that waits."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain
from typing import TypeVar

import grpc
from surgecast.v1 import forecast_pb2 as pb

from serving.client.arrow import Export, read_export
from serving.client.channel import Channel
from serving.client.connection import Connection
from serving.client.questions import Page, Question
from serving.errors import from_call

A = TypeVar("A")


class Calls(Channel):
    """A channel to a server and the calls on it; from several threads, too."""

    def __init__(self, connection: Connection) -> None:
        super().__init__(connection, grpc.insecure_channel, grpc.secure_channel)

    def close(self) -> None:
        """End the connection."""
        self._channel.close()

    def ask(self, question: Question[A], timeout_s: float | None) -> A:
        """The answer to a question."""
        patience = self._connection.patience(timeout_s, change=question.change)
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
