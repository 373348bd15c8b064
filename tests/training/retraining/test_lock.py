"""One job at a time; whoever is kept out is told by whom."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from forecast.errors import BusyError
from forecast.home import Home
from training.retraining import lock
from training.retraining.lock import Holder, job_lock, read_holder

HOLD = """
from pathlib import Path
from forecast.home import Home
from training.retraining.lock import job_lock
with job_lock(Home(Path({root!r})), what="retrain") as beat:
    beat.step("twin")
    print("in", flush=True)
    input()
"""


def test_the_holder_is_named_with_its_step(tmp_path: Path) -> None:
    home = Home(tmp_path)
    with job_lock(home, what="retrain") as beat:
        beat.step("challenger")
        with pytest.raises(BusyError) as caught, job_lock(home, what="train"):
            pass
    assert f"retrain (step challenger), process {os.getpid()} on {socket.gethostname()}" in str(caught.value)
    assert "last sign of life 0 s ago" in str(caught.value) or "1 s ago" in str(caught.value)
    assert read_holder(home) is None
    with job_lock(home, what="train"):
        assert read_holder(home).what == "train"  # type: ignore[union-attr]


def test_an_error_frees_the_lock(tmp_path: Path) -> None:
    home = Home(tmp_path)
    with pytest.raises(ValueError, match="oh"), job_lock(home, what="retrain"):
        raise ValueError("oh")
    with job_lock(home, what="retrain"):
        pass
    assert [path.name for path in home.jobs_dir.iterdir()] == ["lock"]


def test_a_killed_holder_keeps_nobody_out(tmp_path: Path) -> None:
    home = Home(tmp_path)
    code = HOLD.format(root=str(tmp_path))
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "in\n"
        with pytest.raises(BusyError, match=rf"retrain \(step twin\), process {process.pid} "):
            job_lock(home, what="train").__enter__()
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert read_holder(home) is not None  # its last word
    with job_lock(home, what="train"):
        pass


def test_the_heart_beats(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lock, "BEAT_SECONDS", 0.01)
    home = Home(tmp_path)
    with job_lock(home, what="retrain"):
        path = home.jobs_dir / "holder.json"
        path.unlink()
        while not path.exists():  # the test's time-out ends it
            pass


def test_a_holder_that_is_quiet_may_hang() -> None:
    now = datetime.now(UTC)
    holder = Holder(
        what="retrain",
        step="",
        pid=42,
        host="night",
        since="2024-06-18T03:00:00+00:00",
        beat=(now - timedelta(minutes=10)).isoformat(),
    )
    assert holder.sentence(now) == (
        "retrain, process 42 on night, since 2024-06-18T03:00:00+00:00, last sign of life 600 s ago;"
        " it may hang: end that process"
    )


@pytest.mark.parametrize("text", ["", "{", "[]", json.dumps({"what": "train"})])
def test_a_damaged_word_of_the_holder_keeps_the_lock_working(tmp_path: Path, text: str) -> None:
    home = Home(tmp_path)
    with job_lock(home, what="retrain"):
        (home.jobs_dir / "holder.json").write_text(text)
        with pytest.raises(BusyError, match="one that has just begun"), job_lock(home, what="train"):
            pass
