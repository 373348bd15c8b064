"""Our errors as `google.rpc.Status` and back. gRPC status codes appear here and nowhere else."""

from __future__ import annotations

import re
from typing import Final

import grpc
from google.protobuf import any_pb2
from google.protobuf.message import Message
from google.rpc import code_pb2, error_details_pb2, status_pb2
from grpc_status import rpc_status

from forecast.errors import (
    AccessError,
    BusyError,
    InputError,
    IntegrityError,
    LateError,
    NotFoundError,
    OverloadError,
    PreconditionError,
    RoleError,
    SurgecastError,
    UsageError,
)

DOMAIN: Final = "surgecast"
_CODES: Final[dict[type[SurgecastError], int]] = {
    UsageError: code_pb2.INVALID_ARGUMENT,
    InputError: code_pb2.INVALID_ARGUMENT,
    NotFoundError: code_pb2.NOT_FOUND,
    IntegrityError: code_pb2.DATA_LOSS,
    PreconditionError: code_pb2.FAILED_PRECONDITION,
    BusyError: code_pb2.UNAVAILABLE,
    AccessError: code_pb2.UNAUTHENTICATED,
    RoleError: code_pb2.PERMISSION_DENIED,
    OverloadError: code_pb2.RESOURCE_EXHAUSTED,
    LateError: code_pb2.DEADLINE_EXCEEDED,
}
_REASONS: Final[dict[type[SurgecastError], str]] = {
    UsageError: "USAGE",
    InputError: "INPUT",
    NotFoundError: "NOT_FOUND",
    IntegrityError: "INTEGRITY",
    PreconditionError: "PRECONDITION",
    BusyError: "BUSY",
    AccessError: "ACCESS",
    RoleError: "ROLE",
    OverloadError: "OVERLOAD",
    LateError: "LATE",
}
FieldError = (
    InputError
    | NotFoundError
    | IntegrityError
    | PreconditionError
    | BusyError
    | AccessError
    | RoleError
    | OverloadError
    | LateError
)
_FIELD_ERRORS: Final[tuple[type[FieldError], ...]] = (
    InputError,
    NotFoundError,
    IntegrityError,
    PreconditionError,
    BusyError,
    AccessError,
    RoleError,
    OverloadError,
    LateError,
)
RETRIED: Final = "UNAVAILABLE"
"""The status after which a channel asks again by itself."""
REFUSED: Final = "RESOURCE_EXHAUSTED"
"""The status of a server that has too much to do."""
ABSENT: Final = "UNIMPLEMENTED"
"""The status of a method that a server does not have."""
_FULL_S: Final = 0.1
"""Seconds to wait for a server that is full and does not say how long."""
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
_HINTS: Final = {
    "WRONG_VERSION_NUMBER": "it does not encrypt: --insecure, insecure=True",
    "CERTIFICATE_VERIFY_FAILED": "its certificate is vouched for by others, or of another name: --ca, ca=",
    "failed to connect to all addresses; last error: UNAVAILABLE: .*Socket closed": "it hung up: perhaps it"
    " encrypts (--ca, ca=) or asks for a certificate (--cert and --key, cert= and key=)",
}
"""What a person can do about a connection that gRPC describes as on the left."""


def code_of(error: SurgecastError) -> int:
    """The number of the code that a caller sees: quicker than all of `to_status`."""
    return _CODES[_kind_of(error)]


def to_status(error: SurgecastError) -> status_pb2.Status:
    """The status that a caller sees: ErrorInfo always, the field of an invalid request, the thing
    that is not found, when to ask again.
    """
    kind = _kind_of(error)
    info = error_details_pb2.ErrorInfo(reason=_REASONS[kind], domain=DOMAIN)
    details: list[Message] = [info]
    if isinstance(error, _FIELD_ERRORS):
        info.metadata.update({"field": error.field, "expected": error.expected, "found": error.found})
        details += _about_field(error)
    status = status_pb2.Status(code=_CODES[kind], message=str(error))
    for detail in details:
        packed = any_pb2.Any()
        packed.Pack(detail)
        status.details.append(packed)
    return status


def _kind_of(error: SurgecastError) -> type[SurgecastError]:
    return next((kind for kind in type(error).__mro__ if kind in _CODES), UsageError)


def _about_field(error: FieldError) -> list[Message]:
    text = f"expected {error.expected}, found {error.found}"
    if isinstance(error, InputError):
        request = error_details_pb2.BadRequest()
        request.field_violations.add(field=error.field, description=text, reason="INPUT")
        return [request]
    if isinstance(error, NotFoundError):
        return [
            error_details_pb2.ResourceInfo(
                resource_type="surgecast.v1.Series", resource_name=error.field, description=text
            )
        ]
    if isinstance(error, (BusyError, OverloadError)) and error.retry_s > 0:
        retry = error_details_pb2.RetryInfo()
        retry.retry_delay.FromNanoseconds(round(error.retry_s * 1e9))
        return [retry]
    return []


def from_call(error: grpc.RpcError, address: str) -> SurgecastError:
    """The error that a failed call stands for; one of `BusyError` when the server cannot be reached, is full
    or is too slow.
    """
    status = rpc_status.from_call(error)
    for detail in status.details if status is not None else ():
        info = error_details_pb2.ErrorInfo()
        if not detail.Unpack(info) or info.domain != DOMAIN:
            continue
        for kind, reason in _REASONS.items():
            if reason != info.reason:
                continue
            if issubclass(kind, _FIELD_ERRORS):
                about = info.metadata
                return kind(about["field"], expected=about["expected"], found=about["found"])
            return kind(status.message)
    code, text = error.code(), error.details() or ""
    text = next((hint for sign, hint in _HINTS.items() if re.search(sign, text)), text)
    if code in _UNSAID:
        made, expected, found = _UNSAID[code]
        return made(f"server {address}", expected=expected, found=f"{found} ({text})" if text else found)
    return SurgecastError(f"server {address}: {code.name if code else 'no status'}: {text}")


def retry_delay(error: grpc.RpcError) -> float | None:
    """Seconds after which a call that failed may succeed: what the server says (`RetryInfo`), a moment where
    it is full and does not say; None where asking again does not help.
    """
    status = rpc_status.from_call(error)
    for detail in status.details if status is not None else ():
        info = error_details_pb2.RetryInfo()
        if detail.Unpack(info):
            return max(float(info.retry_delay.ToTimedelta().total_seconds()), 0.0)
    return _FULL_S if error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED else None
