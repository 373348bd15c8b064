"""Commands that are imported when they are invoked, and described without being imported."""

from __future__ import annotations

import ast
import importlib.util
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command, get_group


class LazyCommand(TyperCommand):
    """Stands for the command of an entry point until that command is invoked or its help is asked."""

    def __init__(self, entry: EntryPoint) -> None:
        super().__init__(name=entry.name, callback=None)
        self.entry = entry

    def load(self) -> TyperCommand | TyperGroup:
        """Import the module and make the real command of a Typer or of a function."""
        target = self.entry.load()
        if isinstance(target, typer.Typer):
            command: Any = get_group(target)  # a group even when it has one command only
            for entry in entry_points(group=f"{self.entry.group}.{self.name}"):
                added = LazyCommand(entry)
                added.help = summary(entry)
                command.add_command(added)
        else:
            app = typer.Typer(add_completion=False)
            app.command(self.name)(target)
            command = get_command(app)
        command.name = self.name
        return command  # type: ignore[no-any-return]

    def make_context(self, info_name: str | None, args: list[str], parent: Any = None, **extra: Any) -> Any:
        """The context of the real command, which then runs in this one's place."""
        return self.load().make_context(info_name, args, parent=parent, **extra)


class LazyGroup(TyperGroup):
    """A group that looks up the one-line helps of its lazy commands only when it prints its own help."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Write the help of the group."""
        for command in self.commands.values():
            if isinstance(command, LazyCommand):
                command.help = summary(command.entry)
        super().format_help(ctx, formatter)


def summary(entry: EntryPoint) -> str:
    """The first line of an entry point's help, read from its source text without importing anything."""
    source = _source_file(entry.module)
    if source is None:
        return f"(not there: {entry.module})"
    tree = ast.parse(source.read_text(encoding="utf-8"))
    for node in tree.body:
        text = _described(node, entry.attr)
        if text:
            return text.strip().splitlines()[0]
    return ""


def _source_file(module: str) -> Path | None:
    root, *rest = module.split(".")
    spec = importlib.util.find_spec(root)  # of a top-level module: finds it, does not run it
    if spec is not None and not rest:
        return Path(spec.origin) if spec.origin else None
    for folder in (spec.submodule_search_locations or []) if spec else []:
        base = Path(folder, *rest)
        for candidate in (base.with_suffix(".py"), base / "__init__.py"):
            if candidate.is_file():
                return candidate
    return None


def _described(node: ast.stmt, name: str) -> str | None:
    """The help that this statement gives to the object `name`, if it gives any."""
    if isinstance(node, ast.FunctionDef):
        is_callback = any(ast.unparse(d).startswith(f"{name}.callback") for d in node.decorator_list)
        return ast.get_docstring(node) if node.name == name or is_callback else None
    if isinstance(node, ast.Assign):
        targets = [ast.unparse(target) for target in node.targets]
    elif isinstance(node, ast.AnnAssign):
        targets = [ast.unparse(node.target)]
    else:
        return None
    if name in targets and isinstance(node.value, ast.Call):
        for keyword in node.value.keywords:
            if keyword.arg == "help" and isinstance(keyword.value, ast.Constant):
                return str(keyword.value.value)
    return None
