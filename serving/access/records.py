"""Calls that change something, in the audit log: begun before anything is done, and how they ended."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable
from typing import Any, Final

import grpc
from google.protobuf import descriptor_pool, json_format, message_factory
from google.protobuf.message import DecodeError

from forecast.errors import BusyError, RoleError
from serving.access.audit import Audit
from serving.access.callers import Caller
from serving.methods import Method

log = logging.getLogger("surgecast.serving")

LONGEST_REQUEST: Final = 4_000
"""Characters of a request that are kept."""


class Records:
    """Writes the calls of administrators, and others' attempts at them."""

    def __init__(self, audit: Audit) -> None:
        self._audit = audit

    def around(
        self,
        method: Method,
        caller: Caller,
        behave: Callable[[bytes, grpc.ServicerContext], Any],
        content: bytes,
        context: grpc.ServicerContext,
    ) -> Any:
        """Answer a call and record it. RoleError when the caller may not; BusyError, with nothing done, when
        the record cannot be written.
        """
        record: dict[str, object] = {
            "call": secrets.token_hex(4),
            "who": caller.name,
            "role": caller.role,
            "from": context.peer(),
            "what": f"{method.service}/{method.name}",
        }
        names = [name.decode(errors="replace") for name in context.peer_identities() or ()]
        if names:
            record["certificate"] = names
        asked = {"request": _readable(method, content)}
        try:
            caller.check(method.role, method.name)
        except RoleError as error:
            self._audit.append(record | asked | {"outcome": f"refused: {error}"})
            raise
        self._audit.append(record | asked | {"outcome": "begun"})
        outcome = "failed"
        try:
            reply = behave(content, context)
            outcome = "done"
            return reply
        finally:
            if outcome == "failed" and context.code() is not None:
                text = context.details() or b""
                outcome = f"failed: {context.code().name}: {text.decode(errors='replace')}"
            self._end(record | {"outcome": outcome})

    def _end(self, record: dict[str, object]) -> None:
        try:
            self._audit.append(record)
        except BusyError as error:  # what was done is done; that it was begun stands in the log
            log.error("%s; it would say %s", error, record)


def _readable(method: Method, content: bytes) -> str:
    service = descriptor_pool.Default().FindServiceByName(method.service)
    kind = message_factory.GetMessageClass(service.methods_by_name[method.name].input_type)
    try:
        text = json_format.MessageToJson(
            kind.FromString(content), preserving_proto_field_name=True, indent=None, ensure_ascii=False
        )
    except DecodeError:
        return f"{len(content)} bytes that are no {kind.DESCRIPTOR.full_name}"
    return text[:LONGEST_REQUEST]
