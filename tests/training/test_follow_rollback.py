"""The registry's alias follows what an operator rolled back at the server."""

from __future__ import annotations

import pytest

from forecast.cli.main import run
from forecast.home import Home
from forecast.snapshot.pointer import Pointer, manifest_of
from forecast.snapshot.rollback import read_rollbacks, roll_back
from tests.training.test_jobs import CUTOFF, imported
from training.registry import find

# MLflow's own use of SQLAlchemy; nothing that we could change.
pytestmark = pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SADeprecationWarning")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """Two champions after each other, each published."""
    home = imported(tmp_path_factory.mktemp("rollback"))
    for steps in ("3", "4"):
        options = ["--cutoff", CUTOFF, "--horizon", "7", "--steps", steps, "--device", "cpu"]
        assert run(["train", "--home", str(home.root), *options, "--backtest-origins", "0"]) == 0
        assert publish(home) == 0
    return home


def publish(home: Home) -> int:
    return run(["publish", "--home", str(home.root), "--cutoff", CUTOFF, "--device", "cpu"])


def back(home: Home) -> str:
    return roll_back(home, None, who="olga", why="too high", check=lambda _snapshot: None).snapshot


def test_the_next_job_makes_the_model_champion_that_was_gone_back_to(
    home: Home, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second = manifest_of(home, Pointer.read(home).previous or ""), find(home)
    assert second.version == "2"
    assert back(home) == first.id
    assert publish(home) == 0
    assert f"champion: version 1, for the server was rolled back to {first.id} by olga (too high)" in (
        capsys.readouterr().err
    )
    assert (find(home).version, find(home).bundle_id) == ("1", first.bundle_id)
    assert Pointer.read(home).snapshot == first.id
    assert read_rollbacks(home)[-1].reconciled is not None
    assert publish(home) == 0
    assert "champion" not in capsys.readouterr().err
