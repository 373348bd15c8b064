"""A real server process under callers that mean no good, or know no better."""

import os
import random
import select
import signal
import socket
import time
from contextlib import ExitStack, closing, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import grpc
import pytest
from access import bearer, refusal, refused, token
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from raw_http2 import RawCaller, frame, headers
from waiting import until

from forecast.snapshot import move_pointer, write_snapshot
from serving.access.admission import IDLE_S
from serving.access.tokens import revoke_token

SERVING = "/surgecast.v1.ModelService/GetServingModel"
GET = "/surgecast.v1.ForecastService/GetForecast"
BATCH = "/surgecast.v1.ForecastService/BatchGetForecasts"


@pytest.fixture
def published(own_home, publication):
    snapshot = write_snapshot(
        own_home, publication.forecasts, publication.panel, bundle_id="b1", model_version="3"
    )
    move_pointer(own_home, snapshot)
    return own_home


@contextmanager
def asking(server):
    """A fresh connection's `GetServingModel`."""
    options = (("grpc.use_local_subchannel_pool", 1),)
    with grpc.insecure_channel(server.address, options) as channel:
        yield channel.unary_unary(SERVING)


def answers(server):
    """Whether it does; for a moment after a flood it refuses, politely."""
    with asking(server) as ask:
        call = ask.future(b"", timeout=10)
        if call.exception() is None:
            return True
        assert call.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        return False


def test_a_running_server_notices_tokens(published, spawn):
    server = spawn(published)
    with asking(server) as ask:

        def code(headers=()):
            call = ask.future(b"", metadata=headers, timeout=10)
            return None if call.exception() is None else refusal(call.exception())[0]

        assert code() is None
        first = bearer(token(published, "first"))
        until(lambda: code() is grpc.StatusCode.UNAUTHENTICATED)
        until(lambda: any("GetServingModel refused, UNAUTHENTICATED" in line for line in server.lines))
        assert code(first) is None
        second = bearer(token(published, "second"))
        until(lambda: code(second) is None)
        revoke_token(published, "first")
        until(lambda: code(first) is grpc.StatusCode.UNAUTHENTICATED)
        assert code(second) is None
        published.tokens_file.write_text("damaged")
        until(lambda: code(second) is None and any("tokens stay as" in line for line in server.lines))
        assert code() is grpc.StatusCode.UNAUTHENTICATED
        published.tokens_file.unlink()
        until(lambda: code(second) is grpc.StatusCode.UNAUTHENTICATED)
        assert code() is grpc.StatusCode.UNAUTHENTICATED, "once closed, it stays closed"
    assert server.kill(signal.SIGTERM) == 0


def test_strangers_see_health_and_nothing_else(published, spawn):
    text = token(published)
    server = spawn(published)
    with grpc.insecure_channel(server.address) as channel:
        health = health_pb2_grpc.HealthStub(channel)
        assert health.Check(health_pb2.HealthCheckRequest(), timeout=10).status == 1
        assert next(health.Watch(health_pb2.HealthCheckRequest(), timeout=10)).status == 1
        reflect = reflection_pb2_grpc.ServerReflectionStub(channel).ServerReflectionInfo
        asked = reflection_pb2.ServerReflectionRequest(list_services="")
        for path in (SERVING, GET, "/surgecast.v1.ForecastService/Nothing", "/any.Other/Method"):
            code, details = refused(channel.unary_unary(path), b"", timeout=10)
            assert code is grpc.StatusCode.UNAUTHENTICATED
            assert details["ErrorInfo"].metadata["field"] == "authorization"
        code, _ = refused(lambda: list(reflect(iter([asked]), timeout=10)))
        assert code is grpc.StatusCode.UNAUTHENTICATED
        replies = reflect(iter([asked]), timeout=10, metadata=bearer(text))
        assert any(reply.list_services_response.service for reply in replies)


