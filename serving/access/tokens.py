"""Bearer tokens: made once, shown once, kept as hashes in one file of the home.

A token is `surgecast_ID_SECRET`. The id finds its entry; the secret is 256 random bits, of which a salted
SHA-256 is kept. A slow hash, made for passwords, would add nothing: nobody guesses 256 random bits.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import math
import re
import secrets
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from typing import Final, Literal, get_args

from forecast.errors import AccessError, IntegrityError, NotFoundError, UsageError
from forecast.home import Home
from forecast.snapshot.folders import locked
from forecast.snapshot.pointer import replace_file

Role = Literal["planner", "ingest", "admin"]
"""What the holder of a token may do; an administrator may do all."""
ROLES: Final[tuple[Role, ...]] = get_args(Role)
LEAST_RATE: Final = 1 / 3600
"""Calls per second of the slowest token: one an hour, so that the wait that a caller is told is bounded."""
FORMAT: Final = 1
_SHAPE: Final = re.compile(r"surgecast_([0-9a-f]{8})_([A-Za-z0-9_-]{43})")
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_NOBODY: Final = hashlib.sha256(b"").hexdigest()


@dataclass(frozen=True, kw_only=True)
class Token:
    """A token as it is kept.

    created, expires: UTC in ISO 8601; expires is empty for never. rate: calls per second over a while.
    concurrency: calls at once. Both hold for each server process.
    """

    id: str
    name: str
    role: Role
    salt: str
    hash: str
    created: str
    expires: str
    rate: float
    concurrency: int

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            expected = "1 to 64 letters, digits, dots, dashes and underscores"
            raise UsageError(f"name: expected {expected}, found {self.name[:80]!a}")
        if self.role not in ROLES:
            raise UsageError(f"role: expected one of {', '.join(ROLES)}, found {self.role!r}")
        if not (math.isfinite(self.rate) and self.rate > 0):
            raise UsageError(f"rate: expected more than 0 calls per second, found {self.rate}")
        if self.concurrency < 1:
            raise UsageError(f"concurrency: expected at least 1 call, found {self.concurrency}")

    def expired(self, now: datetime) -> bool:
        """Whether its time is over."""
        return bool(self.expires) and now >= datetime.fromisoformat(self.expires)


def read_tokens(home: Home) -> tuple[Token, ...]:
    """The tokens of a home, none where there is no file; IntegrityError when it is damaged or others may
    write it.
    """
    path = home.tokens_file
    try:
        mode = path.stat().st_mode
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return ()
    except (ValueError, RecursionError) as error:
        raise IntegrityError(str(path), expected="tokens in JSON", found=str(error)) from error
    if mode & 0o022:
        found = f"mode {mode & 0o777:04o}"
        raise IntegrityError(str(path), expected="a file that only its owner may write (0600)", found=found)
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise IntegrityError(str(path), expected=f"tokens of format {FORMAT}", found="another file")
    rows = content.get("tokens")
    if not isinstance(rows, list):
        raise IntegrityError(str(path), expected="a list of tokens", found=type(rows).__name__)
    return tuple(_checked(row, f"{path}: tokens[{n}]") for n, row in enumerate(rows))


def _checked(row: object, where: str) -> Token:
    types = {"rate": float, "concurrency": int}
    if not isinstance(row, dict) or set(row) != {field.name for field in fields(Token)}:
        raise IntegrityError(where, expected="an entry of a token", found="other keys")
    for name, value in row.items():
        if type(value) is not types.get(name, str):
            raise IntegrityError(f"{where}.{name}", expected="its type", found=repr(value))
    try:
        token = Token(**row)
        token.expired(datetime.now(UTC))
    except (UsageError, ValueError, TypeError) as error:  # TypeError: a time without a zone
        raise IntegrityError(where, expected="an entry of a token", found=str(error)) from error
    return token


def add_token(
    home: Home, name: str, *, role: Role, expires: datetime | None, rate: float, concurrency: int
) -> tuple[Token, str]:
    """Make a token; its entry, and the text that its holder sends, which is kept nowhere.

    UsageError when the name is taken or a value is out of range.
    """
    if 0 < rate < LEAST_RATE:
        expected = f"at least {LEAST_RATE:.6f} calls per second (one an hour)"
        raise UsageError(f"rate: expected {expected}, found {rate:g}")
    ident, secret, salt = secrets.token_hex(4), secrets.token_urlsafe(32), secrets.token_hex(16)
    token = Token(
        id=ident,
        name=name,
        role=role,
        salt=salt,
        hash=_hash(salt, secret),
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        expires=expires.isoformat(timespec="seconds") if expires else "",
        rate=float(rate),
        concurrency=concurrency,
    )
    home.root.mkdir(parents=True, exist_ok=True)
    with locked(home.root):
        present = read_tokens(home)
        if any(name == other.name for other in present):
            raise UsageError(f"name: expected one that is not taken, found {name!r} (revoke that one first)")
        if any(ident == other.id for other in present):
            raise UsageError("id: expected one that is not taken: run the command again")
        _write(home, (*present, token))
    return token, f"surgecast_{ident}_{secret}"


def revoke_token(home: Home, name: str) -> Token:
    """Take a token away; NotFoundError when there is none of this name."""
    with locked(home.root):
        present = read_tokens(home)
        gone = next((token for token in present if token.name == name), None)
        if gone is None:
            known = ", ".join(token.name for token in present) or "no token at all"
            raise NotFoundError("name", expected=f"one of {known}", found=repr(name))
        _write(home, [token for token in present if token is not gone])
    return gone


def _write(home: Home, tokens: Sequence[Token]) -> None:
    content = {"format": FORMAT, "tokens": [asdict(token) for token in tokens]}
    replace_file(home.tokens_file, json.dumps(content, indent=1) + "\n")  # of mode 0600


def find_token(by_id: dict[str, Token], header: str | None) -> Token:
    """Whose token an `authorization` header holds; AccessError for none, a wrong or an expired one."""
    expected = "a token: 'authorization: Bearer surgecast_…'"
    if header is None:
        raise AccessError("authorization", expected=expected, found="none")
    kind, _, text = header.partition(" ")
    shape = _SHAPE.fullmatch(text.strip())
    if kind.lower() != "bearer" or shape is None:
        raise AccessError("authorization", expected=expected, found="something else")
    ident, secret = shape.groups()
    token = by_id.get(ident)
    known = token.hash if token is not None else _NOBODY
    same = hmac.compare_digest(_hash(token.salt if token is not None else "", secret), known)
    if token is None or not same:
        raise AccessError("authorization", expected="a token that is valid", found="one that is not")
    if token.expired(datetime.now(UTC)):
        raise AccessError(
            "authorization", expected="a token that is valid", found=f"one that expired {token.expires}"
        )
    return token


def _hash(salt: str, secret: str) -> str:
    return hashlib.sha256(f"{salt}{secret}".encode()).hexdigest()
