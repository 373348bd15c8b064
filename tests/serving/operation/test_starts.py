"""How a server starts where files cannot be read, and what it says and obeys until it serves."""

import shutil
import subprocess

import pytest
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
        assert client.serving_model().refused == server.ready["refused"]
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
