"""Going back to an earlier snapshot, and the record of it: who, why and when.

The pointer moves at once and every server follows. The registry does not know of it yet: the record stays
open until a training job has let the registry's alias follow (or has found that something was
published since).
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from typing import Final

from forecast.errors import BusyError, InputError, IntegrityError, NotFoundError, PreconditionError
from forecast.home import Home
from forecast.snapshot.folders import locked
from forecast.snapshot.pointer import (
    Pointer,
    manifest_of,
    next_pointer,
    readable_pointer,
    replace_file,
    write_pointer,
)

RECORD_FORMAT: Final = 1
MAX_REASON: Final = 500


@dataclass(frozen=True, kw_only=True)
class Rollback:
    """One rollback. `moves` is the pointer's count of moves after it; `when` and `reconciled` (when the
    registry followed; None until then) are UTC in ISO 8601.

    snapshot: what serves since. former: what the pointer named before; empty where it was damaged.
    """

    moves: int
    snapshot: str
    former: str
    who: str
    why: str
    when: str
    reconciled: str | None = None


def roll_back(home: Home, to: str | None, *, who: str, why: str, check: Callable[[str], object]) -> Rollback:
    """Move the pointer back to `to`, or to what served before when None, and record it.

    check: raises where a snapshot must not serve; called before anything changes.
    Raises NotFoundError where there is no such snapshot or none served before, IntegrityError for a damaged
    one or a damaged pointer without `to`, InputError where it serves already, was itself gone back from, or
    the reason is none; PreconditionError where the home cannot be read or written to; BusyError where
    somebody moved the pointer while the snapshot was checked: what they published is not what was gone back
    from.
    """
    check_reason(why)
    try:
        moves = _moves(readable_pointer(home))
        target = to if to is not None else _former(home)
        manifest_of(home, target)
        check(target)
        return _move(home, target, who, why, moves)
    except OSError as error:
        found = error.strerror or str(error)
        expected = "a home that can be read and written to"
        raise PreconditionError(str(home.root), expected=expected, found=found) from error


def check_reason(why: str) -> None:
    """InputError unless a reason says something, on one line and not too long."""
    if not why.strip() or len(why) > MAX_REASON or not why.isprintable():
        found = f"{len(why)} characters" if why.isprintable() and why.strip() else ascii(why[:40])
        raise InputError("reason", expected=f"1..{MAX_REASON} printable characters", found=found)


def read_rollbacks(home: Home) -> list[Rollback]:
    """All rollbacks of a home, the oldest first. IntegrityError when the record is damaged."""
    path = home.rollbacks_file
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if content["format"] != RECORD_FORMAT:
            found = f"format {content['format']}"
            raise IntegrityError(str(path), expected=f"format {RECORD_FORMAT}", found=found)
        return [Rollback(**entry) for entry in content["rollbacks"]]
    except FileNotFoundError:
        return []
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        found = f"{type(error).__name__}: {error}"
        raise IntegrityError(
            str(path), expected="rollbacks in JSON (without the file, a new record begins)", found=found
        ) from error


def open_rollback(home: Home) -> Rollback | None:
    """The last rollback, if it is in force (nothing was published since) and not yet reconciled."""
    records = read_rollbacks(home)
    pointer = readable_pointer(home)
    if not records or pointer is None or records[-1].reconciled is not None:
        return None
    return records[-1] if records[-1].moves == pointer.moves else None


def reconcile(home: Home) -> None:
    """Say that the registry has followed all rollbacks up to now."""
    with locked(home.root):
        records = read_rollbacks(home)
        now = datetime.now(UTC).isoformat(timespec="seconds")
        _write(home, [r if r.reconciled else replace(r, reconciled=now) for r in records])


def _move(home: Home, target: str, who: str, why: str, moves: int) -> Rollback:
    with locked(home.root):
        present = readable_pointer(home)
        if present is not None and present.snapshot == target:
            found = f"{target}, which the pointer names already"
            raise InputError("snapshot", expected="another than the published one", found=found)
        if _moves(present) != moves:
            found = f"{present.snapshot if present else 'a damaged pointer'}, published meanwhile: look again"
            raise BusyError("snapshot", expected="the one to go back from", found=found, retry_s=0)
        pointer = next_pointer(present, target)
        record = Rollback(
            moves=pointer.moves,
            snapshot=target,
            former=present.snapshot if present else "",
            who=who,
            why=why,
            when=datetime.now(UTC).isoformat(timespec="seconds"),
        )
        _write(home, [*read_rollbacks(home), record])  # first: a record without a move does no harm
        write_pointer(home, pointer)
    return record


def _moves(pointer: Pointer | None) -> int:
    """How often the pointer has been moved; 0 where there is none or a damaged one."""
    return pointer.moves if pointer is not None else 0


def _former(home: Home) -> str:
    pointer = Pointer.read(home)
    if pointer.previous is None:
        raise NotFoundError("snapshot", expected="one that served before", found="none; name one")
    records = read_rollbacks(home)
    if records and records[-1].moves == pointer.moves:
        found = f"{pointer.previous}, which was gone back from: {records[-1].why}"
        raise InputError("snapshot", expected="the name of one, for what served before is bad", found=found)
    return pointer.previous


def _write(home: Home, records: list[Rollback]) -> None:
    content = {"format": RECORD_FORMAT, "rollbacks": [asdict(record) for record in records]}
    replace_file(home.rollbacks_file, json.dumps(content, ensure_ascii=False, indent=1))
