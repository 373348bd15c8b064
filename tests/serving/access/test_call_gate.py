"""What the gate does to calls: who may, how many, how long, and that everything is given back."""

import json
import threading
import time
from contextlib import closing

import grpc
import pytest
from access import bearer, refused, token
from operating import RETRY
from raw_http2 import RawCaller
from waiting import until

from forecast.errors import BusyError
from serving.access.admission import Bounds
from serving.methods import Method

SERVICE = "surgecast.v1.ModelService"
ROLLBACK = f"/{SERVICE}/Rollback"
QUICK = "/test.Service/Quick"
RETRIES = (("grpc.service_config", RETRY),)


def quick(answer=lambda content, _call: content):
    return Method(service="test.Service", name="Quick", answer=answer)


def rollback(answer=lambda _content, _call: b"done"):
    return Method(service=SERVICE, name="Rollback", answer=answer, role="admin")


def idle(gate):
    until(lambda: not any(lane.calls for lane in gate.lanes.values()))
    until(lambda: gate.timekeeper.unsent == 0)
    return True


@pytest.fixture
def held():
    """An answer that waits until it may end; how many have begun."""

    class Held:
        go = threading.Event()
        begun = 0

        def answer(self, content, _call):
            self.begun += 1
            assert self.go.wait(20)
            return content

    one = Held()
    yield one
    one.go.set()


def records(home):
    return [json.loads(line) for line in home.audit_file.read_text().splitlines()]


@pytest.mark.parametrize(("retry_s", "calls"), [(0.3, 2), (0.0, 1)])
def test_a_retry_policy_is_told_when_to_ask_again_and_when_not_to(gated, retry_s, calls):
    made = []

    def loading(content, _call):
        made.append(time.monotonic())
        if len(made) == 1:
            raise BusyError("model", expected="one", found="one that is loading", retry_s=retry_s)
        return content

    with gated(quick(loading)) as (_, _, address), grpc.insecure_channel(address, RETRIES) as channel:
        ask = channel.unary_unary(QUICK)
        if retry_s:
            assert ask(b"x", timeout=10) == b"x"
            assert made[1] - made[0] >= retry_s
        else:
            assert refused(ask, b"x", timeout=10)[0] is grpc.StatusCode.UNAVAILABLE
        assert len(made) == calls


def test_roles(own_home, gated):
    texts = {role: token(own_home, role, role) for role in ("planner", "ingest", "admin")}
    with gated(quick(), rollback()) as (gate, channel, _):
        ask, back = channel.unary_unary(QUICK), channel.unary_unary(ROLLBACK)
        for role in ("planner", "admin"):
            assert ask(b"x", metadata=bearer(texts[role])) == b"x"
        assert back(b"", metadata=bearer(texts["admin"])) == b"done"
        for call, role in ((ask, "ingest"), (back, "planner"), (back, "ingest")):
            code, details = refused(call, b"", metadata=bearer(texts[role]))
            assert code is grpc.StatusCode.PERMISSION_DENIED
            assert details["ErrorInfo"].reason == "ROLE"
            assert role in details["ErrorInfo"].metadata["found"]
        for headers in ((), bearer("nonsense"), bearer(texts["planner"]) * 2):
            for call in (ask, back):
                assert refused(call, b"", metadata=headers)[0] is grpc.StatusCode.UNAUTHENTICATED
        assert idle(gate)


def test_changes_are_recorded_with_who_and_what_and_never_the_token(own_home, gated):
    from surgecast.v1 import model_pb2

    admin, planner = token(own_home, "boss", "admin"), token(own_home, "p")

    def answer(content, _call):
        if b"later" in content:
            raise BusyError("pointer", expected="to be free", found="held")
        return b"done"

    with gated(rollback(answer)) as (_, channel, _address):
        back = channel.unary_unary(ROLLBACK)
        ask = model_pb2.RollbackRequest(snapshot_id="s1", reason="wrong 价格").SerializeToString()
        back(ask, metadata=bearer(admin))
        later = model_pb2.RollbackRequest(reason="later").SerializeToString()
        assert refused(back, later, metadata=bearer(admin))[0] is grpc.StatusCode.UNAVAILABLE
        refused(back, ask, metadata=bearer(planner))
        refused(back, ask)
    found = records(own_home)
    assert [(r["who"], r["outcome"].partition(":")[0]) for r in found] == [
        ("boss", "begun"),
        ("boss", "done"),
        ("boss", "begun"),
        ("boss", "failed"),
        ("p", "refused"),
    ]
    assert "wrong 价格" in found[0]["request"]
    assert "UNAVAILABLE: pointer: expected to be free" in found[3]["outcome"]
    assert all(r["from"].startswith("ipv4:127.0.0.1") for r in found)
    text = own_home.audit_file.read_text()
    assert admin not in text
    assert admin.rpartition("_")[2] not in text


