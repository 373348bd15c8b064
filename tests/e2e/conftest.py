"""The program as a user runs it: real processes on a small table in a temporary home."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl
import pytest

README = Path(__file__).parents[2] / "README.md"
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "POLARS_MAX_THREADS": "1"}
"""Tests share the machine: one thread each is quickest for tables this small."""


class Surgecast:
    """Runs `surgecast` as a process; `home` is added to what is asked."""

    def __init__(self, home: Path) -> None:
        self.home = home

    def start(self, *arguments: object, home: bool = True) -> subprocess.Popen[str]:
        place = ["--home", str(self.home)] if home else []
        command = [sys.executable, "-m", "forecast.cli.main", *map(str, arguments), *place]
        return subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=ENVIRONMENT
        )

    def __call__(self, *arguments: object, home: bool = True) -> str:
        """What a command prints that must end well."""
        with self.start(*arguments, home=home) as process:
            out, err = process.communicate(timeout=120)
        assert process.returncode == 0, err
        return out

    def json(self, *arguments: object, home: bool = True) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self(*arguments, "--json", home=home))
        return found

    @contextmanager
    def served(self, stop: signal.Signals = signal.SIGTERM) -> Iterator[str]:
        """HOST:PORT of a server of the home, ended by a signal."""
        with self.start("serve", "--port", 0, "--json") as process:
            try:
                assert process.stdout is not None
                text = ""
                for line in process.stdout:
                    text += line
                    if line == "}\n":
                        break
                assert text, process.communicate(timeout=30)[1]
                yield json.loads(text)["address"]
            finally:
                process.send_signal(stop)
                process.communicate(timeout=30)


class Block(NamedTuple):
    """A fenced block of the README."""

    language: str
    text: str


def readme_blocks() -> list[Block]:
    found = re.findall(r"^```(\w+)\n(.*?)^```$", README.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    return [Block(language, text) for language, text in found]


def readme_key() -> dict[str, str]:
    """The series that the README's client example asks for."""
    (example,) = (block.text for block in readme_blocks() if block.language == "python")
    return dict(re.findall(r'(item|location|platform)="([^"]+)"', example))


@pytest.fixture(scope="session")
def small_table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Simulated demand of a dozen series over 160 days; the first series has the README's key."""
    path = tmp_path_factory.mktemp("table") / "demand.parquet"
    Surgecast(path.parent)("data", "simulate", path, "--series", 12, "--periods", 160, home=False)
    demand, keys = pl.read_parquet(path), readme_key()
    first = pl.all_horizontal(pl.col(name) == demand[name][0] for name in keys)
    renamed = [pl.when(first).then(pl.lit(key)).otherwise(name).alias(name) for name, key in keys.items()]
    demand.with_columns(renamed).write_parquet(path)
    return path


@pytest.fixture(scope="session")
def imported(tmp_path_factory: pytest.TempPathFactory, small_table: Path) -> Surgecast:
    """A home with demand and a calendar."""
    surgecast = Surgecast(tmp_path_factory.mktemp("home"))
    surgecast.home.joinpath("surgecast.toml").write_text(
        '[events]\ncalendars = ["china"]\n[training]\nhorizon = 21\n'
    )
    report = surgecast.json(
        "data", "import", "table", small_table, "--known", "price,discount", "--static", "city"
    )
    assert report["series"] == 12
    return surgecast


@pytest.fixture(scope="session")
def published(imported: Surgecast) -> Surgecast:
    """The same home with a model trained on a few steps, and its forecasts published."""
    trained = imported.json("train", "--steps", 4, "--backtest-origins", 1)
    assert trained["champion"]
    assert {row["forecaster"] for row in trained["backtest"]["table"]} >= {"surgecast", "seasonal naive"}
    imported("publish")
    return imported
