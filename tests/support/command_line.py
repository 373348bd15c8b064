"""Command lines checked without running them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from forecast.cli.main import build


def parse(arguments: Sequence[str]) -> dict[str, Any]:
    """The values that a command line gives its command; raises what the program would refuse it with."""
    command, rest = _find(arguments)
    parameters: dict[str, Any] = command.make_context(command.name, rest).params
    return parameters


def known_options(arguments: Sequence[str]) -> set[str]:
    """The flags of the command that a line names; raises when there is no such command."""
    command, _ = _find(arguments)
    return {flag for parameter in command.params for flag in (*parameter.opts, *parameter.secondary_opts)}


def _find(arguments: Sequence[str]) -> tuple[Any, list[str]]:
    """The command or group that the first words name, and the words after them."""
    command: Any = build()
    rest = list(arguments)
    while rest and hasattr(command, "commands"):  # a group
        name, *rest = rest
        command = command.commands[name]
        command = command.load() if hasattr(command, "load") else command
    return command, rest
