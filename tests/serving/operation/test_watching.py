"""What an operator sees: metrics, the dashboard, status, request ids and log lines."""

import json
import re
import signal
import threading
from pathlib import Path

import grpc
import pytest
from operating import GET, KEY, metric, read_metrics
from prometheus_client import CollectorRegistry
from surgecast.v1 import forecast_pb2 as pb
from waiting import until

import serving.operation
from forecast.cli.main import run
from forecast.errors import UsageError
from serving.client import Client
from serving.live.engine import LiveConfig, LiveEngine
from serving.methods import all_methods
from serving.operation.config import OperationConfig
from serving.operation.exposition import Exposition
from serving.operation.logs import LineBudget
from serving.operation.metrics import CODES, MethodCells, Tally, method_names, shared_file
from serving.store import SnapshotStore

DASHBOARD = Path(serving.operation.__file__).with_name("grafana.json")


@pytest.fixture
def watched(own_home, publish_to, spawn, free_port):
    publish_to(0)
    return spawn(own_home, "--metrics-port", str(free_port), "--log-format", "json")


def call(address, key, request_id=None):
    """Code, request id that came back."""
    content = pb.GetForecastRequest(key=pb.SeriesKey(**key)).SerializeToString()
    metadata = () if request_id is None else (("x-request-id", request_id),)
    with grpc.insecure_channel(address) as channel:
        ask = channel.unary_unary(GET)
        try:
            _, done = ask.with_call(content, timeout=10, metadata=metadata)
        except grpc.RpcError as error:
            done = error
        return done.code().name, dict(done.trailing_metadata())["x-request-id"]


def test_every_method_is_counted(own_home):
    engine = LiveEngine(own_home, LiveConfig(on=False), lambda _ready: None)
    methods = all_methods(SnapshotStore(own_home), engine)
    assert {f"{one.service.rpartition('.')[2]}/{one.name}" for one in methods} == set(method_names())


def test_metrics_tell_calls_codes_and_durations(watched, free_port):
    for key in (KEY, KEY, KEY | {"item": "nosuch"}, KEY | {"item": ""}):
        call(watched.address, key)
    with Client(watched.address) as client:
        client.serving_model()
    method = 'method="ForecastService/GetForecast"'
    text = until(lambda: found if (found := read_metrics(free_port)).count(method) > 20 else "")
    for line in (
        f'surgecast_calls_total{{code="OK",{method}}} 2.0',
        f'surgecast_calls_total{{code="NOT_FOUND",{method}}} 1.0',
        f'surgecast_calls_total{{code="INVALID_ARGUMENT",{method}}} 1.0',
        'surgecast_calls_total{code="OK",method="ModelService/GetServingModel"} 1.0',
        f'surgecast_call_seconds_bucket{{le="+Inf",{method}}} 4.0',
        f"surgecast_queue_seconds_count{{{method}}} 4.0",
        "surgecast_publication_sound 1.0",
    ):
        assert line in text
    assert metric(free_port, "surgecast_call_seconds_sum") > metric(free_port, "surgecast_queue_seconds_sum")


def test_every_metric_of_the_dashboard_exists(watched, free_port):
    call(watched.address, KEY)
    dashboard = json.loads(DASHBOARD.read_text())
    expressions = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    asked = {name for text in expressions for name in re.findall(r"surgecast_\w+", text)}
    shown = set(re.findall(r"^(surgecast_\w+)[ {]", read_metrics(free_port), re.MULTILINE))
    assert len(asked) >= 12
    assert asked <= shown
    assert len({panel["id"] for panel in dashboard["panels"]}) == len(dashboard["panels"])


def test_a_request_id_is_kept_if_sane_and_made_otherwise(watched):
    assert call(watched.address, KEY, "order-17.a_B") == ("OK", "order-17.a_B")
    assert call(watched.address, KEY | {"item": "nosuch"}, "order-18") == ("NOT_FOUND", "order-18")
    made = {call(watched.address, KEY, given)[1] for given in (None, "", "a b", "x" * 65, 'q"')}
    assert len(made) == 5
    assert all(re.fullmatch(r"[0-9a-f]{10}-[0-9a-f]+", one) for one in made)


def test_failed_calls_are_logged_as_json_and_good_ones_are_not(watched):
    call(watched.address, KEY, "good")
    call(watched.address, KEY | {"item": "no such\u2028item"}, "bad")
    lines = until(lambda: [json.loads(line) for line in watched.lines if '"bad"' in line])
    assert len(lines) == 1
    line = lines[0]
    assert (line["method"], line["code"], line["level"]) == (
        "ForecastService/GetForecast",
        "NOT_FOUND",
        "info",
    )
    assert "no item" in line["message"]
    assert line["seconds"] < 10
    assert line["caller"].startswith("ipv4:127.0.0.1:")
    assert not any('"good"' in line for line in watched.lines)
    assert watched.kill(signal.SIGTERM) == 0
    watched.reader.join(10)
    assert all(json.loads(line)["message"] for line in watched.lines)


def test_a_flood_of_bad_calls_is_no_flood_of_lines():
    now = [100.0]
    budget = LineBudget(3, clock=lambda: now[0])
    assert [budget.take() for _ in range(5)] == [0, 0, 0, None, None]
    now[0] += 1
    assert [budget.take() for _ in range(2)] == [2, 0]


def test_counts_of_threads_and_processes_are_exact():
    file = shared_file()
    ours, theirs = Tally(file), Tally(file)
    cells = MethodCells.of("ForecastService/GetForecast")

    def count():
        for _ in range(2_000):
            ours.begin(cells)
            ours.end(cells, CODES.index("NOT_FOUND"), 0.004, 0.0)

    threads = [threading.Thread(target=count) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert theirs.cells[cells.calls + CODES.index("NOT_FOUND")] == 8_000
    assert theirs.cells[cells.in_flight] == 0
    ours.begin(cells)
    theirs.forget_present()
    assert ours.cells[cells.in_flight] == 0
    assert ours.cells[cells.calls + CODES.index("NOT_FOUND")] == 8_000


def test_what_processes_count_is_added_up():
    tallies = [Tally(), Tally()]
    for tally, series in zip(tallies, (3, 40), strict=True):
        tally.observe("surgecast_live_batch_series", series)
        tally.add("surgecast_swaps")
    registry = CollectorRegistry()
    registry.register(Exposition(tallies, dict, 2))
    name = "surgecast_live_batch_series"
    found = [registry.get_sample_value(f"{name}_bucket", {"le": end}) for end in ("2", "4", "64", "+Inf")]
    assert found == [0, 1, 2, 2]
    assert registry.get_sample_value(f"{name}_sum") == 43
    assert registry.get_sample_value("surgecast_swaps_total") == 2
    assert registry.get_sample_value("surgecast_workers_serving") == 0
    assert registry.get_sample_value("surgecast_publication_sound") == 0


@pytest.mark.parametrize("wrong", [{"workers": 0}, {"metrics_port": 70_000}, {"log_format": "xml"}])
def test_wrong_configuration_is_named(wrong):
    (name,) = wrong
    with pytest.raises(UsageError, match=name):
        OperationConfig(**wrong)


def test_wrong_flags_end_with_usage(tmp_path, capsys):
    for flags, said in (
        (["--log-format", "xml"], "serve.log_format: expected 'text' or 'json', found 'xml'"),
        (["--workers", "0"], "--workers"),
    ):
        assert run(["serve", "--home", str(tmp_path), *flags]) == 2
        assert said in capsys.readouterr().err
