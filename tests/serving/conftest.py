"""A real server process on a small publication."""

import json
import os
import signal
import subprocess
import sys
import threading
from dataclasses import dataclass

import pytest

from forecast.home import Home
from forecast.snapshot import move_pointer, write_snapshot
from serving.client import Client


def publish(home, publication, version="3"):
    snapshot = write_snapshot(
        home, publication.forecasts, publication.panel, bundle_id="b1", model_version=version
    )
    move_pointer(home, snapshot)
    return snapshot


@dataclass
class Running:
    """A server process; `lines` is what it logged."""

    process: subprocess.Popen
    ready: dict
    lines: list
    reader: threading.Thread

    @property
    def address(self):
        return self.ready["address"]

    def kill(self, number):
        self.process.send_signal(number)
        return self.process.wait(20)


def command(home, *options):
    return [sys.executable, "-m", "forecast.cli.main", "serve", "--home", str(home.root), *options]


def start(home, *options):
    process = subprocess.Popen(
        command(home, "--port", "0", "--json", *options),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    lines = []
    reader = threading.Thread(target=lambda: lines.extend(process.stderr), daemon=True)
    reader.start()
    text = ""
    for line in process.stdout:
        text += line
        if line.rstrip() == "}":
            return Running(process, json.loads(text), lines, reader)
    reader.join(10)
    raise AssertionError(f"no ready line, status {process.wait(10)}: {lines}")


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    return Home(tmp_path_factory.mktemp("home"))


@pytest.fixture(scope="module")
def publication(make_publication):
    return make_publication()


@pytest.fixture(scope="module")
def server(home, publication):
    publish(home, publication)
    running = start(home)
    yield running
    assert running.kill(signal.SIGTERM) == 0
    running.process.stdout.close()
    running.process.stderr.close()


@pytest.fixture
def client(server):
    with Client(server.address) as connected:
        yield connected


@pytest.fixture(scope="module")
def start_server():
    """Start servers that end with the tests of a module."""
    yield from starting()


@pytest.fixture
def spawn():
    """Start further servers that end with the test."""
    yield from starting()


def starting():
    running = []

    def begin(home, *options):
        running.append(start(home, *options))
        return running[-1]

    yield begin
    for one in running:
        one.process.kill()
        one.process.wait(20)
        one.reader.join(20)  # to the end of what its workers say
        one.process.stdout.close()
        one.process.stderr.close()
