"""Who calls, and whether they may: the rules of address, TLS and tokens."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from forecast.errors import AccessError, IntegrityError, RoleError, UsageError
from forecast.home import Home
from serving.access.limits import Quota
from serving.access.tls import TlsFiles
from serving.access.tokens import Role, Token, find_token, read_tokens
from serving.addresses import is_loopback

log = logging.getLogger("surgecast.serving")

LOOK_AGAIN_S: Final = 0.5
"""Seconds after which a change of the file of tokens is noticed at the latest."""


@dataclass(frozen=True, kw_only=True)
class AccessConfig:
    """What protects a server.

    tls: certificate and key, None for none. insecure: an address that other machines reach is allowed without
    TLS. no_tokens: such an address is allowed with TLS and without tokens.
    """

    tls: TlsFiles | None = None
    insecure: bool = False
    no_tokens: bool = False

    def check(self, host: str) -> None:
        """UsageError when a server may not listen on `host` like this."""
        if not (self.insecure or self.tls is not None or is_loopback(host)):
            raise UsageError(
                f"host: expected a loopback address, or TLS (tls_cert and tls_key in [serve]), found {host}:"
                " calls would be neither encrypted nor authenticated (--insecure serves there all the same)"
            )


@dataclass(frozen=True)
class Caller:
    """Who calls: the name of a token; `local` or `anonymous` where none is asked for."""

    name: str
    role: Role
    quota: Quota | None = None

    def check(self, role: Role, method: str) -> None:
        """RoleError when a method is for others."""
        if self.role not in (role, "admin"):
            found = f"{self.name}, of role {self.role}"
            roles = " or ".join(dict.fromkeys((role, "admin")))
            raise RoleError("role", expected=f"a token of role {roles} for {method}", found=found)


class Callers:
    """Knows the callers of a server by its home's tokens, whose changes it notices.

    A token is asked for as soon as the home has one, and always on an address that other machines reach,
    unless `no_tokens` or `insecure` (without TLS) says otherwise. Once asked for, it is asked for even when
    all are revoked, by servers that start later too: until their file is removed. Without, a caller of this
    machine is an administrator and one from elsewhere a planner.
    """

    def __init__(self, home: Home, host: str, config: AccessConfig) -> None:
        """UsageError where tokens are needed and there are none, or are there and unwanted."""
        self._home = home
        self._by_id: dict[str, Token] = {}
        self._quotas: dict[str, Quota] = {}
        self._seen = self._stamp()
        self._look_at = 0.0
        self._stranger = Caller("local", "admin") if is_loopback(host) else Caller("anonymous", "planner")
        self._take(read_tokens(home))
        if config.no_tokens and self._by_id:
            found = f"{len(self._by_id)} in {home.tokens_file}"
            raise UsageError(f"--no-tokens: expected a home without tokens, found {found}")
        self.controlled = not config.no_tokens and home.tokens_file.exists()
        secured = config.tls is not None and not is_loopback(host)
        if secured and not config.no_tokens and not self.controlled:
            raise UsageError(
                f"host: expected tokens of those who may ask on {host}, found none: surgecast tokens add"
                " makes one (--no-tokens serves everybody)"
            )
        if self.controlled and not self._by_id:
            log.warning(
                "all tokens of %s are revoked: nobody may ask until there is one, or no such file at the next"
                " start",
                home.tokens_file,
            )

    def find(self, metadata: Sequence[tuple[str, str | bytes]], now: float) -> Caller:
        """Who sends this metadata at `now` (monotonic, seconds); AccessError for a stranger where access is
        controlled.
        """
        self._look(now)
        if not self.controlled:
            return self._stranger
        headers = [value for key, value in metadata if key == "authorization"]
        if len(headers) > 1:
            raise AccessError("authorization", expected="one token", found=f"{len(headers)}")
        header = headers[0] if headers else None
        token = find_token(self._by_id, header if isinstance(header, str) else None)
        quota = self._quotas.get(token.id)
        if quota is None:
            quota = self._quotas[token.id] = Quota(token, now)
        return Caller(token.name, token.role, quota)

    def _take(self, tokens: tuple[Token, ...]) -> None:
        self._by_id = {token.id: token for token in tokens}
        self._quotas = {i: q for i, q in self._quotas.items() if q.token == self._by_id.get(i)}

    def _look(self, now: float) -> None:
        if now < self._look_at:
            return
        self._look_at = now + LOOK_AGAIN_S
        stamp = self._stamp()
        if stamp == self._seen:
            return
        self._seen = stamp
        try:
            self._take(read_tokens(self._home))
        except (IntegrityError, OSError) as error:
            self.controlled = True
            log.error("tokens stay as they were: %s", error)
            return
        self.controlled = self.controlled or bool(self._by_id)
        log.info("%d tokens from now on", len(self._by_id))

    def _stamp(self) -> tuple[int, int, int, int]:
        try:
            stat = self._home.tokens_file.stat()
        except OSError:
            return (0, 0, 0, 0)
        return (stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns)
