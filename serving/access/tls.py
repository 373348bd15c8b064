"""TLS of the server: certificate and key from files, renewed when the files are; client certificates."""

from __future__ import annotations

import logging
import ssl
from dataclasses import dataclass
from pathlib import Path

import grpc

from forecast.errors import SurgecastError, UsageError

log = logging.getLogger("surgecast.serving")
Stamp = tuple[tuple[int, int, int], ...]


@dataclass(frozen=True, kw_only=True)
class TlsFiles:
    """PEM files: the server's certificate (with its chain) and key; with `client_ca`, callers must show a
    certificate that it signed.
    """

    cert: Path
    key: Path
    client_ca: Path | None = None

    def check(self) -> None:
        """UsageError that names the setting when a file is missing, unreadable, no PEM, or key and
        certificate do not belong together.
        """
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        for name, path in self._named():
            _read(name, path)
        try:
            context.load_cert_chain(self.cert, self.key, password=lambda: "")
        except ssl.SSLError as error:
            expected = f"a PEM certificate and, in {self.key}, its key without a passphrase"
            raise UsageError(f"serve.tls_cert: expected {expected}, found {_reason(error)}") from error
        if self.client_ca is not None:
            try:
                context.load_verify_locations(self.client_ca)
            except ssl.SSLError as error:
                expected = f"PEM certificates in {self.client_ca}"
                raise UsageError(
                    f"serve.tls_client_ca: expected {expected}, found {_reason(error)}"
                ) from error

    def stamp(self) -> Stamp:
        """Changed files, another stamp."""
        stats = [path.stat() for _, path in self._named()]
        return tuple((stat.st_ino, stat.st_size, stat.st_mtime_ns) for stat in stats)

    def _named(self) -> list[tuple[str, Path]]:
        named = [("tls_cert", self.cert), ("tls_key", self.key)]
        return named if self.client_ca is None else [*named, ("tls_client_ca", self.client_ca)]


class Credentials:
    """The server's credentials. Each new connection uses the files as they are then; files that are not
    sound are logged and the former ones stay in use.
    """

    def __init__(self, files: TlsFiles) -> None:
        files.check()
        self._files = files
        self._seen = files.stamp()
        self.server = grpc.dynamic_ssl_server_credentials(
            _configuration(files), self._changed, require_client_authentication=files.client_ca is not None
        )

    def _changed(self) -> grpc.ServerCertificateConfiguration | None:
        try:
            stamp = self._files.stamp()
            if stamp == self._seen:
                return None
            self._seen = stamp
            self._files.check()
            found = _configuration(self._files)
        except (SurgecastError, OSError) as error:
            log.error("TLS goes on with the former certificate: %s", error)
            return None
        log.info("TLS uses the new certificate in %s", self._files.cert)
        return found


def _configuration(files: TlsFiles) -> grpc.ServerCertificateConfiguration:
    pair = (_read("tls_key", files.key), _read("tls_cert", files.cert))
    ca = None if files.client_ca is None else _read("tls_client_ca", files.client_ca)
    return grpc.ssl_server_certificate_configuration([pair], root_certificates=ca)


def _read(name: str, path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        expected = f"a readable file at {path}"
        raise UsageError(f"serve.{name}: expected {expected}, found {error.strerror}") from error


def _reason(error: ssl.SSLError) -> str:
    return (error.reason or "no PEM").replace("_", " ").lower()
