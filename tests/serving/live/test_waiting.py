"""Reads beside a busy model, and callers who leave: a real gRPC server in this process, its model held."""

from __future__ import annotations

import threading

import grpc
import pytest
from surgecast.v1 import forecast_pb2 as pb
from waiting import until

from forecast.planning.live import LiveModel
from serving.live.engine import LiveConfig
from serving.live.queue import QueueConfig
from serving.server import Server, ServerConfig
from tests.support.live_home import make_home, panel_of, publish_bundle, wild_bundle

SERVICE = "/surgecast.v1.ForecastService/"


class Held:
    """The model of a server, which answers when it may."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.asked: list[int] = []
        self.begun, self.may_go = threading.Event(), threading.Event()
        answer = LiveModel.answer

        def held(model, questions):
            self.asked.append(len(questions))
            self.begun.set()
            assert self.may_go.wait(30)
            return answer(model, questions)

        monkeypatch.setattr(LiveModel, "answer", held)


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    home = make_home(tmp_path_factory.mktemp("waiting"))
    publish_bundle(home, wild_bundle(panel_of(home)))
    server = Server(home, ServerConfig(port=0, live=LiveConfig(queue=QueueConfig(size=8))))
    server.start()
    until(lambda: server.live._live is not None)
    yield server
    server.stop()


@pytest.fixture
def calls(running):
    item, location, platform = next(iter(running.store.current.snapshot.index))
    key = pb.SeriesKey(item=item, location=location, platform=platform)
    change = pb.Change(event=pb.EventChange(kind="double-11", move_days=1))
    question = pb.SimulateScenarioRequest(keys=[key], changes=[change]).SerializeToString()
    with grpc.insecure_channel(running.address) as channel:
        what_if = channel.unary_unary(SERVICE + "SimulateScenario")
        read = channel.unary_unary(SERVICE + "GetForecast")
        yield (
            lambda **options: what_if.future(question, **options),
            lambda: read(pb.GetForecastRequest(key=key).SerializeToString(), timeout=10),
        )


def test_reads_go_on_while_questions_wait_and_too_many_are_refused(running, calls, monkeypatch):
    model, (what_if, read) = Held(monkeypatch), calls
    first = what_if(timeout=30)
    assert model.begun.wait(10)
    waiting = [what_if(timeout=30) for _ in range(8)]
    until(lambda: len(running.live._queue._waiting) == 8)
    with pytest.raises(grpc.RpcError) as caught:
        what_if(timeout=10).result()
    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert "at most 8 questions" in caught.value.details()
    assert read()
    model.may_go.set()
    assert len({call.result() for call in [first, *waiting]}) == 1
    assert model.asked == [1, 8]


def test_callers_who_leave_or_have_no_time_never_reach_the_model(running, calls, monkeypatch):
    model, (what_if, _) = Held(monkeypatch), calls
    first = what_if(timeout=30)
    assert model.begun.wait(10)
    leaving, hasty = what_if(timeout=30), what_if(timeout=0.3)
    until(lambda: len(running.live._queue._waiting) == 2)
    leaving.cancel()
    assert hasty.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    until(lambda: not any(one.call.active() for one in running.live._queue._waiting))
    model.may_go.set()
    assert first.result()
    assert what_if(timeout=30).result()
    assert model.asked == [1, 1]
