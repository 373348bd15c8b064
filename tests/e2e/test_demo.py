"""`surgecast demo`: its plan, its choices, and that it leaves no process behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import tomllib
from pathlib import Path
from typing import Any

import pytest
from command_line import parse

from forecast.cli.demo_plan import (
    DEMOS,
    bars,
    import_steps,
    list_step,
    publish_step,
    questions,
    serve_step,
    train_step,
)
from forecast.cli.main import run
from forecast.home import Home
from forecast.settings import load_settings

ADDRESS = "127.0.0.1:50051"


def one(
    item: str, base: float | None, zeros: float | None, total: float, ratio: float | None
) -> dict[str, Any]:
    key = {"item": item, "location": "x", "platform": "p"}
    return {
        **key,
        "base": base,
        "zeros": zeros,
        "total": total,
        "peak": 9.0,
        "peak_ratio": ratio,
        "peak_at": "2026-11-11",
    }


LISTING = [
    one("steady", 8.0, 0.0, 200.0, 1.1),
    one("wild", 8.0, 0.05, 300.0, 6.0),
    one("sparse", 0.2, 0.9, 3.0, 2.0),
    one("sparser", 0.1, 0.95, 2.0, 2.0),
    one("unseen", None, None, 1.0, None),
]


@pytest.mark.parametrize("name", DEMOS)
def test_every_step_is_a_command_that_the_program_knows(name: str, tmp_path: Path) -> None:
    folder = tmp_path if DEMOS[name].needs_folder else None
    steps = [
        *import_steps(name, tmp_path, folder),
        train_step(name, tmp_path, 1.5),
        publish_step(name, tmp_path),
        serve_step(tmp_path),
        list_step(name, ADDRESS, "volume"),
        list_step(name, ADDRESS, "surge"),
        *(question.step(ADDRESS, tmp_path) for question in questions(LISTING, LISTING[1:2])),
    ]
    assert [bool(parse(step.arguments)) for step in steps] == [True] * 11


@pytest.mark.parametrize("name", DEMOS)
def test_the_settings_are_ones_that_the_program_reads(name: str, tmp_path: Path) -> None:
    (tmp_path / "surgecast.toml").write_text(DEMOS[name].settings)
    assert load_settings(Home(tmp_path)).training.horizon == DEMOS[name].horizon
    assert tomllib.loads(DEMOS[name].settings)["training"]["minutes"] == DEMOS[name].minutes


def test_three_different_series_are_asked_for() -> None:
    asked = {question.name: question.series["item"] for question in questions(LISTING, LISTING[1:2])}
    assert asked == {"steady": "steady", "intermittent": "sparse", "surge": "wild"}


def test_a_single_series_answers_all_questions() -> None:
    assert {question.series["item"] for question in questions(LISTING[4:], [])} == {"unseen"}


def test_bars_are_held_against_the_best_and_the_seasonal_forecast() -> None:
    wql = {"surgecast": 0.8, "seasonal naive": 1.0, "moving average": 0.9, "croston": 0.82}
    found = {bar.baseline: bar for bar in bars([{"forecaster": name, "wql": w} for name, w in wql.items()])}
    assert set(found) == {"seasonal naive", "croston"}
    assert found["seasonal naive"].found == pytest.approx(0.2)
    assert found["seasonal naive"].met
    assert found["croston"].found == pytest.approx(0.02 / 0.82)
    assert not found["croston"].met


def test_a_seasonal_forecast_that_is_best_has_to_be_beaten_by_more() -> None:
    (bar,) = bars([{"forecaster": "surgecast", "wql": 0.9}, {"forecaster": "seasonal naive", "wql": 1.0}])
    assert (bar.wanted, bar.met) == (0.15, False)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--data", "m5"], "DIR: expected the folder of m5, found none"),
        (["."], "DIR: expected no folder for completejourney"),
        (["--minutes", "0"], "--minutes: expected more than 0"),
        (["--data", "m6"], "m6"),
    ],
)
def test_wrong_wishes_are_refused(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["demo", *arguments]) == 2
    assert message in capsys.readouterr().err


def test_a_home_with_something_else_in_it_is_left_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "surgecast.toml").write_text("[serve]\nport = 4000\n")
    assert run(["demo", "--keep", str(tmp_path)]) == 1
    assert "--keep: expected an empty folder or one of an earlier demo" in capsys.readouterr().err


def demo_process(keep: Path, *arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "forecast.cli.main", "demo", "--keep", str(keep), *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_a_failing_step_ends_the_demo_with_its_status_and_names_it(tmp_path: Path) -> None:
    with demo_process(tmp_path / "home", "--data", "m5", str(tmp_path)) as process:
        out, err = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "data import m5" in out
    assert "data import m5" in err.splitlines()[-1]
    assert len(err.splitlines()) == 2  # the step's own error, and which step it was


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_stopped_it_takes_its_step_along(tmp_path: Path, number: signal.Signals, status: int) -> None:
    if not Path("/proc/self/task").is_dir():
        pytest.skip("needs /proc to see the step's process")
    with demo_process(tmp_path / "home") as process:
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
        end = time.monotonic() + 60
        while not (step := children.read_text().split()):
            assert time.monotonic() < end
            time.sleep(0.05)
        process.send_signal(number)
        process.communicate(timeout=60)
    assert process.returncode == status
    with pytest.raises(ProcessLookupError):
        os.kill(int(step[0]), 0)
