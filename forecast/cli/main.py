"""The program `surgecast`, put together from entry points.

Every sub-command is an entry point of the group `surgecast.commands`, every benchmark one of
`surgecast.bench`. The object named is a `typer.Typer` (a group) or a plain function (a command). It is
imported when asked for and not before, so that the program starts quickly. A room adds a command to another
room's group NAME by an entry point of the group `surgecast.commands.NAME`.
"""

from __future__ import annotations

import sys
import traceback
from collections.abc import Sequence
from importlib.metadata import EntryPoint, entry_points, version
from types import TracebackType
from typing import Annotated

import typer
from typer.core import TyperGroup
from typer.main import get_group

from forecast.cli.lazy import LazyCommand, LazyGroup
from forecast.errors import SurgecastError, refusal

INTERRUPTED = 130
"""Exit status after Ctrl-C: 128 and the number of SIGINT."""
KEPT = 3
"""Exit status of a retraining job that went well and kept the champion."""


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"surgecast {version('surgecast')}")
        raise typer.Exit


def _root(
    _version: Annotated[
        bool,
        typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and stop."),
    ] = False,
    _debug: Annotated[
        bool, typer.Option("--debug", help="Show the traceback of an error; may stand anywhere on the line.")
    ] = False,
) -> None:
    """Probabilistic demand forecasts through sales surges, for every item, location and platform."""


def _registered(group: str) -> list[EntryPoint]:
    return sorted(entry_points(group=group), key=lambda entry: entry.name)


def build() -> TyperGroup:
    """The whole command tree; nothing of a sub-command is imported yet."""
    app = typer.Typer(cls=LazyGroup, no_args_is_help=True)
    app.callback()(_root)
    root = get_group(app)
    root.name = "surgecast"
    for entry in _registered("surgecast.commands"):
        root.add_command(LazyCommand(entry))
    benches = typer.Typer(cls=LazyGroup, no_args_is_help=True)
    benches.callback(help="Measure accuracy on public data sets (--data DIR), speed and memory.")(
        lambda: None
    )
    bench = get_group(benches)
    bench.name = "bench"
    for entry in _registered("surgecast.bench"):
        bench.add_command(LazyCommand(entry))
    root.add_command(bench)
    return root


def _one_line(message: str) -> str:
    return " ".join(part.strip() for part in message.splitlines() if part.strip())


def _fail(message: str) -> None:
    typer.echo(f"error: {_one_line(message)}", err=True)


def _unexpected(kind: type[BaseException], error: BaseException, _trace: TracebackType | None) -> None:
    """Print an error that nobody foresaw as one line; the interpreter then exits with status 1."""
    _fail(f"unexpected {kind.__name__}: {error} (--debug shows where)")


def _usage_message(error: typer.TyperException) -> str:
    path: str | None = getattr(getattr(error, "ctx", None), "command_path", None)
    message = error.format_message()
    return f"{message} (see {path} --help)" if path else message


def _take_debug(arguments: Sequence[str]) -> tuple[bool, list[str]]:
    """Whether `--debug` stands before a `--`, and the line without it."""
    end = list(arguments).index("--") if "--" in arguments else len(arguments)
    before = [argument for argument in arguments[:end] if argument != "--debug"]
    return len(before) < end, [*before, *arguments[end:]]


def _report(error: SurgecastError, *, debug: bool) -> int:
    if debug:
        traceback.print_exception(error)
    _fail(str(error))
    return error.exit_status


def run(arguments: Sequence[str]) -> int:
    """Run one command line and return the exit status: 0 good, 1 failed, 2 wrong usage, 3 champion kept,
    130 interrupted.

    Expected errors, and what the system refuses, end as one line on stderr; an unexpected one passes through
    to the interpreter's hook.
    """
    debug, rest = _take_debug(arguments)
    try:
        result = build().main(rest, prog_name="surgecast", standalone_mode=False)
    except SurgecastError as error:
        return _report(error, debug=debug)
    except typer.TyperException as error:
        if error.format_message():  # empty where the help itself was the answer
            _fail(_usage_message(error))
        return error.exit_code
    except typer.Abort:
        _fail("aborted")
        return 1
    except OSError as error:  # a disk that is full or read-only, a file where a folder should be
        if debug:
            traceback.print_exception(error)
        _fail(refusal(error))
        return 1
    except KeyboardInterrupt:
        result = INTERRUPTED
    if result == INTERRUPTED:
        _fail("interrupted")
    return result if isinstance(result, int) else 0


def main() -> None:
    """The console script."""
    if not _take_debug(sys.argv[1:])[0]:
        sys.excepthook = _unexpected
    status = run(sys.argv[1:])
    sys.stdout.flush()
    sys.exit(status)


if __name__ == "__main__":
    main()
