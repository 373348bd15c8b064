"""Several processes on one port: their start, death, restart and end."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import grpc
import pytest
from access import Authority, bearer, token
from operating import KEY, ROW, Load, metric, pids, read_metrics
from waiting import until

from forecast.cli.main import run
from forecast.errors import BusyError
from serving.access.tokens import revoke_token
from serving.client import Client

SERVING = "/surgecast.v1.ModelService/GetServingModel"


@pytest.fixture
def workers(own_home, publish_to, spawn, free_port):
    """Two processes that serve, with metrics on `free_port`."""
    publish_to(0)
    return spawn(own_home, "--workers", "2", "--metrics-port", str(free_port))


def gone(pid):
    """Whether a process has ended, though perhaps nobody asked for its status yet."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


def test_all_serve_on_one_port_and_their_calls_are_added_up(workers, free_port):
    assert workers.ready["workers"] == 2
    assert workers.ready["port"] > 0
    assert len(pids(workers.process)) == 2
    for _ in range(20):
        with Client(workers.address) as client:
            assert client.forecast(**KEY).key.item == KEY["item"]
    assert metric(free_port, "surgecast_workers_serving") == 2
    assert metric(free_port, "surgecast_calls_total") == 20
    assert metric(free_port, "surgecast_resident_bytes") > 50e6


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)])
def test_a_signal_ends_all(workers, number, status):
    below = pids(workers.process)
    assert workers.kill(number) == status
    assert all(gone(pid) for pid in below)


def codes_of_calls(server, headers=(), n=12):
    """The codes of as many calls, each on a connection of its own."""
    codes = []
    for _ in range(n):
        with grpc.insecure_channel(server.address, (("grpc.use_local_subchannel_pool", 1),)) as channel:
            call = channel.unary_unary(SERVING).future(b"", metadata=headers, timeout=10)
            codes.append(None if call.exception() is None else call.code())
    return codes


def test_when_all_tokens_are_revoked_a_new_worker_lets_nobody_in_either(own_home, workers, free_port):
    assert set(codes_of_calls(workers)) == {None}
    text = token(own_home)
    until(lambda: set(codes_of_calls(workers)) == {grpc.StatusCode.UNAUTHENTICATED})
    assert set(codes_of_calls(workers, bearer(text))) == {None}
    revoke_token(own_home, "planner-1")
    os.kill(pids(workers.process)[0], signal.SIGKILL)
    until(lambda: metric(free_port, "surgecast_worker_restarts_total") == 1)
    until(lambda: metric(free_port, "surgecast_workers_serving") == 2)
    for headers in ((), bearer(text)):
        assert set(codes_of_calls(workers, headers)) == {grpc.StatusCode.UNAUTHENTICATED}


def test_a_worker_that_keeps_dying_is_started_ever_more_rarely(workers, publication_means, free_port):
    with Load(workers.address, publication_means, n_threads=1) as load:
        for deaths in range(1, 4):
            os.kill(max(pids(workers.process)), signal.SIGKILL)
            until(lambda deaths=deaths: metric(free_port, "surgecast_worker_restarts_total") == deaths)
            until(lambda: metric(free_port, "surgecast_workers_serving") == 2, 30)
    assert load.failed == []
    waits = [float(found[1]) for line in workers.lines if (found := re.search(r"again in ([\d.]+) s", line))]
    assert waits == [0.0, 0.5, 1.0]


def test_no_process_outlives_its_supervisor(workers):
    below = pids(workers.process)
    workers.process.kill()
    until(lambda: all(gone(pid) for pid in below))


