"""A caller that speaks HTTP/2 by hand, so that it can misbehave as no library would."""

from __future__ import annotations

import socket
import struct


def frame(kind: int, flags: int, stream: int, content: bytes = b"") -> bytes:
    """One frame: its length, kind (0 DATA, 1 HEADERS, 4 SETTINGS, 6 PING), flags and stream."""
    return struct.pack(">I", len(content))[1:] + struct.pack(">BBI", kind, flags, stream) + content


def headers(path: str) -> bytes:
    """The headers of a gRPC call, each spelt out."""
    pairs = (
        (":method", "POST"),
        (":scheme", "http"),
        (":path", path),
        (":authority", "localhost"),
        ("content-type", "application/grpc"),
        ("te", "trailers"),
    )
    return b"".join(header(name, value.encode()) for name, value in pairs)


def header(name: str, value: bytes) -> bytes:
    """A header, spelt out."""
    return b"\x00" + bytes([len(name)]) + name.encode() + bytes([len(value)]) + value


class RawCaller:
    """One connection. It acknowledges nothing, reads nothing and never widens the window of 65,535 bytes."""

    def __init__(self, address: str) -> None:
        host, _, port = address.rpartition(":")
        self.socket = socket.create_connection((host, int(port)), timeout=10)
        self.socket.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(4, 0, 0))
        self._stream = -1

    def call(self, path: str, request: bytes | None) -> None:
        """Begin a call; None sends no request."""
        self._stream += 2
        content = frame(1, 4, self._stream, headers(path))
        if request is not None:
            content += frame(0, 1, self._stream, b"\x00" + struct.pack(">I", len(request)) + request)
        self.socket.sendall(content)

    def close(self) -> None:
        """Hang up."""
        self.socket.close()
