"""The program as a user meets it: a process, with a plug-in's commands registered the way our own are."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
from pathlib import Path

import pytest

PLUGIN = '''
"""A plug-in with one command of each behaviour."""
import sys, time
import typer
from forecast.errors import InputError, UsageError
print("plug-in imported", file=sys.stderr)

plug = typer.Typer(help="Things a plug-in does.", no_args_is_help=True)

@plug.command()
def refuse() -> None:
    """Fail on purpose."""
    raise InputError("units", expected="a number\\nof units", found="-3")

@plug.command()
def misuse() -> None:
    """Be used wrongly."""
    raise UsageError("horizon: expected 1 or more, found 0")

@plug.command()
def crash() -> None:
    """Meet a bug."""
    raise ZeroDivisionError("by nobody")

def single(times: int = 1) -> None:
    """Say hello some times.

    More that the list does not show.
    """
    print("hello " * times)

def forever() -> None:
    """Wait until it is interrupted."""
    print("waiting", flush=True)
    time.sleep(60)
'''
ENTRIES = "[surgecast.commands]\nplug = plugin:plug\nsingle = plugin:single\nforever = plugin:forever\n"
ENTRIES += "[surgecast.commands.events]\nhello = plugin:single\n"


@pytest.fixture(scope="module")
def plugin(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """An environment in which the plug-in is installed."""
    folder = tmp_path_factory.mktemp("site")
    (folder / "plugin.py").write_text(PLUGIN)
    info = folder / "plugin-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: plugin\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(ENTRIES)
    return {**os.environ, "PYTHONPATH": str(folder), "NO_COLOR": "1", "COLUMNS": "100"}


def surgecast(environment: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "forecast.cli.main", *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def test_help_lists_every_command_without_importing_it(plugin: dict[str, str]) -> None:
    done = surgecast(plugin, "--help")
    assert done.returncode == 0
    for text in ("plug", "Things a plug-in does.", "Say hello some times.", "events", "settings", "bench"):
        assert text in done.stdout
    assert "More that the list" not in done.stdout
    assert done.stderr == ""


def test_help_is_quick(plugin: dict[str, str]) -> None:
    def once() -> float:
        """Seconds of processor time, so that a busy machine does not matter."""
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        surgecast(plugin, "--help")
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    assert min(once() for _ in range(3)) < 0.5


def test_a_group_and_a_function_run(plugin: dict[str, str]) -> None:
    assert surgecast(plugin, "single", "--times", "2").stdout == "hello hello \n"
    assert "Fail on purpose." in surgecast(plugin, "plug", "--help").stdout


def test_a_plug_in_adds_a_command_to_another_group(plugin: dict[str, str]) -> None:
    help_text = surgecast(plugin, "events", "--help")
    assert "Say hello some times." in help_text.stdout
    assert help_text.stderr == ""  # nothing of it was imported
    assert surgecast(plugin, "events", "hello", "--times", "3").stdout == "hello hello hello \n"


@pytest.mark.parametrize(
    ("command", "status", "line"),
    [
        (("plug", "refuse"), 1, "error: units: expected a number of units, found -3"),
        (("plug", "misuse"), 2, "error: horizon: expected 1 or more, found 0"),
        (("plug", "crash"), 1, "error: unexpected ZeroDivisionError: by nobody (--debug shows where)"),
        (("single", "--times", "x"), 2, "surgecast single --help"),
        (("plgu",), 2, "error: No such command 'plgu'. Did you mean 'plug'?"),
        (("settings", "shwo"), 2, "Did you mean 'show'?"),
        (("--nonsense",), 2, "error: No such option: --nonsense"),
    ],
)
def test_errors_are_one_line_and_a_status(
    plugin: dict[str, str], command: tuple[str, ...], status: int, line: str
) -> None:
    done = surgecast(plugin, *command)
    errors = [text for text in done.stderr.splitlines() if text != "plug-in imported"]
    assert done.returncode == status
    assert len(errors) == 1
    assert line in errors[0]
    assert done.stdout == ""


@pytest.mark.parametrize("command", [("--debug", "plug", "refuse"), ("plug", "crash", "--debug")])
def test_debug_shows_the_traceback_wherever_it_stands(
    plugin: dict[str, str], command: tuple[str, ...]
) -> None:
    done = surgecast(plugin, *command)
    assert done.returncode == 1
    assert "Traceback" in done.stderr
    assert "plugin.py" in done.stderr


def test_interrupt_ends_with_130(plugin: dict[str, str]) -> None:
    command = [sys.executable, "-m", "forecast.cli.main", "forever"]
    with subprocess.Popen(
        command, env=plugin, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "waiting\n"
        child.send_signal(signal.SIGINT)
        _, stderr = child.communicate(timeout=20)
    assert child.returncode == 130
    assert stderr.splitlines()[-1] == "error: interrupted"
    assert "Traceback" not in stderr


def test_version_and_no_command(plugin: dict[str, str]) -> None:
    assert surgecast(plugin, "--version").stdout.startswith("surgecast 0.")
    assert surgecast(plugin).returncode == 2


def test_a_command_whose_module_is_gone_does_not_break_help(plugin: dict[str, str], tmp_path: Path) -> None:
    info = tmp_path / "broken-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: broken\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[surgecast.commands]\ngone = no_such_module:gone\n")
    done = surgecast({**plugin, "PYTHONPATH": str(tmp_path)}, "--help")
    assert done.returncode == 0
    assert "(not there: no_such_module)" in done.stdout
