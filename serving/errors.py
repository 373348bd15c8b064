"""Our errors as `google.rpc.Status` and back. gRPC status codes appear here and nowhere else."""

from __future__ import annotations

from typing import Final

import grpc
from google.protobuf import any_pb2
from google.rpc import code_pb2, error_details_pb2, status_pb2
from grpc_status import rpc_status

from forecast.errors import BusyError, InputError, IntegrityError, NotFoundError, SurgecastError, UsageError

DOMAIN: Final = "surgecast"
_CODES: Final[dict[type[SurgecastError], int]] = {
    UsageError: code_pb2.INVALID_ARGUMENT,
    InputError: code_pb2.INVALID_ARGUMENT,
    NotFoundError: code_pb2.NOT_FOUND,
    IntegrityError: code_pb2.DATA_LOSS,
    BusyError: code_pb2.UNAVAILABLE,
}
_REASONS: Final[dict[type[SurgecastError], str]] = {
    UsageError: "USAGE",
    InputError: "INPUT",
    NotFoundError: "NOT_FOUND",
    IntegrityError: "INTEGRITY",
    BusyError: "BUSY",
}
_FIELD_ERRORS: Final = (InputError, NotFoundError, IntegrityError, BusyError)
RETRIED: Final = "UNAVAILABLE"
"""The status after which a client may ask again."""
REFUSED: Final = "RESOURCE_EXHAUSTED"
"""The status of a server that has too much to do."""
ABSENT: Final = "UNIMPLEMENTED"
"""The status of a method that a server does not have."""


def to_status(error: SurgecastError) -> status_pb2.Status:
    """The status that a caller sees: ErrorInfo always, the field of an invalid request, the thing
    that is not found.
    """
    kind = next((known for known in _CODES if isinstance(error, known)), UsageError)
    info = error_details_pb2.ErrorInfo(reason=_REASONS[kind], domain=DOMAIN)
    details = [info]
    if isinstance(error, _FIELD_ERRORS):
        info.metadata.update({"field": error.field, "expected": error.expected, "found": error.found})
        details += _about_field(error)
    status = status_pb2.Status(code=_CODES[kind], message=str(error))
    for detail in details:
        packed = any_pb2.Any()
        packed.Pack(detail)
        status.details.append(packed)
    return status


def _about_field(
    error: InputError | NotFoundError | IntegrityError | BusyError,
) -> list[error_details_pb2.BadRequest]:
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
    return []


def from_call(error: grpc.RpcError, address: str) -> SurgecastError:
    """The error that a failed call stands for; one of `BusyError` when the server cannot be reached
    or is too slow.
    """
    status = rpc_status.from_call(error)
    for detail in status.details if status is not None else ():
        info = error_details_pb2.ErrorInfo()
        if not detail.Unpack(info) or info.domain != DOMAIN:
            continue
        for kind in _FIELD_ERRORS:
            if _REASONS[kind] == info.reason:
                about = info.metadata
                return kind(about["field"], expected=about["expected"], found=about["found"])
        return UsageError(status.message)
    code, text = error.code(), error.details() or ""
    if code is grpc.StatusCode.UNAVAILABLE:
        return BusyError(f"server {address}", expected="an answer", found=f"none ({text})")
    if code is grpc.StatusCode.DEADLINE_EXCEEDED:
        return BusyError(f"server {address}", expected="an answer in time", found="none before the deadline")
    return SurgecastError(f"server {address}: {code.name if code else 'no status'}: {text}")
