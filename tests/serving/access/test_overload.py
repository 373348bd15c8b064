"""A real server process that is asked for more than it can answer."""

import time

import grpc
from flood import Flood, open_channel
from surgecast.v1 import forecast_pb2 as pb

from serving.access.admission import OVERLOADED_S

BATCH = "/surgecast.v1.ForecastService/BatchGetForecasts"
KEY = pb.SeriesKey(item="SKU-001", location="Hangzhou", platform="Tmall")
CONTENT = pb.BatchGetForecastsRequest(keys=[KEY] * 300).SerializeToString()

SMALL = pb.BatchGetForecastsRequest(keys=[KEY]).SerializeToString()


def test_the_excess_is_told_when_to_ask_again_and_full_speed_returns(server):
    with open_channel(server.address) as channel:
        ask = channel.unary_unary(BATCH)
        expected = ask(CONTENT, timeout=10)
        with Flood(server.address, BATCH, CONTENT, rate=3_000) as flood:
            end = time.monotonic() + 20
            while flood.codes["RESOURCE_EXHAUSTED"] < 300 or flood.codes["OK"] < 100:
                assert time.monotonic() < end, flood.codes
                time.sleep(0.05)
        assert set(flood.codes) == {"OK", "RESOURCE_EXHAUSTED"}
        assert flood.unexplained == 0
        end = time.monotonic() + 5
        while ask.future(CONTENT, timeout=10).exception() is not None:
            assert time.monotonic() < end
        time.sleep(OVERLOADED_S)
        burst = [ask.future(SMALL, timeout=20) for _ in range(20)]
        assert {call.code() for call in burst} == {grpc.StatusCode.OK}, "a burst is let in again"
        assert ask(CONTENT, timeout=10) == expected
