"""The whole way through real processes: a table in, a planner's answer out, and what a crash leaves."""

from __future__ import annotations

import shutil
import signal
import time
from pathlib import Path

from conftest import Surgecast, readme_key

KEY = [part for name, value in readme_key().items() for part in (f"--{name}", value)]


def test_the_surges_that_lie_ahead_are_listed(imported: Surgecast) -> None:
    found = imported.json("events", "list", "--from", "2023-06-01", "--to", "2023-06-30")
    assert "618" in " ".join(event["kind"] + event["name"] for event in found["events"]).replace(".", "")


def test_killed_and_without_mlflow_it_serves_the_same_forecasts(published: Surgecast, tmp_path: Path) -> None:
    with published.served(stop=signal.SIGKILL) as address:
        before = published.json("query", *KEY, "--address", address, home=False)
    assert len(before["mean"]) == 21
    assert len(before["quantiles"][0]) == 17
    shutil.move(published.home / "mlflow", tmp_path / "mlflow")
    started = time.monotonic()
    with published.served() as address:
        seconds = time.monotonic() - started
        after = published.json("query", *KEY, "--address", address, home=False)
    shutil.move(tmp_path / "mlflow", published.home / "mlflow")
    assert after == before
    assert seconds < 20  # 3 where no other test takes the processor


def test_a_planner_sees_a_table_a_fan_and_a_picture(published: Surgecast, tmp_path: Path) -> None:
    picture = tmp_path / "surge.png"
    with published.served() as address:
        (surge,) = published.json(
            "series", "list", "--address", address, "--sort", "surge", "--limit", 1, home=False
        )["series"]
        key = [part for name in ("item", "location", "platform") for part in (f"--{name}", surge[name])]
        shown = published("query", *key, "--address", address, "--png", picture, home=False)
    assert surge["peak_at"] in shown
    assert "▓ 80 % band" in shown
    assert picture.read_bytes().startswith(b"\x89PNG")
