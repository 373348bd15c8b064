"""How a server ends: told first, calls in flight answered, new ones sent elsewhere, watches closed."""

import signal
import threading
import time
from contextlib import ExitStack, closing

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from operating import GET, KEY
from raw_http2 import RawCaller
from surgecast.v1 import forecast_pb2

from forecast.errors import BusyError
from serving.client import Client


@pytest.fixture
def server(own_home, publish_to, spawn, request):
    publish_to(0)
    return spawn(own_home, "--workers", getattr(request, "param", "1"))


@pytest.mark.parametrize("server", ["1", "2"], indirect=True)
def test_ending_is_told_first_and_waits_for_calls_in_flight(server):
    with ExitStack() as stack:
        channel = stack.enter_context(grpc.insecure_channel(server.address))
        watching = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest(), timeout=30)
        assert next(watching).status == health_pb2.HealthCheckResponse.SERVING
        callers = [stack.enter_context(closing(RawCaller(server.address))) for _ in range(8)]
        for caller in callers:  # of either process
            caller.call(GET, None)
        time.sleep(0.2)
        server.process.send_signal(signal.SIGTERM)
        assert next(watching).status == health_pb2.HealthCheckResponse.NOT_SERVING
        with Client(server.address) as late, pytest.raises(BusyError):  # noqa: PT012
            for _ in range(100):  # told first: a call may still come in between
                late.forecast(**KEY)
                time.sleep(0.05)
        assert server.process.poll() is None
        for caller in callers:
            caller.close()
        assert server.process.wait(3) == 0


def test_a_watch_keeps_no_server_from_ending(server):
    with grpc.insecure_channel(server.address) as channel:
        watching = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest())
        assert next(watching).status == health_pb2.HealthCheckResponse.SERVING
        server.process.send_signal(signal.SIGTERM)
        assert next(watching).status == health_pb2.HealthCheckResponse.NOT_SERVING
        assert server.process.wait(5) == 0, "and not after all the time that calls in flight have"


def test_no_call_that_came_in_is_dropped(server):
    """Whoever is not answered is told to ask elsewhere, or again."""
    request = forecast_pb2.GetForecastRequest(key=forecast_pb2.SeriesKey(**KEY)).SerializeToString()
    codes, begun = [], threading.Semaphore(0)

    def ask():
        with grpc.insecure_channel(server.address, (("grpc.enable_retries", 0),)) as channel:
            call = channel.unary_unary(GET)
            code = None
            while code is None or (code == grpc.StatusCode.UNAVAILABLE and server.process.poll() is None):
                future = call.future(request, timeout=10)
                code = None if future.exception() is None else future.code()
                codes.append(code)
                begun.release()
                if code is not None:
                    time.sleep(0.2)  # as callers do who are told to ask later

    callers = [threading.Thread(target=ask) for _ in range(4)]
    for caller in callers:
        caller.start()
    for _ in range(100):
        assert begun.acquire(timeout=10)
    server.process.send_signal(signal.SIGTERM)
    for caller in callers:
        caller.join(20)
    assert server.process.wait(5) == 0
    assert set(codes) == {None, grpc.StatusCode.UNAVAILABLE}
