"""`surgecast data` in the process of a test, and the tables that it is given."""

import json
from pathlib import Path
from typing import Any

import pytest

from forecast.cli.main import run


class Surgecast:
    """Runs the command in this process and reads what it printed."""

    def __init__(self, home: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.home, self.capsys = home, capsys

    def __call__(self, *arguments: object) -> tuple[int, str, str]:
        status = run([*map(str, arguments), "--home", str(self.home)])
        out, err = self.capsys.readouterr()
        return status, out, err

    def good(self, *arguments: object) -> dict[str, Any]:
        status, out, err = self("data", *arguments, "--json")
        assert status == 0, err
        report: dict[str, Any] = json.loads(out)
        return report

    def bad(self, *arguments: object) -> str:
        status, out, err = self("data", *arguments)
        assert status in (1, 2), out
        assert err.count("\n") == 1, err
        assert err.startswith("error: ")
        return err


def table(folder: Path, text: str, name: str = "t.csv") -> Path:
    path = folder / name
    path.write_text(text)
    return path
