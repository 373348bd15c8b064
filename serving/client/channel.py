"""What both clients are made of, be they of threads or of an event loop."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import Any

from serving.client.connection import OPTIONS, Connection


class Connected(ABC):
    """Knows how to reach a server, and `_open`s the connection once it knows."""

    def __init__(
        self,
        address: str = "127.0.0.1:50051",
        *,
        timeout_s: float = 10.0,
        token: str | None = None,
        ca: str | Path | None = None,
        cert: str | Path | None = None,
        key: str | Path | None = None,
        insecure: bool = False,
    ) -> None:
        self.connection = Connection(
            address=address, timeout_s=timeout_s, token=token, ca=ca, cert=cert, key=key, insecure=insecure
        )
        self._open()

    @property
    def address(self) -> str:
        """HOST:PORT of the server."""
        return self.connection.address

    @abstractmethod
    def _open(self) -> None:
        """Make the channel; called once, when the connection is known."""


class Channel:
    """A channel of gRPC, and its methods, each of which is made once.

    insecure, secure: what makes a channel.
    """

    def __init__(
        self, connection: Connection, insecure: Callable[..., Any], secure: Callable[..., Any]
    ) -> None:
        self._connection = connection
        self._metadata = connection.metadata()
        credentials = connection.credentials()
        if credentials is None:
            self._channel = insecure(connection.address, OPTIONS)
        else:
            self._channel = secure(connection.address, credentials, OPTIONS)
        self._methods: dict[str, Callable[..., Any]] = {}

    def _method(self, path: str, make: Callable[[str], Callable[..., Any]]) -> Callable[..., Any]:
        if path not in self._methods:
            self._methods[path] = make(path)
        return self._methods[path]
