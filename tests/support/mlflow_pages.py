"""MLflow's real server on a home, and the pages that people browse there."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.client import HTTPConnection, HTTPException
from typing import NamedTuple
from urllib.parse import quote

from browser import Browser, Message

from forecast.home import Home
from training.tracking import ENVIRONMENT, EXPERIMENT, connect, ui_command

FLOW = "workflowType=machine_learning"
HARMLESS = (
    # The UI asks who is signed in; without accounts the server has no such page.
    "/ajax-api/2.0/mlflow/users/current",
    # A remark of the browser on charts that resize themselves, not an error of the page.
    "ResizeObserver loop completed",
)
"""Lines of the console that are no fault of a page."""


class Page(NamedTuple):
    """A page: where it is and what it shows once it is there. frame: text of an HTML artifact on it."""

    name: str
    place: str
    shown: tuple[str, ...]
    frame: str = ""


@contextmanager
def mlflow_server(home: Home) -> Iterator[str]:
    """The address of MLflow's server on the home, as `surgecast mlflow` starts it."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = subprocess.Popen(
        ui_command(home, port),
        env={**os.environ, **ENVIRONMENT},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        while not _answers(port):
            assert server.poll() is None, "MLflow's server has ended"
            time.sleep(0.05)
        yield f"http://127.0.0.1:{port}/"
    finally:
        with suppress(ProcessLookupError):
            os.killpg(server.pid, signal.SIGTERM)
        server.wait()


def _answers(port: int) -> bool:
    connection = HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", "/health")
        return connection.getresponse().status == 200
    except (OSError, HTTPException):
        return False
    finally:
        connection.close()


def pages(home: Home) -> list[Page]:
    """The pages of a home with two trained models at least, the newest of which was backtested."""
    client = connect(home)
    found = client.get_experiment_by_name(EXPERIMENT)
    assert found is not None
    place = found.experiment_id
    rows = client.search_runs([place], "tags.purpose = 'train'")
    trained = [row for row in rows if "mlflow.parentRunId" not in row.data.tags]
    run, other = (row.info.run_id for row in trained[:2])
    (overview,) = client.search_runs([place], "tags.purpose = 'overview'")
    version = max(int(one.version) for one in client.search_model_versions("name = 'surgecast'"))
    name, base = trained[0].info.run_name, f"#/experiments/{place}/runs"
    both = f"runs={quote(json.dumps([run, other]))}&experiments={quote(json.dumps([place]))}"
    return [
        Page("experiments", f"#/experiments?{FLOW}", ("Experiments", "surgecast")),
        Page("runs", f"{base}?{FLOW}", ("Open the overview", "overview", "matching runs")),
        Page("run", f"{base}/{run}?{FLOW}", (name, "Registered models", "Known weaknesses")),
        Page("metrics", f"{base}/{run}/model-metrics?{FLOW}", (name, "backtest/bias")),
        Page("system", f"{base}/{run}/system-metrics?{FLOW}", (name, "process_cpu_percentage")),
        Page("picture", f"{base}/{run}/artifacts/pictures/forecasts.png?{FLOW}", ("pictures/forecasts.png",)),
        Page("table", f"{base}/{run}/artifacts/backtest/by-slice.json?{FLOW}", ("forecaster", "croston")),
        Page("card", f"{base}/{run}/artifacts/model-card.md?{FLOW}", ("Scores by segment", "Privacy")),
        Page("compare", f"#/compare-runs?{both}&{FLOW}", ("Comparing 2 Runs", "Run details")),
        Page("model", f"#/models/surgecast?{FLOW}", ("Version 1", "@ champion")),
        Page(
            "version",
            f"#/models/surgecast/versions/{version}?{FLOW}",
            ("Scores by segment", "Inputs", "Outputs"),
        ),
        Page(
            "overview",
            f"{base}/{overview.info.run_id}/artifacts/overview.html?{FLOW}",
            ("overview.html",),
            frame="Accuracy over time",
        ),
    ]


def visit(browser: Browser, address: str, page: Page) -> float:
    """Open a page and wait until all that it should show is there; seconds that it took."""
    seconds = browser.open(address + page.place, *page.shown)
    began = time.perf_counter()
    if page.name == "picture":
        browser.wait_until(
            "return [...document.querySelectorAll('img')].some("
            "i => i.src.startsWith('blob:') && i.complete && i.naturalWidth > 600)"
        )
    if page.frame:
        browser.wait_for_frame(page.frame)
    return seconds + time.perf_counter() - began


def faults(browser: Browser) -> list[Message]:
    """Errors on the console since the last call, but for the harmless ones."""
    return [
        line
        for line in browser.console()
        if line.level == "SEVERE" and not any(one in line.text for one in HARMLESS)
    ]
