"""Pages of a list: tokens that name the list and where the next page begins."""

from __future__ import annotations

import base64
import hashlib

from google.protobuf.message import Message

from forecast.errors import InputError
from serving.served import Served


def list_stamp(served: Served, *question: Message | str) -> str:
    """Names a list: the snapshot that it is read from, and what was asked for."""
    digest = hashlib.sha256()
    for part in question:
        content = part.encode() if isinstance(part, str) else part.SerializeToString(deterministic=True)
        digest.update(len(content).to_bytes(4, "big") + content)
    return f"{served.snapshot.manifest.id}/{digest.hexdigest()[:16]}"


def next_token(stamp: str, end: int, total: int) -> str:
    """The token of the page after one that ends before entry `end`; empty after the last page."""
    return base64.urlsafe_b64encode(f"{stamp}/{end}".encode()).decode() if end < total else ""


def page_start(token: str, stamp: str, total: int) -> int:
    """Where a page begins; InputError when the token is of another list or snapshot, or is none of ours."""
    if not token:
        return 0
    expected = "the next_page_token of the page before, for the same filter and order"
    try:
        content = base64.b64decode(token, altchars=b"-_", validate=True).decode()
    except ValueError as error:  # no base64, or no text in it
        raise InputError("page_token", expected=expected, found=ascii(token[:40])) from error
    found, _, offset = content.rpartition("/")
    if not (found and offset.isascii() and offset.isdigit()):
        raise InputError("page_token", expected=expected, found=ascii(token[:40]))
    if found != stamp or len(offset) > 9 or int(offset) >= total:
        meant = "one of another list, or of a snapshot that no longer serves: begin again"
        raise InputError("page_token", expected=expected, found=meant)
    return int(offset)
