"""`surgecast status`: what it tells of a server, of another's metrics, and of workers that differ."""

import json
import os
import shutil
import signal

import pytest
from operating import metric, pids
from waiting import until

from forecast.cli.main import run


@pytest.fixture
def watched(own_home, publish_to, spawn, free_port):
    publish_to(0)
    return spawn(own_home, "--metrics-port", str(free_port))


def test_status_for_people_and_machines(watched, free_port, capsys):
    asked = ["status", "--address", watched.address, "--metrics-port", str(free_port)]
    assert run(asked) == 0
    out = capsys.readouterr().out
    for text in (watched.address, watched.ready["snapshot"], "healthy", "1 of 1, 0 started again"):
        assert text in out
    assert run([*asked, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["healthy"] is True
    assert (told["workers"], told["workers_serving"], told["worker_restarts"]) == (1, 1, 0)
    assert told["health"]["surgecast.v1.ForecastService"] == "SERVING"


def test_status_without_metrics_or_server(watched, free_port, capsys):
    assert run(["status", "--address", watched.address, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["calls_per_s"] is None
    assert "--metrics-port" in told["trouble"]
    watched.kill(signal.SIGTERM)
    assert run(["status", "--address", watched.address, "--json"]) == 1
    told = json.loads(capsys.readouterr().out)
    assert not told["healthy"]
    assert f"server {watched.address}: expected an answer" in told["trouble"]


@pytest.fixture
def told(capsys):
    """Runs `surgecast status`; its exit status and what it told."""

    def asked(*options):
        status = run(["status", *map(str, options), "--json"])
        return status, json.loads(capsys.readouterr().out)

    return asked


def test_the_metrics_of_another_server_are_not_taken_for_its_own(watched, server, free_port, told):
    assert server.ready["snapshot"] != watched.ready["snapshot"]
    status, found = told("--address", server.address, "--metrics-port", free_port)
    assert (status, found["healthy"], found["snapshot"]) == (0, True, server.ready["snapshot"])
    assert found["workers"] is None
    assert found["trouble"] == (
        f"metrics of 127.0.0.1:{free_port}: expected those of {server.ready['snapshot']}, found those of"
        f" another server: {watched.ready['snapshot']} in 1"
    )


def test_metrics_that_are_not_there_make_nobody_ill(own_home, server, free_port, told):
    own_home.settings_file.write_text(f"[serve]\nmetrics_port = {free_port}\n")
    status, found = told("--home", own_home.root, "--address", server.address)
    assert (status, found["healthy"]) == (0, True)
    assert "--metrics-port" in found["trouble"]
    own_home.settings_file.write_text(f"[serve]\nmetrics_port = {free_port}\nport = {server.ready['port']}\n")
    status, found = told("--home", own_home.root)
    assert (status, found["healthy"]) == (0, True)
    assert found["trouble"] == f"metrics of 127.0.0.1:{free_port}: expected an answer, found" + (
        " [Errno 111] Connection refused"
    )
    status, found = told("--address", server.address, "--metrics-port", server.ready["port"])
    assert (status, found["healthy"]) == (0, True)
    assert "expected an answer" in found["trouble"]


def test_midnight_is_not_told(watched, told):
    assert told("--address", watched.address)[1]["origin"] == "2026-11-01"


def test_workers_that_serve_different_snapshots_are_told(own_home, publish_to, spawn, free_port, told):
    former, published = publish_to(0), publish_to(1)
    server = spawn(own_home, "--workers", "2", "--metrics-port", str(free_port))
    assert metric(free_port, "surgecast_snapshots_serving") == 1
    shutil.rmtree(own_home.snapshots_dir / published)
    os.kill(pids(server.process)[0], signal.SIGKILL)
    until(lambda: metric(free_port, "surgecast_worker_restarts_total") == 1)
    until(lambda: metric(free_port, "surgecast_workers_serving") == 2)
    assert metric(free_port, "surgecast_snapshots_serving") == 2
    status, found = told("--address", server.address, "--metrics-port", free_port)
    assert (status, found["healthy"]) == (1, False)
    assert found["snapshots"] == {former: 1, published: 1}
    assert "workers serve 2 different snapshots" in found["trouble"]
    said = f"workers serve 2 different snapshots: {', '.join(sorted((former, published)))}"
    until(lambda: any(said in line for line in server.lines))
