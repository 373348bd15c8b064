"""A new home, and `surgecast data` on it."""

from pathlib import Path

import pytest
from data_command import Surgecast


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


@pytest.fixture
def surgecast(home: Path, capsys: pytest.CaptureFixture[str]) -> Surgecast:
    return Surgecast(home, capsys)
