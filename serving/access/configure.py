"""What protects and bounds a server, from the settings of its home."""

from __future__ import annotations

from forecast.errors import UsageError
from forecast.home import Home
from forecast.serve_settings import ServeSettings
from serving.access.admission import Bounds
from serving.access.callers import AccessConfig
from serving.access.tls import TlsFiles


def access_config(home: Home, settings: ServeSettings, *, insecure: bool, no_tokens: bool) -> AccessConfig:
    """TLS by the settings, paths in the home unless absolute; UsageError when they are given by halves."""
    given = {name: getattr(settings, name) for name in ("tls_cert", "tls_key", "tls_client_ca")}
    paths = {name: home.root / path for name, path in given.items() if path}
    tls = None
    if "tls_cert" in paths and "tls_key" in paths:
        tls = TlsFiles(cert=paths["tls_cert"], key=paths["tls_key"], client_ca=paths.get("tls_client_ca"))
        tls.check()
    elif paths:
        missing = " and ".join(name for name in ("tls_cert", "tls_key") if name not in paths)
        raise UsageError(f"serve.{next(iter(paths))}: expected {missing} too, found none")
    return AccessConfig(tls=tls, insecure=insecure, no_tokens=no_tokens)


def bounds(settings: ServeSettings) -> Bounds:
    """The bounds by the settings."""
    return Bounds(
        quick=settings.max_quick_calls,
        heavy=settings.max_heavy_calls,
        live=settings.max_live_calls,
        streams=settings.max_streams,
        seconds=settings.max_seconds,
        stream_seconds=settings.max_stream_seconds,
        unsent_bytes=settings.max_unsent_mb << 20,
        connections=settings.max_connections,
    )
