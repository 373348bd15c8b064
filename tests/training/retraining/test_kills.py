"""A job that is killed at any step, and run again, ends as one that nobody disturbed."""

from __future__ import annotations

from pathlib import Path

import pytest
from retraining import CUTOFFS, STEPS, Backup, finish, has_begun, kill_when, line, make_home, state

from forecast.home import Home


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    return make_home(tmp_path_factory.mktemp("kills"))


@pytest.fixture(scope="module")
def said(home: Home) -> Path:
    return home.root.with_name("said.txt")


@pytest.fixture(scope="module")
def backup(home: Home, said: Path) -> Backup:
    """With a first champion."""
    assert finish(line(home, CUTOFFS[0]), said) == 0, said.read_text()
    return Backup(home)


@pytest.fixture(scope="module")
def undisturbed(home: Home, said: Path, backup: Backup) -> dict[str, object]:
    assert finish(line(home, CUTOFFS[1]), said) == 0, said.read_text()
    return state(home)


@pytest.mark.parametrize("step", STEPS)
def test_killed_at_a_step_and_run_again(
    home: Home, said: Path, backup: Backup, undisturbed: dict[str, object], step: str
) -> None:
    backup.restore()
    job = line(home, CUTOFFS[1])
    assert kill_when(job, said, has_begun(home, step)), said.read_text()
    assert finish(job, said) == 0, said.read_text()
    assert state(home) == undisturbed
