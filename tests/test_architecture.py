"""The rules of the house that a machine can check: who imports whom, what is light, how long things get."""

from __future__ import annotations

import ast
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
ROOMS = ("forecast", "training", "serving")
FORBIDDEN = {
    "forecast": {
        "training",
        "serving",
        "surgecast",
        "lightning",
        "pytorch_lightning",
        "mlflow",
        "grpc",
        "ray",
    },
    "training": {"serving", "surgecast", "grpc", "pickle", "cloudpickle"},
    "serving": {"training", "lightning", "pytorch_lightning", "mlflow", "pickle", "cloudpickle"},
}
ALLOWED = {"serving/bench/peers": {"mlflow"}}
"""Folders of what a room is measured against, which is run in processes of its own."""
ENTRY_POINTS = {
    target
    for group in tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["entry-points"].values()
    for target in group.values()
}
"""Commands that are functions, as `module:function`."""
HEAVY = (
    "torch",
    "polars",
    "pandas",
    "numpy",
    "mlflow",
    "grpc",
    "lightning",
    "matplotlib",
    "pydantic_settings",
)
SHARED = "serving.commands.options"
LIGHT = ("forecast.cli", "forecast.errors", "forecast.home", "forecast.times", SHARED)
FILES = [path for room in ROOMS for path in sorted((ROOT / room).rglob("*.py"))]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
COMMANDS = sorted(
    {
        target.split(":")[0]
        for group, commands in PROJECT["entry-points"].items()
        if group.startswith("surgecast.")
        for target in commands.values()
    }
    | {SHARED}
)


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def imports(nodes: list[ast.stmt], *, deep: bool) -> Iterator[str]:
    """Modules imported at the top (not under TYPE_CHECKING), or with `deep` anywhere."""
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING" and not deep:
            continue
        elif deep or not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            children = [child for child in ast.walk(node) if isinstance(child, (ast.Import, ast.ImportFrom))]
            yield from imports(list(children), deep=deep)


def test_the_rule_sees_imports_inside_functions() -> None:
    tree = ast.parse("def f():\n    if True:\n        from lightning.fabric import x\nimport grpc.aio\n")
    assert set(imports(tree.body, deep=True)) == {"lightning.fabric.x", "grpc.aio"}
    assert set(imports(tree.body, deep=False)) == {"grpc.aio"}


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_imports_point_one_way(path: Path) -> None:
    room = path.relative_to(ROOT).parts[0]
    found = {module.split(".")[0] for module in imports(ast.parse(path.read_text()).body, deep=True)}
    assert not found & (FORBIDDEN[room] - ALLOWED.get(name_of(path.parent), set()))


@pytest.mark.parametrize("module", COMMANDS)
def test_command_modules_are_light(module: str) -> None:
    path = ROOT.joinpath(*module.split(".")).with_suffix(".py")
    for found in imports(ast.parse(path.read_text()).body, deep=False):
        root = found.split(".")[0]
        assert root == "typer" or root in sys.stdlib_module_names or found.startswith(LIGHT), found


def test_nothing_heavy_is_imported_before_a_command_runs() -> None:
    code = (
        "import importlib, sys; from forecast.cli.main import build; build()\n"
        f"for name in {COMMANDS!r}: importlib.import_module(name)\n"
        f"print(*sorted(set({HEAVY!r}) & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_files_and_functions_stay_readable(path: Path) -> None:
    text = path.read_text()
    assert text.count("\n") <= 350, "a file holds one idea, in 350 lines at most"
    for node in ast.walk(ast.parse(text)):
        if not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            continue
        assert (node.end_lineno or 0) - node.lineno < 60, f"{node.name} does not fit a screen"
        passed_on = ast.unparse(node).count("super().__init__(**")
        typer_hook = node.name == "make_context"
        assert node.args.kwarg is None or passed_on or typer_hook, f"{node.name} takes **{node.args.kwarg}"
        decorated = any("command" in ast.unparse(decorator) for decorator in node.decorator_list)
        module = name_of(path).removesuffix(".py").replace("/", ".")
        is_command = decorated or f"{module}:{node.name}" in ENTRY_POINTS
        arguments = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
        named = [argument for argument in arguments if argument.arg not in ("self", "cls")]
        assert len(named) <= 9 or is_command, f"{node.name} takes {len(named)} parameters"


def test_every_dependency_has_a_reason() -> None:
    table = (ROOT / "CONTRIBUTING.md").read_text()
    groups = [PROJECT["dependencies"], *PROJECT["optional-dependencies"].values()]
    for requirement in (requirement for group in groups for requirement in group):
        name = requirement.split(">")[0].split("[")[0]
        assert f"| {name} |" in table, f"{name} is missing in CONTRIBUTING.md's table"


def test_every_dependency_is_pinned_for_the_set_up() -> None:
    pinned = {
        line.split("==")[0].lower().replace("_", "-")
        for line in (ROOT / "constraints.txt").read_text().split()
    }
    needed = [*PROJECT["dependencies"], *PROJECT["optional-dependencies"]["dev"]]
    missing = {r.split(">")[0].split("[")[0].lower() for r in needed} - pinned
    assert not missing
