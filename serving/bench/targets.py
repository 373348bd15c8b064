"""Whom the generator asks: a gRPC method with one answer or with a stream of pieces, or a URL."""

from __future__ import annotations

import asyncio
from itertools import cycle
from typing import Final

import grpc

from serving.bench.load import Job, Target
from serving.bench.tally import OK, Reply

DETAILS: Final = "grpc-status-details-bin"
RETRY: Final = b"google.rpc.RetryInfo"
_OPTIONS: Final = (
    ("grpc.max_receive_message_length", -1),
    ("grpc.enable_http_proxy", 0),
    ("grpc.use_local_subchannel_pool", 1),
)


def target_of(job: Job) -> Target:
    """The other side of a job."""
    if job.kind == "grpc":
        return GrpcTarget(job)
    return GrpcStreamTarget(job) if job.kind == "grpc-stream" else HttpTarget(job)


class GrpcTarget:
    """A method with one answer, bytes in and bytes out."""

    def __init__(self, job: Job) -> None:
        self._channels = [grpc.aio.insecure_channel(job.address, _OPTIONS) for _ in range(job.connections)]
        self._calls = cycle([channel.unary_unary(job.path) for channel in self._channels])
        self._timeout_s = job.timeout_s

    async def ask(self, request: bytes) -> Reply:
        """One call."""
        try:
            content: bytes = await next(self._calls)(request, timeout=self._timeout_s)
        except grpc.aio.AioRpcError as error:
            return _failure(error)
        return Reply(OK, content, len(content))

    async def aclose(self) -> None:
        """End the connections."""
        for channel in self._channels:
            await channel.close()


class GrpcStreamTarget:
    """A method with a stream of pieces, which are counted and dropped."""

    def __init__(self, job: Job) -> None:
        self._channel = grpc.aio.insecure_channel(job.address, _OPTIONS)
        self._call = self._channel.unary_stream(job.path)
        self._timeout_s = job.timeout_s

    async def ask(self, request: bytes) -> Reply:
        """One call, to the end of its stream."""
        size = 0
        try:
            async for piece in self._call(request, timeout=self._timeout_s):
                size += len(piece)
        except grpc.aio.AioRpcError as error:
            return _failure(error)
        return Reply(OK, b"", size)

    async def aclose(self) -> None:
        """End the connection."""
        await self._channel.close()


def _failure(error: grpc.aio.AioRpcError) -> Reply:
    details = dict(error.trailing_metadata() or ()).get(DETAILS, b"")
    return Reply(error.code().name, retry=RETRY in details, text=error.details() or "")


class HttpTarget:
    """A URL that JSON is posted to, over connections that are kept open."""

    def __init__(self, job: Job) -> None:
        self._host, _, port = job.address.rpartition(":")
        self._port = int(port)
        self._head = (
            f"POST {job.path} HTTP/1.1\r\nHost: {job.address}\r\nContent-Type: application/json\r\n"
            "Content-Length: "
        ).encode()
        self._timeout_s = job.timeout_s
        self._idle: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []

    async def ask(self, request: bytes) -> Reply:
        """One call."""
        writer = None
        try:
            async with asyncio.timeout(self._timeout_s):
                reader, writer = self._idle.pop() if self._idle else await self._connect()
                writer.write(b"%b%d\r\n\r\n%b" % (self._head, len(request), request))
                status, content = await _answer(reader)
        except (OSError, TimeoutError, asyncio.IncompleteReadError, ValueError) as error:
            if writer is not None:
                writer.close()
            return Reply(type(error).__name__, text=str(error))
        self._idle.append((reader, writer))
        if status != 200:
            return Reply(f"HTTP {status}", text=content[:200].decode(errors="replace"))
        return Reply(OK, content, len(content))

    async def aclose(self) -> None:
        """End all connections."""
        for _, writer in self._idle:
            writer.close()

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection(self._host, self._port, limit=1 << 24)


async def _answer(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    """Status and body; the servers measured here all say how long the body is."""
    head = (await reader.readuntil(b"\r\n\r\n")).lower().split(b"\r\n")
    (length,) = (int(line.partition(b":")[2]) for line in head if line.startswith(b"content-length:"))
    return int(head[0].split()[1]), await reader.readexactly(length)