def test_a_change_that_cannot_be_recorded_is_not_made(own_home, gated):
    own_home.audit_file.symlink_to("/dev/full")
    made = []
    with gated(quick(), rollback(lambda content, _: made.append(content) or b"")) as (gate, channel, _):
        code, details = refused(channel.unary_unary(ROLLBACK), b"")
        assert code is grpc.StatusCode.UNAVAILABLE
        assert details["ErrorInfo"].metadata["field"] == "audit log"
        assert "No space left" in details["ErrorInfo"].metadata["found"]
        assert not made
        assert channel.unary_unary(QUICK)(b"x") == b"x", "reads go on"
        assert idle(gate)


def test_what_is_more_than_the_bound_is_refused_with_a_wait(gated, held):
    bounds = Bounds(quick=2)
    with gated(quick(held.answer), bounds=bounds) as (gate, channel, _):
        ask = channel.unary_unary(QUICK)
        calls = [ask.future(b"x", timeout=20) for _ in range(16)]
        until(lambda: gate.lanes["quick"].calls == 16)
        code, details = refused(ask, b"x", timeout=20)
        assert code is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert details["RetryInfo"].retry_delay.ToNanoseconds() > 0
        assert details["ErrorInfo"].reason == "OVERLOAD"
        held.go.set()
        assert [call.result() for call in calls] == [b"x"] * 16
        assert idle(gate)
        until(lambda: ask.future(b"y", timeout=20).exception() is None)


def test_full_of_one_kind_others_are_answered(gated, held):
    heavy = Method(service="test.Service", name="AggregateForecast", answer=held.answer)
    with gated(quick(), heavy, rollback()) as (gate, channel, _):
        ask = channel.unary_unary(heavy.path)
        calls = [ask.future(b"x", timeout=20) for _ in range(60)]
        until(lambda: held.begun == 2)
        assert channel.unary_unary(QUICK)(b"x", timeout=10) == b"x"
        assert channel.unary_unary(ROLLBACK)(b"", timeout=10) == b"done"
        held.go.set()
        codes = {call.code() for call in calls}
        assert codes == {grpc.StatusCode.OK, grpc.StatusCode.RESOURCE_EXHAUSTED}
        assert idle(gate)


def test_late_and_cancelled_calls_are_not_worked_on(gated, held):
    with gated(quick(held.answer)) as (gate, channel, _):
        ask = channel.unary_unary(QUICK)
        first = ask.future(b"first", timeout=20)
        until(lambda: held.begun == 1)
        late = [ask.future(b"late", timeout=0.2) for _ in range(3)]
        gone = [ask.future(b"gone", timeout=20) for _ in range(3)]
        until(lambda: gate.lanes["quick"].calls == 7)
        for call in gone:
            call.cancel()
        assert {call.code() for call in late} == {grpc.StatusCode.DEADLINE_EXCEEDED}
        held.go.set()
        assert first.result() == b"first"
        assert idle(gate)
        assert held.begun == 1


def test_a_token_has_its_own_limits(own_home, gated, held):
    narrow = bearer(token(own_home, "narrow", concurrency=1))
    slow = bearer(token(own_home, "slow", rate=1))
    with gated(quick(held.answer)) as (gate, channel, _):
        ask = channel.unary_unary(QUICK)
        first = ask.future(b"x", metadata=narrow, timeout=20)
        until(lambda: gate.lanes["quick"].calls == 1)
        code, details = refused(ask, b"x", metadata=narrow)
        assert code is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert details["ErrorInfo"].metadata["field"] == "token narrow"
        held.go.set()
        assert first.result() == b"x"
        assert ask(b"x", metadata=slow) == b"x"
        code, details = refused(ask, b"x", metadata=slow)
        assert "1 calls per second" in details["ErrorInfo"].metadata["expected"]
        assert 0 < details["RetryInfo"].retry_delay.ToNanoseconds() <= 1_010_000_000
        assert idle(gate)
        assert ask(b"x", metadata=narrow) == b"x"


