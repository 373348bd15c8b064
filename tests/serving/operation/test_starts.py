"""How a server starts where files cannot be read, and what it says and obeys until it serves."""

import os
import shutil
import signal
import socket
import subprocess
from pathlib import Path

import pytest
from operating import pids, read_metrics
from waiting import until

from serving.client import Client
from tests.serving.conftest import command


@pytest.fixture
def tangle(own_home):
    """Put a link to itself in a snapshot's place."""

    def tangled(snapshot):
        folder = own_home.snapshots_dir / snapshot
        shutil.rmtree(folder)
        folder.symlink_to(folder)
        return folder

    return tangled


@pytest.mark.parametrize("workers", ["1", "2"])
def test_what_the_system_cannot_read_gives_way_to_the_former(own_home, publish_to, spawn, tangle, workers):
    good, bad = publish_to(0), publish_to(1)
    folder = tangle(bad)
    server = spawn(own_home, "--workers", workers)
    assert server.ready["snapshot"] == good
    assert server.ready["refused"] == f"{folder}: Too many levels of symbolic links"
    with Client(server.address) as client:
        assert "Too many levels of symbolic links" in client.serving_model().refused
        folder.unlink()
        assert publish_to(1) == bad
        until(lambda: client.serving_model().source.snapshot == bad)
    told = [line for line in server.lines if "Too many levels" in line]
    assert len(told) == int(workers)  # though it is tried again and again
    assert all(f"refused snapshot {bad}" in line for line in told)


@pytest.mark.parametrize("workers", ["1", "2"])
def test_nothing_that_can_be_read_ends_with_one_line(own_home, publish_to, tangle, workers):
    folder = tangle(publish_to(0))
    line = command(own_home, "--port", "0", "--workers", workers)
    done = subprocess.run(line, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.splitlines()[-1] == (
        f"error: {own_home.root}: expected a home that can be read, found {folder}: Too many levels of"
        " symbolic links"
    )
    assert "Traceback" not in done.stderr
    assert "start again" not in done.stderr


@pytest.fixture
def begin(own_home, publish_to):
    """Start servers that wait for ever for the pointer to say what to serve."""
    publish_to(0)
    own_home.pointer_file.unlink()
    os.mkfifo(own_home.pointer_file)
    begun = []

    def starting(*options):
        line = command(own_home, "--port", "0", *options)
        begun.append(subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True))
        return begun[-1]

    yield starting
    for process in begun:
        for pid in pids(process):  # they wait where the end of their supervisor is not seen
            os.kill(pid, signal.SIGKILL)
        process.kill()
        process.communicate()


def catches(pid):
    """Whether a process has SIGTERM in its own hands."""
    (line,) = (one for one in Path(f"/proc/{pid}/status").read_text().splitlines() if "SigCgt" in one)
    return bool(int(line.split()[1], 16) >> (signal.SIGTERM - 1) & 1)


@pytest.mark.parametrize(
    ("workers", "number", "status"),
    [("1", signal.SIGTERM, 0), ("1", signal.SIGINT, 130), ("2", signal.SIGTERM, 0)],
)
def test_until_it_serves_it_is_watched_and_obeys(begin, free_port, workers, number, status):
    process = begin("--workers", workers, "--metrics-port", str(free_port))

    with socket.socket() as asking:
        until(lambda: asking.connect_ex(("127.0.0.1", free_port)) == 0)
    text = read_metrics(free_port)
    assert "surgecast_workers_serving 0.0" in text
    assert "surgecast_publication_sound 0.0" in text
    if workers == "2":
        until(lambda: [catches(pid) for pid in pids(process)] == [True, True])
    process.send_signal(number)
    out, err = process.communicate(timeout=20)
    assert (process.returncode, out) == (status, "")
    assert "Traceback" not in err
