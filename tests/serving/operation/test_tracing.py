"""Spans of calls at a collector: a real server sends them to a real OTLP service."""

import signal
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc
from operating import GET, KEY
from surgecast.v1 import forecast_pb2 as pb

from forecast.cli.main import run
from forecast.errors import UsageError
from serving.client import Client
from serving.operation import tracing
from serving.server import Server, ServerConfig

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


class Collector(trace_service_pb2_grpc.TraceServiceServicer):
    """Keeps the spans that it gets, and the names of who sent them."""

    def __init__(self):
        self.spans = []
        self.senders = set()

    def Export(self, request, context):
        for resource in request.resource_spans:
            about = attributes(resource.resource)
            self.senders.add(about["service.name"])
            self.spans += [span for scope in resource.scope_spans for span in scope.spans]
        return trace_service_pb2.ExportTraceServiceResponse()


def attributes(message):
    return {one.key: getattr(one.value, one.value.WhichOneof("value")) for one in message.attributes}


@pytest.fixture
def collector():
    server = grpc.server(ThreadPoolExecutor(2))
    kept = Collector()
    trace_service_pb2_grpc.add_TraceServiceServicer_to_server(kept, server)
    kept.endpoint = f"http://127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    server.start()
    yield kept
    server.stop(None).wait()


@pytest.fixture
def begin(own_home, publish_to):
    """Starts a server on a publication that sends its spans to an endpoint; it ends with the test."""
    running = []

    def started(endpoint):
        publish_to(0)
        running.append(Server(own_home, ServerConfig(port=0, trace_endpoint=endpoint)))
        running[-1].start()
        return running[-1]

    yield started
    for server in running:
        server.stop()


def call(address, key=KEY, **metadata):
    content = pb.GetForecastRequest(key=pb.SeriesKey(**key)).SerializeToString()
    sent = [(name.replace("_", "-"), value) for name, value in metadata.items()]
    with grpc.insecure_channel(address) as channel:
        return channel.unary_unary(GET)(content, timeout=10, metadata=sent)


def test_a_span_of_each_call_continues_the_callers_trace(own_home, publish_to, spawn, collector):
    snapshot = publish_to(0)
    own_home.settings_file.write_text(f'[serve]\ntrace_endpoint = "{collector.endpoint}"\n')
    server = spawn(own_home)
    parent = f"00-{TRACE}-{PARENT}-01"
    call(server.address, traceparent=parent, x_request_id="order-17")
    with pytest.raises(grpc.RpcError):
        call(server.address, KEY | {"item": "nosuch"}, traceparent=parent)
    with Client(server.address) as client:
        client.export_frame()
    assert server.kill(signal.SIGTERM) == 0
    good, bad, export = sorted(collector.spans, key=lambda span: span.start_time_unix_nano)
    for span in (good, bad):
        assert (span.trace_id.hex(), span.parent_span_id.hex()) == (TRACE, PARENT)
        assert span.name == "surgecast.v1.ForecastService/GetForecast"
        assert span.kind == span.SPAN_KIND_SERVER
        assert span.start_time_unix_nano < span.end_time_unix_nano
        assert span.status.code == span.status.STATUS_CODE_UNSET  # a wrong question is no fault of ours
    assert export.trace_id.hex() != TRACE
    assert export.parent_span_id == b""
    told = attributes(good)
    assert told.pop("surgecast.queue_seconds") >= 0
    assert told == {
        "rpc.system.name": "grpc",
        "rpc.method": "surgecast.v1.ForecastService/GetForecast",
        "rpc.response.status_code": "OK",
        "surgecast.request_id": "order-17",
        "surgecast.snapshot": snapshot,
    }
    assert attributes(bad)["rpc.response.status_code"] == "NOT_FOUND"
    assert attributes(export)["rpc.response.status_code"] == "OK"
    assert collector.senders == {"surgecast"}


def test_a_caller_who_is_not_sampled_is_not_traced(begin, collector):
    server = begin(collector.endpoint)
    call(server.address, traceparent=f"00-{TRACE}-{PARENT}-00")
    server.stop()
    assert collector.spans == []


@pytest.mark.parametrize(
    "parent", ["", "x", "0" * 5_000, f"00-{'0' * 32}-{PARENT}-01", f"ff-{TRACE}-{PARENT}-01"]
)
def test_a_parent_that_is_none_begins_a_trace(begin, collector, parent):
    server = begin(collector.endpoint)
    call(server.address, traceparent=parent)
    server.stop()
    (span,) = collector.spans
    assert span.parent_span_id == b""


def test_a_collector_that_takes_nothing_holds_up_nobody(begin, monkeypatch):
    monkeypatch.setattr(tracing, "CLOSE_S", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        server = begin(f"http://127.0.0.1:{silent.getsockname()[1]}")
        assert call(server.address)
        began = time.monotonic()
        server.stop()
        assert time.monotonic() - began < 5


@pytest.mark.parametrize(
    "wrong", ["127.0.0.1:4317", "http://", "http://host", "ftp://h:1", "http://h:x", "http://h:1/v1"]
)
def test_a_wrong_endpoint_is_named(wrong):
    with pytest.raises(UsageError, match="trace_endpoint: expected http://HOST:PORT"):
        ServerConfig(trace_endpoint=wrong)


def test_without_the_extra_it_is_said_to_be_missing(own_home, publish_to, monkeypatch, capsys):
    publish_to(0)
    own_home.settings_file.write_text('[serve]\ntrace_endpoint = "http://127.0.0.1:4317"\n')
    for name in [name for name in sys.modules if name.startswith("opentelemetry.exporter")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter", None)
    assert run(["serve", "--home", str(own_home.root), "--port", "0"]) == 2
    out, err = capsys.readouterr()
    assert (out, len(err.splitlines())) == ("", 1)
    assert "expected the extra tracing (pip install 'surgecast[tracing]')" in err


def test_nothing_is_imported_where_nothing_is_traced(own_home):
    code = (
        "import sys; from pathlib import Path; from forecast.home import Home\n"
        "from serving.server import Server, ServerConfig\n"
        f"Server(Home(Path({str(own_home.root)!r})), ServerConfig(port=0))\n"
        "print([name for name in sys.modules if name.startswith('opentelemetry')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
