"""Questions asked over a channel, in an event loop."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import grpc
from surgecast.v1 import forecast_pb2 as pb

from forecast.errors import UsageError
from serving.client.arrow import Export, read_export
from serving.client.channel import Channel
from serving.client.connection import Connection
from serving.client.questions import Page, Question
from serving.errors import from_call

A = TypeVar("A")


class AsyncCalls(Channel):
    """A channel to a server and the calls on it, all in the event loop that it was made in."""

    def __init__(self, connection: Connection) -> None:
        try:
            self._loop = asyncio.get_running_loop()
        except RuntimeError as error:
            raise UsageError(
                "AsyncClient: expected to be made in a running event loop, found none"
            ) from error
        super().__init__(connection, grpc.aio.insecure_channel, grpc.aio.secure_channel)

    async def close(self) -> None:
        """End the connection."""
        await self._channel.close()

    async def ask(self, question: Question[A], timeout_s: float | None) -> A:
        """The answer to a question."""
        patience = self._connection.patience(timeout_s, change=question.change)
        method = self._method(question.method, self._channel.unary_unary)
        content = question.request.SerializeToString()
        while True:
            try:
                reply = await method(content, timeout=patience.remaining_s, metadata=self._metadata)
            except grpc.RpcError as error:
                await asyncio.sleep(patience.pause_s(error))
            else:
                return question.read(reply)

    async def pages(self, question: Question[Page[A]], timeout_s: float | None) -> AsyncIterator[A]:
        """All entries of a list."""
        page = await self.ask(question, timeout_s)
        for entry in page.entries:
            yield entry
        while page.token:
            page = await self.ask(question.at_page(page.token), timeout_s)
            for entry in page.entries:
                yield entry

    @asynccontextmanager
    async def export(
        self, question: Question[pb.ExportForecastsResponse], timeout_s: float
    ) -> AsyncIterator[Export]:
        """An export under way; it is made again where the server refuses it, not once its first piece is
        there.

        Its batches are to be read in another thread: they are decoded by a library that waits for them.
        """
        patience = self._connection.patience(timeout_s)
        method = self._method(question.method, self._channel.unary_stream)
        content = question.request.SerializeToString()
        while True:
            call = method(content, timeout=patience.remaining_s, metadata=self._metadata)
            try:
                first = await call.read()
                break
            except grpc.RpcError as error:
                await asyncio.sleep(patience.pause_s(error))
        try:
            pieces = map(question.read, self._pieces(first, call))
            yield await asyncio.to_thread(read_export, pieces)
        finally:
            call.cancel()

    def _pieces(self, piece: Any, call: Any) -> Iterator[bytes]:
        """The pieces of a stream for a thread that waits; the loop reads one when it is asked for it."""
        while piece is not grpc.aio.EOF:
            yield piece
            try:
                piece = asyncio.run_coroutine_threadsafe(call.read(), self._loop).result()
            except grpc.RpcError as error:
                raise from_call(error, self._connection.address) from error
