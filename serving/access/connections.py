"""Connections: how many there are, how long one may be idle or dead, how many calls one has open."""

from __future__ import annotations

import resource
from typing import Final

from forecast.errors import UsageError
from serving.access.admission import Bounds

OTHER_FILES: Final = 512
"""Descriptors that a server needs besides those of its connections."""


def connection_options(bounds: Bounds) -> tuple[tuple[str, int], ...]:
    """Options of a gRPC server. A connection beyond `bounds.connections` is closed when it is made.

    The limit of open files is raised as far as it must be; UsageError when the system does not allow it.
    """
    needed = bounds.connections + OTHER_FILES
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if resource.RLIM_INFINITY not in (soft, hard) and needed > hard:
        expected = f"at most {hard - OTHER_FILES}, as no more files may be open (ulimit -n)"
        raise UsageError(f"serve.max_connections: expected {expected}, found {bounds.connections}")
    if soft not in (resource.RLIM_INFINITY,) and needed > soft:
        resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))
    return (
        ("grpc.max_allowed_incoming_connections", bounds.connections),
        ("grpc.server_handshake_timeout_ms", 10_000),
        ("grpc.max_connection_idle_ms", 300_000),
        # A connection that has more calls out is refused some as UNAVAILABLE, which gRPC's clients try again.
        ("grpc.max_concurrent_streams", 250),
        # Calls that the gate has not seen yet; gRPC cancels those beyond, without a word.
        ("grpc.server.max_pending_requests", 5_000),
        ("grpc.server.max_pending_requests_hard_limit", 10_000),
        ("grpc.keepalive_time_ms", 60_000),
        ("grpc.keepalive_timeout_ms", 20_000),
        ("grpc.http2.min_recv_ping_interval_without_data_ms", 10_000),
    )
