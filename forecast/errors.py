"""Every error that surgecast raises on purpose.

SurgecastError
├── UsageError          a flag, a configuration value or a call is wrong          exit status 2
├── InputError          data handed in is not what was expected                   exit status 1
├── NotFoundError       a series, snapshot, bundle or file that is not there       exit status 1
├── IntegrityError      stored bytes are not what was written (hash, format)       exit status 1
├── PreconditionError   what it takes is not set up here                           exit status 1
├── BusyError           somebody else holds it: a port, a lock                     exit status 1
├── AccessError         the caller is not known: no token, a wrong or expired one  exit status 1
├── RoleError           the caller is known and may not do this                    exit status 1
├── OverloadError       more is asked for than is worked on                        exit status 1
└── LateError           the caller has stopped waiting, or the time is over        exit status 1

A message names the field, what was expected and what was found. gRPC status codes are chosen from these
classes in one interceptor (`serving/`), exit statuses in one place (`forecast/cli/main.py`).
"""

from __future__ import annotations


class SurgecastError(Exception):
    """Base of all errors raised on purpose; `exit_status` is what the command line ends with."""

    exit_status = 1


class UsageError(SurgecastError):
    """A flag, a configuration value or an argument is wrong."""

    exit_status = 2


class FieldError(SurgecastError):
    """An error about one named field."""

    def __init__(self, field: str, *, expected: str, found: str) -> None:
        super().__init__(f"{field}: expected {expected}, found {found}")
        self.field = field
        self.expected = expected
        self.found = found


class InputError(FieldError):
    """Data handed in is not what was expected."""


class NotFoundError(FieldError):
    """Something named does not exist. `kind`, `name`: what was asked for, such as a series, and which; empty
    where that is not said.
    """

    def __init__(self, field: str, *, expected: str, found: str, kind: str = "", name: str = "") -> None:
        super().__init__(field, expected=expected, found=found)
        self.kind, self.name = kind, name


class IntegrityError(FieldError):
    """Stored bytes are not what was written."""


class PreconditionError(FieldError):
    """What it takes is not set up here; asking again changes nothing."""


class LaterError(FieldError):
    """It may succeed later. `retry_s`: seconds after which to ask again, 0 where that does not help."""

    def __init__(self, field: str, *, expected: str, found: str, retry_s: float = 1.0) -> None:
        super().__init__(field, expected=expected, found=found)
        self.retry_s = retry_s


class BusyError(LaterError):
    """Somebody else holds what is needed."""


class AccessError(FieldError):
    """The caller is not known."""


class RoleError(FieldError):
    """The caller is known and may not do this."""


class OverloadError(LaterError):
    """More is asked for than is worked on."""


class LateError(FieldError):
    """The caller has stopped waiting, or the time that a call may take is over."""


def refusal(error: OSError) -> str:
    """What the system refused, in one line: `PATH: No space left on device`."""
    return f"{error.filename}: {error.strerror}" if error.filename else str(error)
