"""Our errors as `google.rpc.Status` and back. gRPC status codes appear here and nowhere else."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final, NamedTuple

import grpc
from google.protobuf import any_pb2
from google.protobuf.message import Message
from google.rpc import code_pb2, error_details_pb2, status_pb2
from grpc_status import rpc_status

from forecast.errors import (
    AccessError,
    BusyError,
    FieldError,
    InputError,
    IntegrityError,
    LateError,
    LaterError,
    NotFoundError,
    OverloadError,
    PreconditionError,
    RoleError,
    SurgecastError,
    UsageError,
)
from forecast.home import Home

DOMAIN: Final = "surgecast"


class _Kind(NamedTuple):
    """What a caller sees of a class of errors: the code of the status, the reason in ErrorInfo."""

    code: int
    reason: str


_KINDS: Final[dict[type[SurgecastError], _Kind]] = {
    UsageError: _Kind(code_pb2.INVALID_ARGUMENT, "USAGE"),
    InputError: _Kind(code_pb2.INVALID_ARGUMENT, "INPUT"),
    NotFoundError: _Kind(code_pb2.NOT_FOUND, "NOT_FOUND"),
    IntegrityError: _Kind(code_pb2.DATA_LOSS, "INTEGRITY"),
    PreconditionError: _Kind(code_pb2.FAILED_PRECONDITION, "PRECONDITION"),
    BusyError: _Kind(code_pb2.UNAVAILABLE, "BUSY"),
    AccessError: _Kind(code_pb2.UNAUTHENTICATED, "ACCESS"),
    RoleError: _Kind(code_pb2.PERMISSION_DENIED, "ROLE"),
    OverloadError: _Kind(code_pb2.RESOURCE_EXHAUSTED, "OVERLOAD"),
    LateError: _Kind(code_pb2.DEADLINE_EXCEEDED, "LATE"),
}
_BY_REASON: Final = {kind.reason: error for error, kind in _KINDS.items()}
_RESOURCES: Final = {"series": "surgecast.v1.Series", "snapshot": "surgecast.v1.Snapshot"}
"""Types of what may be asked for and not be there, by the kind in NotFoundError."""
RETRIED: Final = "UNAVAILABLE"
"""The status of a server that cannot answer now."""
REFUSED: Final = "RESOURCE_EXHAUSTED"
"""The status of a server that has too much to do."""
ABSENT: Final = "UNIMPLEMENTED"
"""The status of a method that a server does not have."""
_AGAIN_S: Final = 0.1
"""Seconds to wait for a server that is full or away and does not say how long."""
_PUSHBACK: Final = "grpc-retry-pushback-ms"
"""Name of the trailing metadata that a retry policy obeys."""
_TOO_LARGE: Final = re.compile(r"message larger than max \((\d+) vs\. (\d+)\)")
"""In what gRPC says of a message that it does not pass on."""
_NEVER_SENT: Final = "failed to connect to all addresses"
"""In what gRPC says of a call that no server has seen."""
_UNSAID: Final[dict[grpc.StatusCode, tuple[type[FieldError], str, str]]] = {
    grpc.StatusCode.UNAVAILABLE: (BusyError, "an answer", "none"),
    grpc.StatusCode.DEADLINE_EXCEEDED: (BusyError, "an answer in time", "none before the deadline"),
    grpc.StatusCode.RESOURCE_EXHAUSTED: (BusyError, "room for the call", "none"),
    grpc.StatusCode.CANCELLED: (BusyError, "an answer", "the call was cancelled"),
    grpc.StatusCode.UNAUTHENTICATED: (AccessError, "a token or certificate that it knows", "none of these"),
    grpc.StatusCode.PERMISSION_DENIED: (RoleError, "somebody who may call this", "somebody who may not"),
    grpc.StatusCode.UNIMPLEMENTED: (InputError, "a server that has this method", "one of an older release"),
}
"""What failures without details of ours stand for: the error, what was expected and what was found."""
_LOST: Final = (
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.DEADLINE_EXCEEDED,
    grpc.StatusCode.CANCELLED,
    grpc.StatusCode.INTERNAL,
    grpc.StatusCode.UNKNOWN,
)
"""Codes of calls that a server may have answered without the answer coming here."""
_HINTS: Final = {
    "WRONG_VERSION_NUMBER": "it does not encrypt: --insecure, insecure=True",
    "CERTIFICATE_VERIFY_FAILED": "its certificate is vouched for by others, or of another name: --ca, ca=",
    "failed to connect to all addresses; last error: UNAVAILABLE: .*Socket closed": "it hung up: perhaps it"
    " encrypts (--ca, ca=) or asks for a certificate (--cert and --key, cert= and key=)",
}
"""What a person can do about a connection that gRPC describes as on the left."""


def inside(text: str, home: Home) -> str:
    """A text for callers, who are not told where the home lies: its paths begin inside it."""
    root = str(home.root)
    return "home" if text == root else text.replace(f"{root}/", "")


def code_of(error: SurgecastError) -> int:
    """The number of the code that a caller sees: quicker than all of `to_status`."""
    return _kind_of(error).code


def to_status(error: SurgecastError) -> status_pb2.Status:
    """The status that a caller sees: ErrorInfo always, the field of an invalid request, the thing
    that is not found, when to ask again.
    """
    code, reason = _kind_of(error)
    info = error_details_pb2.ErrorInfo(reason=reason, domain=DOMAIN)
    details: list[Message] = [info]
    if isinstance(error, FieldError):
        info.metadata.update({"field": error.field, "expected": error.expected, "found": error.found})
        details += _about_field(error)
    status = status_pb2.Status(code=code, message=str(error))
    for detail in details:
        packed = any_pb2.Any()
        packed.Pack(detail)
        status.details.append(packed)
    return status


def to_grpc(error: SurgecastError) -> grpc.Status:
    """`to_status` as gRPC sends it. A channel's retry policy reads no RetryInfo: it is told in the trailing
    metadata when to ask again, or (-1) not to.
    """
    status = rpc_status.to_status(to_status(error))
    if isinstance(error, LaterError):
        wait = str(round(error.retry_s * 1_000)) if error.retry_s > 0 else "-1"
        status = status._replace(trailing_metadata=(*status.trailing_metadata, (_PUSHBACK, wait)))
    return status


def _kind_of(error: SurgecastError) -> _Kind:
    return next((_KINDS[kind] for kind in type(error).__mro__ if kind in _KINDS), _KINDS[UsageError])


def _about_field(error: FieldError) -> list[Message]:
    text = f"expected {error.expected}, found {error.found}"
    if isinstance(error, InputError):
        request = error_details_pb2.BadRequest()
        request.field_violations.add(field=error.field, description=text, reason="INPUT")
        return [request]
    if isinstance(error, NotFoundError) and error.kind:
        return [
            error_details_pb2.ResourceInfo(
                resource_type=_RESOURCES[error.kind], resource_name=error.name, description=text
            )
        ]
    if isinstance(error, LaterError) and error.retry_s > 0:
        retry = error_details_pb2.RetryInfo()
        retry.retry_delay.FromNanoseconds(round(error.retry_s * 1e9))
        return [retry]
    return []


def from_call(error: grpc.RpcError, address: str, *, change: bool = False) -> SurgecastError:
    """The error that a failed call stands for; one of `BusyError` when the server cannot be reached, is full
    or is too slow.

    change: the call would change something; where no answer came, it is said that it may have.
    """
    said = _said(error)
    kind = _BY_REASON.get(said.reason)
    if kind is not None:
        return _as_said(kind, said)
    code, text = error.code(), said.text
    large = _TOO_LARGE.search(text)
    if large is not None:
        return _too_large(large, text)
    text = next((hint for sign, hint in _HINTS.items() if re.search(sign, text)), text)
    if change and code in _LOST and _NEVER_SENT not in said.text:
        found = f"none ({text}), so it may have been done or not: surgecast snapshots --address {address}"
        return BusyError(
            f"server {address}", expected="an answer", found=f"{found}, or list_models(), tells what serves"
        )
    if code in _UNSAID:
        made, expected, found = _UNSAID[code]
        return made(f"server {address}", expected=expected, found=f"{found} ({text})" if text else found)
    return SurgecastError(f"server {address}: {code.name if code else 'no status'}: {text}")


def retry_delay(error: grpc.RpcError, *, change: bool = False) -> float | None:
    """Seconds after which a call that failed may succeed: what the server says (`RetryInfo`), a moment where
    it is full or away and does not say; None where asking again does not help.

    change: the call would change something: it is made again only where it was surely not begun.
    """
    said, code = _said(error), error.code()
    if _TOO_LARGE.search(said.text):
        return None
    if change:
        refused = said.retry_s if code is grpc.StatusCode.RESOURCE_EXHAUSTED else None
        return _AGAIN_S if _NEVER_SENT in said.text else refused
    if said.retry_s is not None or said.reason:
        return said.retry_s
    away = code in (grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.UNAVAILABLE)
    return _AGAIN_S if away else None


class _Said(NamedTuple):
    """What is said of a failed call. The reason and what it is about are empty, `retry_s` is None, where a
    server of ours did not say them.
    """

    text: str
    reason: str = ""
    about: Mapping[str, str] = {}
    retry_s: float | None = None


def _said(error: grpc.RpcError) -> _Said:
    status = rpc_status.from_call(error)
    said = _Said(error.details() or "")
    for detail in status.details if status is not None else ():
        info, retry = error_details_pb2.ErrorInfo(), error_details_pb2.RetryInfo()
        if detail.Unpack(info) and info.domain == DOMAIN:
            said = said._replace(reason=info.reason, about=info.metadata)
        elif detail.Unpack(retry):
            said = said._replace(retry_s=max(retry.retry_delay.ToNanoseconds() / 1e9, 0.0))
    return said


def _as_said(kind: type[SurgecastError], said: _Said) -> SurgecastError:
    if not issubclass(kind, FieldError):
        return kind(said.text)
    field, expected, found = (said.about.get(name, "") for name in ("field", "expected", "found"))
    if issubclass(kind, LaterError):
        return kind(field, expected=expected, found=found, retry_s=said.retry_s or 0.0)
    return kind(field, expected=expected, found=found)


def _too_large(large: re.Match[str], text: str) -> InputError:
    found, most = (f"{int(size):,}" for size in large.groups())
    if text.startswith("CLIENT: Received"):
        return InputError("reply", expected=f"at most {most} bytes; ask for less", found=found)
    expected = f"at most {most} bytes; ask for less at once"
    return InputError("request", expected=expected, found=found)
