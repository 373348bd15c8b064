"""Status codes and times of calls in the metrics: what callers saw, by its right name."""

import json
import os
import re
import subprocess
import sys
from collections import Counter

import grpc
import pytest
from access import bearer, token
from google.rpc import code_pb2
from operating import GET, KEY, metric, read_metrics
from surgecast.v1 import forecast_pb2 as pb
from surgecast.v1 import model_pb2, model_pb2_grpc
from waiting import until

from serving.operation.metrics import CODES, Tally, shared_file, size

COUNT = re.compile(r'surgecast_calls_total{code="(\w+)",method="[\w/]+"} ([\d.]+)')
WHAT_IF = "/surgecast.v1.ForecastService/SimulateScenario"
REQUEST = pb.GetForecastRequest(key=pb.SeriesKey(**KEY)).SerializeToString()


def test_each_code_has_its_own_name():
    named = {code.value[0]: code.name for code in grpc.StatusCode}
    assert dict(enumerate(CODES)) == named
    assert {name: code_pb2.Code.Value(name) for name in CODES} == {name: n for n, name in named.items()}


def asked(ask, request, text=None):
    """The name of the code that a call of a token ended with."""
    try:
        ask(request, timeout=10, metadata=bearer(text) if text else ())
    except grpc.RpcError as error:
        return error.code().name
    return "OK"


@pytest.fixture
def guarded(own_home, publish_to, spawn, free_port):
    """A server that asks for tokens, and two of these: one of a call a second, and one of many."""
    publish_to(0)
    texts = token(own_home, "hasty", rate=1.0), token(own_home, "calm")
    own_home.settings_file.write_text("[serve]\nlive = false\n")
    return spawn(own_home, "--metrics-port", str(free_port), "--log-format", "json"), *texts


def test_what_callers_saw_is_what_is_counted_and_logged(guarded, free_port):
    server, hasty, calm = guarded
    with grpc.insecure_channel(server.address) as channel:
        get, what_if = channel.unary_unary(GET), channel.unary_unary(WHAT_IF)
        models = model_pb2_grpc.ModelServiceStub(channel)
        rollback = model_pb2.RollbackRequest(reason="r")
        simulate = pb.SimulateScenarioRequest(keys=[pb.SeriesKey(**KEY)]).SerializeToString()
        seen = Counter(
            [
                asked(get, REQUEST),
                asked(get, REQUEST, "surgecast_nobody"),
                *(asked(get, REQUEST, hasty) for _ in range(4)),
                asked(what_if, simulate, calm),
                asked(models.Rollback, rollback, calm),
                asked(get, b"\xff", calm),
            ]
        )
    assert seen.keys() >= {"OK", "UNAUTHENTICATED", "RESOURCE_EXHAUSTED", "PERMISSION_DENIED"}
    assert seen.keys() >= {"FAILED_PRECONDITION", "INVALID_ARGUMENT"}
    assert seen["UNAUTHENTICATED"] == 2

    def counted():
        found = Counter()
        for name, number in COUNT.findall(read_metrics(free_port)):
            found[name] += int(float(number))
        return found

    until(lambda: counted().total() == seen.total())
    assert counted() == seen
    lines = until(lambda: [json.loads(line) for line in server.lines if "SimulateScenario" in line])
    assert [(line["code"], line["level"]) for line in lines] == [("FAILED_PRECONDITION", "info")]


def test_calls_that_were_turned_away_are_no_quick_answers(guarded, free_port):
    server, _hasty, calm = guarded
    with grpc.insecure_channel(server.address) as channel:
        get = channel.unary_unary(GET)
        codes = [asked(get, REQUEST, text) for text in (calm, None, None, None)]
    assert codes == ["OK", *["UNAUTHENTICATED"] * 3]
    until(lambda: metric(free_port, "surgecast_calls_total") == 4)
    assert metric(free_port, "surgecast_call_seconds_count") == 1
    assert metric(free_port, "surgecast_queue_seconds_count") == 1
    assert metric(free_port, "surgecast_calls_in_flight") == 0


def test_counts_lie_in_memory_that_is_there(monkeypatch, tmp_path):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "full"))
    file = shared_file()
    assert os.fstat(file).st_blocks * 512 >= size()
    Tally(file).add("surgecast_swaps")
    os.close(file)


def test_memory_that_is_not_there_is_told_at_the_start():
    code = (
        "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))\n"
        "from serving.operation.metrics import shared_file; shared_file()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "PreconditionError: counts: expected" in done.stderr.splitlines()[-1]