def test_tokens_that_will_not_do(published, spawn):
    yesterday = datetime.now(UTC) - timedelta(days=1)
    expired = token(published, "expired", expires=yesterday)
    other = token(published, "shop", "ingest")
    good = token(published, "good")
    server = spawn(published)
    with asking(server) as ask:
        assert ask(b"", metadata=bearer(good), timeout=10)
        for headers_, said in (
            ((), "none"),
            (bearer(expired), "expired"),
            (bearer(good[:-3] + "AAA"), "not"),
        ):
            code, details = refused(ask, b"", metadata=headers_, timeout=10)
            assert code is grpc.StatusCode.UNAUTHENTICATED
            assert said in details["ErrorInfo"].metadata["found"]
        code, details = refused(ask, b"", metadata=bearer(other), timeout=10)
        assert code is grpc.StatusCode.PERMISSION_DENIED
        assert details["ErrorInfo"].metadata["found"] == "shop, of role ingest"


def test_garbage_in_the_header_is_no_token(published, spawn):
    token(published)
    server = spawn(published)
    with asking(server) as ask:
        for text in ("", "Bearer", "Bearer " + "x" * 4_000, "Bearer a b c", "bearer surgecast_"):
            headers_ = (("authorization", text),)
            assert refused(ask, b"", metadata=headers_, timeout=10)[0] is grpc.StatusCode.UNAUTHENTICATED


def garbage():
    """Bytes that are no HTTP/2, or a broken one, from a fixed seed."""
    chance = random.Random(7)
    yield b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
    yield b"POST /surgecast.v1.ModelService/GetServingModel HTTP/1.0\r\n\r\n" + b"\x00" * 999
    yield bytes.fromhex("16030100c8010000c40303") + chance.randbytes(193)  # a TLS hello
    yield bytes(range(256)) * 300
    yield b"\x00" * 100_000
    opening = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
    yield opening + b"\xff" * 99
    yield opening + frame(4, 0, 0) + frame(1, 4, 1, b"\xff" * 200)  # no HPACK
    yield opening + frame(4, 0, 0) + frame(1, 4, 2, headers(SERVING))  # an even stream
    yield opening + frame(4, 0, 0) + frame(0, 1, 1, b"data before headers")
    yield opening + frame(4, 0, 0) + frame(6, 0, 0, b"8 bytes.") * 5_000  # a flood of pings
    yield opening + frame(4, 0, 0) * 5_000
    message = frame(0, 1, 1, b"\x00\x7f\xff\xff\xff")  # says that 2 GiB follow
    yield opening + frame(4, 0, 0) + frame(1, 4, 1, headers(GET)) + message
    message = frame(0, 1, 1, b"\x01\x00\x00\x00\x04abcd")  # says that it is compressed
    yield opening + frame(4, 0, 0) + frame(1, 4, 1, headers(GET)) + message
    reset = b"".join(frame(1, 4, n, headers(GET)) + frame(3, 0, n, b"\0\0\0\x08") for n in range(1, 2_001, 2))
    yield opening + frame(4, 0, 0) + reset  # a thousand calls, each taken back at once
    for _ in range(150):
        yield opening[: chance.randrange(len(opening) + 1)] + chance.randbytes(chance.randrange(1, 3_000))


def test_garbage_on_the_port_harms_nobody(server):
    host, _, port = server.address.rpartition(":")
    for content in garbage():
        with socket.create_connection((host, int(port)), timeout=5) as connection:
            try:
                connection.sendall(content)
            except OSError:  # hung up on
                continue
    until(lambda: answers(server), 1)
    assert server.process.poll() is None
    assert not any("Traceback" in line for line in server.lines)


def test_callers_that_send_no_request_keep_nobody_waiting(server):
    with ExitStack() as stack:
        for _ in range(4):
            caller = stack.enter_context(closing(RawCaller(server.address)))
            for _ in range(10):
                caller.call(GET, None)
        until(lambda: answers(server), 1)
        time.sleep(2 * IDLE_S)  # in which some of them are still taken for busy
        end = time.monotonic() + 2
        with asking(server) as ask:
            while time.monotonic() < end:
                ask(b"", timeout=1)