def test_a_killed_worker_is_not_missed_and_comes_back(workers, publication_means, free_port):
    with Load(workers.address, publication_means, n_threads=4) as load:
        until(lambda: load.calls > 100)
        victim, other = pids(workers.process)
        os.kill(victim, signal.SIGKILL)
        until(lambda: metric(free_port, "surgecast_worker_restarts_total") == 1)
        until(lambda: metric(free_port, "surgecast_workers_serving") == 2, 30)
        seen = load.calls
        until(lambda: load.calls > seen + 100)
    assert (load.failed, load.mixed) == ([], [])
    assert other in pids(workers.process)
    assert victim not in pids(workers.process)
    until(lambda: any(re.search(r"worker \d ended by itself .*SIGKILL", line) for line in workers.lines))
    assert metric(free_port, "surgecast_calls_total") >= load.calls


def test_a_snapshot_that_is_cut_short_while_it_serves_gives_way_to_the_former(
    workers, own_home, publish_to, free_port
):
    first, second = workers.ready["snapshot"], publish_to(1)
    with Client(workers.address) as client:
        until(lambda: metric(free_port, "surgecast_swaps_total") == 2)
        os.truncate(own_home.snapshots_dir / second / "quantiles.npy", 0)

        def answered():
            try:
                return client.forecast(**KEY).source.snapshot == first
            except BusyError:  # the process was killed by its map, and the next one is not there yet
                return False

        until(answered, 30)
        assert "quantiles.npy: expected" in client.serving_model().refused
    until(lambda: metric(free_port, "surgecast_workers_serving") >= 1, 30)
    assert metric(free_port, "surgecast_worker_restarts_total") >= 1


@pytest.fixture
def publication_means(make_publication, workers):
    return {workers.ready["snapshot"]: make_publication(0).forecasts.mean_SH[ROW]}


def test_all_follow_a_rollback_within_a_second(workers, own_home, publish_to, free_port, capsys):
    second = publish_to(1)
    serving = f'surgecast_model_info{{bundle="b1",model_version="1",snapshot="{second}"}}'
    until(lambda: f"{serving} 2.0" in read_metrics(free_port))
    assert run(["rollback", "--home", str(own_home.root), "--reason", "too high"]) == 0
    first = workers.ready["snapshot"]
    assert first in capsys.readouterr().out
    serving = f'surgecast_model_info{{bundle="b1",model_version="0",snapshot="{first}"}}'
    until(lambda: f"{serving} 2.0" in read_metrics(free_port), 1.0)


def serve(home, *options):
    command = [sys.executable, "-m", "forecast.cli.main", "serve", "--home", str(home.root), "--workers", "2"]
    return subprocess.run([*command, *options], capture_output=True, text=True, timeout=60, check=False)


def test_a_port_is_not_shared_with_another_server(workers, own_home, server):
    for address in (workers.address, server.address):
        taken = serve(own_home, "--port", address.rpartition(":")[2])
        assert (taken.returncode, taken.stdout) == (1, "")
        assert taken.stderr.splitlines()[-1] == (
            f"error: port: expected to listen on {address}, found Address already in use"
        )


def test_a_metrics_port_that_is_taken_is_named(workers, own_home, free_port):
    taken = serve(own_home, "--port", "0", "--metrics-port", str(free_port))
    assert taken.returncode == 1
    assert taken.stderr.splitlines()[-1] == (
        f"error: metrics port: expected to listen on 127.0.0.1:{free_port}, found Address already in use"
    )


def test_nothing_to_serve_ends_with_one_line(own_home):
    nothing = serve(own_home, "--port", "0")
    assert nothing.returncode == 1
    assert "surgecast publish" in nothing.stderr.splitlines()[-1]


def test_a_server_that_may_not_listen_says_why(own_home, publish_to, tmp_path):
    publish_to(0)
    cert, key = Authority(tmp_path, "authority").issue("server")
    own_home.settings_file.write_text(f'[serve]\ntls_cert = "{cert}"\ntls_key = "{key}"\n')
    refused = serve(own_home, "--port", "0", "--host", "0.0.0.0")
    assert refused.returncode == 2
    assert "surgecast tokens add" in refused.stderr.splitlines()[-1]
    assert "Traceback" not in refused.stderr
