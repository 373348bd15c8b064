"""A server that answers by hand, and the program asking it."""

import json

import pytest
from planner_server import address, models, planner

from forecast.cli.main import run

__all__ = ["address", "ask", "ask_json", "models", "planner"]


@pytest.fixture
def ask(address, capsys):
    """Runs a command line that must end well, and gives what it printed."""

    def asked(*line):
        status = run([*map(str, line), "--address", address])
        out, err = capsys.readouterr()
        assert status == 0, err
        return out

    return asked


@pytest.fixture
def ask_json(ask):
    return lambda *line: json.loads(ask(*line, "--json"))