def test_many_watchers_keep_nobody_waiting(server):
    with grpc.insecure_channel(server.address) as channel, ExitStack() as stack:
        health = health_pb2_grpc.HealthStub(channel)
        for _ in range(60):
            watch = health.Watch(health_pb2.HealthCheckRequest())
            stack.callback(watch.cancel)
            assert next(watch).status == health_pb2.HealthCheckResponse.SERVING
        assert answers(server)
        assert health.Check(health_pb2.HealthCheckRequest(), timeout=10).status == 1


def test_idle_reflection_keeps_nobody_waiting(server):
    with grpc.insecure_channel(server.address) as channel, ExitStack() as stack:
        reflect = reflection_pb2_grpc.ServerReflectionStub(channel).ServerReflectionInfo

        def ask_and_stay():
            yield reflection_pb2.ServerReflectionRequest(list_services="")
            select.select([], [], [], 5)

        for _ in range(4):
            call = reflect(ask_and_stay())
            stack.callback(call.cancel)
            assert next(call)
        code, details = refused(reflect(ask_and_stay()).__next__)
        assert code is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert details["RetryInfo"].retry_delay.ToNanoseconds() > 0
        assert answers(server)


def test_a_malformed_health_question_is_the_caller_s_fault(server):
    with grpc.insecure_channel(server.address) as channel:
        for name in ("Check", "Watch"):
            call = channel.unary_stream(f"/grpc.health.v1.Health/{name}")
            code, details = refused(lambda call=call: list(call(b"\xff\xff\xff", timeout=10)))
            assert code is grpc.StatusCode.INVALID_ARGUMENT
            assert details["ErrorInfo"].metadata["field"] == "request"


def is_open(connection):
    try:
        connection.setblocking(False)
        return connection.recv(1, socket.MSG_PEEK) != b""
    except BlockingIOError:
        return True
    except OSError:
        return False


def test_ten_thousand_idle_connections_are_refused_beyond_the_cap(published, spawn):
    published.settings_file.write_text("[serve]\nmax_connections = 100\n")
    server = spawn(published)
    host, _, port = server.address.rpartition(":")
    with asking(server) as ask, ExitStack() as stack:
        assert ask(b"", timeout=10)
        idle = [
            stack.enter_context(socket.create_connection((host, int(port)), timeout=10))
            for _ in range(10_000)
        ]
        until(lambda: sum(map(is_open, idle)) <= 100)
        assert ask(b"", timeout=10), "who is connected goes on"
        files = len(list(Path(f"/proc/{server.process.pid}/fd").iterdir()))
        assert files < 300
    until(lambda: answers_eventually(server))


def answers_eventually(server):
    with asking(server) as ask:
        return ask.future(b"", timeout=2).exception() is None


def test_slow_readers_hold_no_memory(published, spawn):
    from surgecast.v1 import forecast_pb2 as pb

    key = pb.SeriesKey(item="SKU-001", location="Hangzhou", platform="Tmall")
    content = pb.BatchGetForecastsRequest(keys=[key] * 500).SerializeToString()
    published.settings_file.write_text("[serve]\nmax_unsent_mb = 16\n")
    server = spawn(published)

    def resident():
        statm = Path(f"/proc/{server.process.pid}/statm").read_text()
        return int(statm.split()[1]) * os.sysconf("SC_PAGE_SIZE")

    assert answers(server)
    before = resident()
    with ExitStack() as stack:
        for _ in range(20):
            caller = stack.enter_context(closing(RawCaller(server.address)))
            for _ in range(20):  # 400 answers of half a megabyte, none of them read
                caller.call(BATCH, content)
        health = stack.enter_context(grpc.insecure_channel(server.address))
        asked = health_pb2.HealthCheckRequest()
        assert health_pb2_grpc.HealthStub(health).Check(asked, timeout=10).status == 1
        assert resident() - before < 100 << 20
    until(lambda: answers_eventually(server))