def test_a_call_without_a_request_holds_its_place_for_seconds_only(gated, monkeypatch):
    monkeypatch.setattr("serving.access.guard.RECEIVE_S", 0.3)
    with gated(quick()) as (gate, channel, _):
        never = threading.Event()

        def requests():
            never.wait(20)
            yield b"x"

        stuck = [channel.stream_unary(QUICK).future(requests()) for _ in range(8)]
        until(lambda: gate.lanes["quick"].calls == 8)
        assert channel.unary_unary(QUICK)(b"x", timeout=10) == b"x", "they hold no turn"
        assert {call.code() for call in stuck} == {grpc.StatusCode.CANCELLED}
        assert idle(gate)
        never.set()
        empty = channel.stream_unary(QUICK)
        code, details = refused(empty, iter(()))
        assert code is grpc.StatusCode.INVALID_ARGUMENT
        assert details["ErrorInfo"].metadata["field"] == "request"


def test_a_stream_ends_in_time_and_gives_back_its_place(gated):
    ended = threading.Event()

    def pieces(_content, _call):
        try:
            while True:
                yield b"piece"
        finally:
            ended.set()

    endless = Method(service="test.Service", name="Endless", stream=pieces)
    with gated(endless, bounds=Bounds(streams=1, stream_seconds=0.3)) as (gate, channel, _):
        call = channel.unary_stream(endless.path)(b"")
        assert next(call) == b"piece"
        assert refused(channel.unary_stream(endless.path)(b"").__next__)[0] is (
            grpc.StatusCode.RESOURCE_EXHAUSTED
        )
        code, details = refused(lambda: list(call))
        assert code is grpc.StatusCode.DEADLINE_EXCEEDED
        assert "0.3 s" in details["ErrorInfo"].metadata["expected"]
        assert ended.wait(10)
        assert idle(gate)
        gone = channel.unary_stream(endless.path)(b"")
        assert next(gone) == b"piece"
        gone.cancel()
        assert idle(gate)


def test_a_slow_reader_of_a_stream_is_cut_off_and_holds_no_memory(gated, monkeypatch):
    monkeypatch.setattr("serving.access.guard.TAKE_S", 0.5)
    made = []

    def pieces(_content, _call):
        for n in range(10_000):
            made.append(n)
            yield b"x" * (1 << 20)

    export = Method(service="test.Service", name="Export", stream=pieces)
    with gated(export) as (gate, channel, _):
        call = channel.unary_stream(export.path)(b"")
        assert next(call)
        until(lambda: gate.lanes["stream"].calls == 0)
        assert len(made) < 40, "pieces are made as they are taken"
        call.cancel()
        assert idle(gate)


def test_answers_that_nobody_takes_are_bounded(gated, monkeypatch):
    monkeypatch.setattr("serving.access.timekeeper.TAKE_S", 2.0)
    large = quick(lambda _content, _call: b"x" * (3 << 20))
    serving = gated(large, bounds=Bounds(unsent_bytes=8 << 20))
    with serving as (gate, channel, address), closing(RawCaller(address)) as caller:
        for _ in range(8):
            caller.call(QUICK, b"x")
        until(lambda: gate.timekeeper.unsent > 8 << 20 and not gate.lanes["quick"].calls)
        code, details = refused(channel.unary_unary(QUICK), b"x", timeout=10)
        assert code is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert details["ErrorInfo"].metadata["field"] == "answers"
        assert details["RetryInfo"].retry_delay.ToNanoseconds() > 0
        assert idle(gate), "cut off when the time to take them is over"


def test_a_handler_that_fails_gives_back_its_place(own_home, gated):
    def fail(_content, _call):
        raise BusyError("thing", expected="it", found="none")

    with gated(quick(fail)) as (gate, channel, _):
        for _ in range(30):
            assert refused(channel.unary_unary(QUICK), b"")[0] is grpc.StatusCode.UNAVAILABLE
        with pytest.raises(grpc.RpcError) as unknown:
            channel.unary_unary("/test.Service/Other")(b"")
        assert unknown.value.code() is grpc.StatusCode.UNIMPLEMENTED
        assert idle(gate)
