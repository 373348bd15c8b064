"""The life of a server process: start, swap, damage, kill, drain; and the commands that ask it."""

import json
import signal
import subprocess
import sys

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from surgecast.v1 import forecast_pb2 as pb
from waiting import until

from forecast.cli.main import run
from forecast.home import Home
from forecast.snapshot import Pointer, write_snapshot
from serving.client import Client
from serving.store import SnapshotStore

GET = "/surgecast.v1.ForecastService/GetForecast"
KEY = {"item": "SKU-001", "location": "Hangzhou", "platform": "Tmall"}
FLAGS = ["--item", "SKU-001", "--location", "Hangzhou", "--platform", "Tmall"]


@pytest.fixture
def own_home(tmp_path):
    return Home(tmp_path)


@pytest.fixture
def publish_to(own_home):
    def publish(publication, version="3", *, move=True):
        from forecast.snapshot import move_pointer

        snapshot = write_snapshot(
            own_home, publication.forecasts, publication.panel, bundle_id="b1", model_version=version
        )
        if move:
            move_pointer(own_home, snapshot)
        return snapshot

    return publish


def surgecast(*arguments):
    command = [sys.executable, "-m", "forecast.cli.main", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def flip(path):
    """Put a damaged file in a file's place: one that is cut short under its map would end the process."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    damaged = path.with_name("damaged")
    damaged.write_bytes(content)
    damaged.replace(path)


def publication_status(address):
    with grpc.insecure_channel(address) as channel:
        request = health_pb2.HealthCheckRequest(service="surgecast.publication")
        status = health_pb2_grpc.HealthStub(channel).Check(request, timeout=10).status
    return health_pb2.HealthCheckResponse.ServingStatus.Name(status)


def answer_bytes(address):
    request = pb.GetForecastRequest(key=pb.SeriesKey(**KEY), view=pb.FORECAST_VIEW_FULL)
    with grpc.insecure_channel(address) as channel:
        return channel.unary_unary(GET)(request.SerializeToString(), timeout=10)


def test_killed_and_started_again_it_gives_the_same_bytes(own_home, publish_to, publication, spawn):
    publish_to(publication)
    first = spawn(own_home)
    before = answer_bytes(first.address)
    assert first.kill(signal.SIGKILL) == -signal.SIGKILL
    again = spawn(own_home, "--port", first.address.rpartition(":")[2])
    assert again.address == first.address
    assert answer_bytes(again.address) == before


def test_a_new_publication_is_swapped_in(own_home, publish_to, make_publication, spawn):
    publish_to(make_publication(0), "3")
    with Client(spawn(own_home).address) as client:
        assert client.serving_model().source.model_version == "3"
        second = publish_to(make_publication(1), "4")
        until(lambda: client.serving_model().source.model_version == "4")
        assert client.forecast(**KEY).source.snapshot == second


def test_a_damaged_publication_is_refused_while_serving(own_home, publish_to, make_publication, spawn):
    from forecast.snapshot import move_pointer

    good = publish_to(make_publication(0))
    server = spawn(own_home)
    assert publication_status(server.address) == "SERVING"
    bad = publish_to(make_publication(1), "4", move=False)
    flip(own_home.snapshots_dir / bad / "quantiles.npy")
    with Client(server.address) as client:
        move_pointer(own_home, bad)
        refused = until(lambda: client.serving_model().refused)
        assert "quantiles.npy" in refused
        assert client.forecast(**KEY).source.snapshot == good
        until(lambda: any(f"refused snapshot {bad}" in line for line in server.lines))
        until(lambda: publication_status(server.address) == "NOT_SERVING")
        own_home.pointer_file.write_bytes(b"\xff garbage")
        until(lambda: "serving.json: expected a pointer in JSON" in client.serving_model().refused)
        assert client.forecast(**KEY).source.snapshot == good
        move_pointer(own_home, good)
        until(lambda: publication_status(server.address) == "SERVING")
        assert client.serving_model().refused == ""


def test_publishing_again_repairs_what_was_refused(own_home, publish_to, make_publication, spawn):
    publish_to(make_publication(0))
    bad = publish_to(make_publication(1), "4")
    flip(own_home.snapshots_dir / bad / "quantiles.npy")
    server = spawn(own_home)
    with Client(server.address) as client:
        assert "quantiles.npy" in client.serving_model().refused
        assert publish_to(make_publication(1), "4") == bad
        until(lambda: client.serving_model().source.snapshot == bad)
        until(lambda: not client.serving_model().refused)
    until(lambda: publication_status(server.address) == "SERVING")


@pytest.mark.parametrize("text", ["[" * 200_000, '{"format": 1, "moves": ' + "9" * 5_000 + "}"])
def test_a_pointer_that_cannot_be_parsed_is_survived(own_home, publish_to, make_publication, spawn, text):
    publish_to(make_publication(0))
    with Client(spawn(own_home).address) as client:
        own_home.pointer_file.write_text(text)
        until(lambda: "serving.json: expected a pointer" in client.serving_model().refused)
        second = publish_to(make_publication(1), "4")
        until(lambda: client.serving_model().source.snapshot == second)


def test_the_watcher_lives_on_after_what_nobody_foresaw(
    own_home, publish_to, make_publication, caplog, monkeypatch
):
    good = publish_to(make_publication(0))
    store = SnapshotStore(own_home)
    store.load()
    with monkeypatch.context() as patched:
        patched.setattr(Pointer, "read", lambda _home: [].pop())
        store.follow(0.01)
        until(lambda: store.refused is not None)
    assert store.refused.reason == "IndexError: pop from empty list"
    assert any(record.exc_info for record in caplog.records)
    until(lambda: store.refused is None)
    assert store.current.snapshot.manifest.id == good
    second = publish_to(make_publication(1), "4")
    until(lambda: store.current.snapshot.manifest.id == second)
    store.close()


def test_files_that_change_under_a_server_are_checked_again(own_home, publish_to, publication):
    file = own_home.snapshots_dir / publish_to(publication) / "mean.npy"
    good = file.read_bytes()
    store = SnapshotStore(own_home)
    served = store.load()
    assert not store.refresh()
    flip(file)
    assert store.refresh()
    assert "mean.npy" in store.refused.reason
    assert not store.refresh()
    restored = file.with_name("restored")
    restored.write_bytes(good)
    restored.replace(file)
    assert store.refresh()
    assert store.refused is None
    assert store.current is not served
    assert store.current.snapshot.mean_SH.tobytes() == publication.forecasts.mean_SH.tobytes()


def test_started_on_a_damaged_snapshot_it_serves_the_former(own_home, publish_to, make_publication, spawn):
    good = publish_to(make_publication(0))
    bad = publish_to(make_publication(1), "4")
    flip(own_home.snapshots_dir / bad / "mean.npy")
    server = spawn(own_home)
    assert server.ready["snapshot"] == good
    assert "mean.npy" in server.ready["refused"]
    with Client(server.address) as client:
        assert "mean.npy" in client.serving_model().refused
    assert publication_status(server.address) == "NOT_SERVING"


def test_nothing_good_to_serve_ends_with_one_line(own_home, publish_to, publication):
    result = surgecast("serve", "--home", str(own_home.root), "--port", "0")
    assert result.returncode == 1
    assert "surgecast publish" in result.stderr
    flip(own_home.snapshots_dir / publish_to(publication) / "ranks.npy")
    result = surgecast("serve", "--home", str(own_home.root), "--port", "0")
    assert result.returncode == 1
    assert "ranks.npy: expected SHA-256" in result.stderr.splitlines()[-1]


def test_port_in_use_and_strange_addresses(own_home, server):
    port = server.address.rpartition(":")[2]
    taken = surgecast("serve", "--home", str(own_home.root), "--port", port)
    assert (taken.returncode, taken.stdout) == (1, "")
    assert taken.stderr.splitlines() == [
        f"error: port: expected to listen on 127.0.0.1:{port}, found Address already in use"
    ]
    for host in ("0.0.0.0", "::", "example.org"):
        refused = surgecast("serve", "--home", str(own_home.root), "--host", host)
        assert refused.returncode == 2
        assert "expected a loopback address" in refused.stderr
    assert surgecast("serve", "--port", "70000").returncode == 2


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)])
def test_signals_end_it_well(own_home, publish_to, publication, spawn, number, status):
    publish_to(publication)
    server = spawn(own_home)
    assert answer_bytes(server.address)
    assert server.kill(number) == status


def test_sigint_ends_it_where_a_background_shell_left_it_ignored(own_home, publish_to, publication, spawn):
    publish_to(publication)
    former = signal.signal(signal.SIGINT, signal.SIG_IGN)  # a child process inherits this
    try:
        server = spawn(own_home)
    finally:
        signal.signal(signal.SIGINT, former)
    assert server.kill(signal.SIGINT) == 130


def test_serving_needs_neither_training_nor_mlflow():
    script = (
        "import sys\n"
        "for name in ('mlflow', 'lightning', 'torch', 'polars', 'training', 'deltalake'):\n"
        "    sys.modules[name] = None\n"
        "import serving.server, serving.client, serving.report, serving.picture\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True, timeout=60)


def test_query_prints_a_table_and_a_fan(server, tmp_path):
    picture = tmp_path / "fan.png"
    result = surgecast("query", *FLAGS, "--address", server.address, "--png", str(picture))
    assert result.returncode == 0, result.stderr
    assert "80 % band" in result.stdout
    assert "★ double-11" in result.stdout
    assert all(mark in result.stdout for mark in "●━▓░┊")
    assert "\x1b" not in result.stdout
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_query_as_json(server, publication):
    result = surgecast("query", *FLAGS, "--address", server.address, "--horizon", "2", "--json")
    answer = json.loads(result.stdout)
    assert answer["times"] == ["2026-11-02T00:00:00", "2026-11-03T00:00:00"]
    assert answer["mean"] == pytest.approx(publication.forecasts.mean_SH[6, :2].tolist())
    assert len(answer["quantiles"][0]) == 17


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (["--item", "SKU-0O1", "--location", "Hangzhou", "--platform", "Tmall"], 1, "near: SKU-00"),
        ([*FLAGS, "--horizon", "0"], 2, "--horizon"),
        ([*FLAGS, "--horizon", "15"], 1, "horizon: expected 1..14 periods, found 15"),
        ([*FLAGS, "--horizon", "99999999999"], 2, "--horizon"),
        ([*FLAGS, "--png", "fan.pdf"], 2, ".png"),
        ([*FLAGS, "--png", "/nowhere/at/all.png"], 1, "No such file"),
        (["--item", "", "--location", "x", "--platform", "y"], 1, "key.item: expected a name"),
    ],
)
def test_query_that_cannot_be_answered(server, capsys, arguments, status, said):
    assert run(["query", *arguments, "--address", server.address]) == status
    out, err = capsys.readouterr()
    assert (out, len(err.splitlines())) == ("", 1)
    assert said in err


def test_addresses_are_checked(capsys):
    for address in ("nowhere", "host:", ":1", "h:99999"):
        assert run(["query", *FLAGS, "--address", address]) == 2
        assert "HOST:PORT" in capsys.readouterr().err


def test_series_list_finds_the_strongest_surge(server):
    result = surgecast("series", "list", "--address", server.address, "--limit", "3", "--json")
    rows = json.loads(result.stdout)["series"]
    assert len(rows) == 3
    assert rows[0]["platform"] == "Tmall"
    assert rows[0]["peak_at"] == "2026-11-11"
    assert surgecast("series", "list", "--sort", "best", "--address", server.address).returncode == 2


@pytest.mark.parametrize(
    ("conditions", "said"),
    [
        (["--item", "sku-0O1"], "no series matches: no item 'sku-0O1'; near: SKU-001"),
        (["--item", "nosuch"], "no series matches: no item 'nosuch'"),
        (["--item", "SKU-001", "--location", "Atlantis"], "no series matches"),
        (["--min-base", "1e9"], "no series matches"),
    ],
)
def test_series_list_says_why_it_is_empty(server, conditions, said):
    result = surgecast("series", "list", *conditions, "--address", server.address, "--json")
    assert result.returncode == 0
    assert json.loads(result.stdout) == {"series": []}
    assert result.stderr.startswith(said)
    assert len(result.stderr.splitlines()) == 1
