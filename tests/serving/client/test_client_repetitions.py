"""What a client asks again, and what it must not."""

import asyncio
import time

import pytest
from cutting_proxy import cutting_proxy
from google.protobuf.duration_pb2 import Duration
from google.rpc import code_pb2, error_details_pb2
from planner_server import full, refusal

from forecast.errors import BusyError, InputError
from serving.client import AsyncClient, Client

KEY = {"item": "i", "location": "L", "platform": "P"}
CHANGES = {"rollback": ("too low",), "reload": ()}


@pytest.fixture(params=["threads", "asyncio"])
def call(request):
    """Calls a method of either client."""

    def with_threads(address, method, *arguments, **options):
        with Client(address) as client:
            return getattr(client, method)(*arguments, **options)

    def with_asyncio(address, method, *arguments, **options):
        async def asked():
            async with AsyncClient(address) as client:
                return await getattr(client, method)(*arguments, **options)

        return asyncio.run(asked())

    return with_threads if request.param == "threads" else with_asyncio


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_whose_reply_is_lost_is_made_once_and_said_to_be_open(call, models, address, change):
    with (
        cutting_proxy(address, lambda: bool(models.requests)) as proxy,
        pytest.raises(BusyError, match=r"may have been done or not: surgecast snapshots --address") as caught,
    ):
        call(proxy, change, *CHANGES[change])
    assert proxy in str(caught.value)
    assert len(models.requests) == 1


def test_a_read_whose_reply_is_lost_is_made_again(call, planner, address):
    with cutting_proxy(address, lambda: bool(planner.requests)) as proxy:
        assert call(proxy, "forecast", **KEY).key.item == "i"
    assert len(planner.requests) == 2


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_that_was_not_begun_is_made_again(call, models, address, change):
    models.refusals = [full(0.01)] * 2
    assert call(address, change, *CHANGES[change]).bundle == "b1"
    assert len(models.requests) == 3


@pytest.mark.parametrize("code", [code_pb2.UNAVAILABLE, code_pb2.RESOURCE_EXHAUSTED, code_pb2.INTERNAL])
def test_a_change_that_failed_somehow_is_not_made_again(call, models, address, code):
    models.refusals = [refusal(code, "who knows")]
    with pytest.raises(Exception, match="who knows"):
        call(address, "rollback", "too low")
    assert len(models.requests) == 1


def test_a_change_that_reached_nobody_was_not_done(call):
    with pytest.raises(BusyError) as caught:
        call("127.0.0.1:1", "rollback", "too low")
    assert "may have been done" not in str(caught.value)


def test_a_model_that_is_loading_is_asked_again_when_it_says(call, planner, address):
    wait = error_details_pb2.RetryInfo(retry_delay=Duration(nanos=300_000_000))
    planner.refusals = [refusal(code_pb2.UNAVAILABLE, "loading", wait)]
    begun = time.monotonic()
    assert call(address, "new_series", **KEY).key.item == "i"
    assert time.monotonic() - begun >= 0.3
    assert len(planner.requests) == 2


def test_too_large_a_request_is_told_and_not_sent_again(planner, address, monkeypatch):
    def waited(_seconds):
        raise AssertionError("asked again")

    monkeypatch.setattr("serving.client.calls.time.sleep", waited)
    labels = {f"label-{n}": ["x" * 1_000] * 1_000 for n in range(5)}
    with Client(address) as client, pytest.raises(InputError) as caught:
        next(client.list_series(labels=labels))
    assert caught.value.field == "request"
    assert caught.value.expected == "at most 4,194,304 bytes; ask for less at once"
    assert not planner.requests
