"""How a client reaches a server, and how long and how often it tries."""

from __future__ import annotations

import os
import random
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import grpc

from forecast.errors import InputError, UsageError
from serving.addresses import is_loopback
from serving.errors import from_call, retry_delay

TOKEN_VARIABLE: Final = "SURGECAST_TOKEN"
ATTEMPTS: Final = 4
"""Times that a call is tried at most."""
OPTIONS: Final = (
    ("grpc.max_receive_message_length", 256 << 20),
    ("grpc.enable_http_proxy", 0),
    # A server that ended and is there again is found before the repetitions of a call are used up.
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 2_000),
)


class Patience:
    """How long a call and its repetitions may take.

    A server that cannot be reached, that is full or that says when to ask again is asked again: after the
    time that it says, else after a moment, doubled with each failure, a little later by chance so that not
    all callers return at once, up to `ATTEMPTS` times in all and never past the deadline. gRPC's own retry
    policy is not used: it does not read `RetryInfo`, and the two would multiply.

    change: the call changes something: it is made again only where the server has surely not begun with it.
    """

    def __init__(self, address: str, timeout_s: float, *, change: bool = False) -> None:
        self._address = address
        self._change = change
        self._end = time.monotonic() + timeout_s
        self._failures = 0

    @property
    def remaining_s(self) -> float:
        """Seconds until the deadline, at least a few."""
        return max(self._end - time.monotonic(), 0.001)

    def pause_s(self, error: grpc.RpcError) -> float:
        """Seconds to wait before the call is made again; raises what its failure stands for when it shall not
        be.
        """
        delay = retry_delay(error, change=self._change)
        self._failures += 1
        if delay is not None and self._failures < ATTEMPTS:
            pause: float = delay * 2 ** (self._failures - 1) * random.uniform(1.0, 1.25)
            if time.monotonic() + pause < self._end:
                return pause
        raise from_call(error, self._address, change=self._change) from error


@dataclass(frozen=True, kw_only=True)
class Connection:
    """Where a server is and how to speak with it.

    address: HOST:PORT. ca: a PEM file of the authorities that vouch for the server, those of the system when
    None. cert, key: PEM files of the client's own certificate and its key, where the server asks for one.
    token: a bearer token; that of the environment (SURGECAST_TOKEN) when None. insecure: speak without
    encryption.

    Calls to another machine are encrypted unless `insecure`; calls to this machine are where `ca` or `cert`
    is given. So a token never crosses a network in the clear unless somebody said so. UsageError for options
    that contradict each other; InputError for a file that cannot be read.
    """

    address: str = "127.0.0.1:50051"
    timeout_s: float = 10.0
    token: str | None = field(default=None, repr=False)
    ca: str | Path | None = None
    cert: str | Path | None = None
    key: str | Path | None = None
    insecure: bool = False

    def __post_init__(self) -> None:
        host, _, port = self.address.rpartition(":")
        if not host or not port.isascii() or not port.isdigit() or not 1 <= int(port) <= 65_535:
            raise UsageError(f"address: expected HOST:PORT, found {self.address!r}")
        if not self.timeout_s > 0:
            raise UsageError(f"timeout_s: expected more than 0 seconds, found {self.timeout_s}")
        if (self.cert is None) != (self.key is None):
            raise UsageError("cert, key: expected both files or none, found one")
        if self.insecure and (self.ca is not None or self.cert is not None):
            raise UsageError("insecure: expected without ca, cert and key, found with them")

    @property
    def encrypted(self) -> bool:
        """Whether calls are encrypted."""
        asked = self.ca is not None or self.cert is not None
        return asked or not (self.insecure or is_loopback(self.address.rpartition(":")[0]))

    def credentials(self) -> grpc.ChannelCredentials | None:
        """Those of TLS; None for calls without encryption."""
        if not self.encrypted:
            return None
        return grpc.ssl_channel_credentials(_content(self.ca), _content(self.key), _content(self.cert))

    def metadata(self) -> tuple[tuple[str, str], ...]:
        """What goes along with every call."""
        token = os.environ.get(TOKEN_VARIABLE, "") if self.token is None else self.token
        token = token.strip()
        if not token:
            return ()
        if not token.isascii() or not token.isprintable() or " " in token:
            raise UsageError("token: expected printable ASCII characters without spaces, found others")
        return (("authorization", f"Bearer {token}"),)

    def patience(self, timeout_s: float | None, *, change: bool = False) -> Patience:
        """That of a call with its own deadline, or with the one of all calls; `change`: one that changes
        something.
        """
        return Patience(self.address, self.timeout_s if timeout_s is None else timeout_s, change=change)


def _content(path: str | Path | None) -> bytes | None:
    if path is None:
        return None
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise InputError(
            str(path), expected="a readable PEM file", found=error.strerror or str(error)
        ) from error
