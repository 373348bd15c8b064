"""Answers and refusals of a real server process."""

import socket

import grpc
import numpy as np
import pytest
from google.rpc import error_details_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from grpc_status import rpc_status
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from surgecast.v1 import forecast_pb2 as pb

from forecast.errors import BusyError, InputError, NotFoundError
from serving.client import Client

SERVICE = "/surgecast.v1.ForecastService/"
KEY = pb.SeriesKey(item="SKU-001", location="Hangzhou", platform="Tmall")


@pytest.fixture(scope="module")
def channel(server):
    with grpc.insecure_channel(server.address) as opened:
        yield opened


def failure(channel, method, request):
    """Code and details, by type, of a call that must fail."""
    content = request if isinstance(request, bytes) else request.SerializeToString()
    with pytest.raises(grpc.RpcError) as caught:
        channel.unary_unary(SERVICE + method)(content, timeout=10)
    status = rpc_status.from_call(caught.value)
    found = {}
    for detail in status.details:
        kind = detail.TypeName().rpartition(".")[2]
        found[kind] = getattr(error_details_pb2, kind)()
        assert detail.Unpack(found[kind])
    assert found["ErrorInfo"].domain == "surgecast"
    return caught.value.code(), found


def test_one_series(client, publication):
    forecasts, panel = publication
    answer = client.forecast(item="SKU-001", location="Hangzhou", platform="Tmall")
    assert answer.key == ("SKU-001", "Hangzhou", "Tmall")
    assert np.array_equal(answer.mean, forecasts.mean_SH[6])
    np.testing.assert_allclose(answer.quantiles, forecasts.quantiles_SHQ[6], rtol=2**-11, atol=1e-5)
    assert np.array_equal(answer.times, forecasts.times)
    assert np.array_equal(answer.history, panel.demand_ST[6], equal_nan=True)
    assert answer.history_times[-1] == answer.source.origin == panel.origin
    assert [event.phase for event in answer.events] == ["warm-up", "day"]
    assert answer.source.model_version == "3"
    assert answer.source.snapshot == client.serving_model().source.snapshot


def test_missing_history_stays_missing(client):
    answer = client.forecast(item="SKU-000", location="上海", platform="Tmall", horizon=3)
    assert np.isnan(answer.history[-3])
    assert answer.mean.shape == (3,)
    assert answer.quantiles.shape == (3, 17)


def test_batch_keeps_order_and_splits(client, publication):
    keys = publication.forecasts.keys
    rows = np.random.default_rng(1).integers(0, 12, 2_500)
    wanted = [(str(keys.item[r]), str(keys.location[r]), str(keys.platform[r])) for r in rows]
    answers = client.forecasts(wanted, horizon=5)
    assert [answer.key for answer in answers] == wanted
    means = np.stack([answer.mean for answer in answers])
    assert np.array_equal(means, publication.forecasts.mean_SH[rows, :5])


def test_list_pages_and_orders(client):
    pages = list(client.list_series(page_size=5))
    assert len(pages) == 12
    assert len({series.key for series in pages}) == 12
    surging = list(client.list_series(order="surge", page_size=5))
    ratios = [series.peak_ratio for series in surging]
    assert ratios == sorted(ratios, reverse=True)
    assert surging[0].key.platform == "Tmall"
    assert str(surging[0].peak_time) == "2026-11-11T00:00:00"
    totals = [series.total for series in client.list_series(order="volume")]
    assert totals == sorted(totals, reverse=True)
    assert len(list(client.list_series(item="SKU-002", platform="in-store"))) == 2
    assert not list(client.list_series(item="SKU-009"))


def test_health_and_reflection(channel):
    health = health_pb2_grpc.HealthStub(channel)
    for service in ("", "surgecast.v1.ForecastService", "surgecast.v1.ModelService"):
        reply = health.Check(health_pb2.HealthCheckRequest(service=service), timeout=10)
        assert reply.status == health_pb2.HealthCheckResponse.SERVING
    request = reflection_pb2.ServerReflectionRequest(list_services="")
    replies = reflection_pb2_grpc.ServerReflectionStub(channel).ServerReflectionInfo(
        iter([request]), timeout=10
    )
    names = {service.name for reply in replies for service in reply.list_services_response.service}
    assert {"surgecast.v1.ForecastService", "surgecast.v1.ModelService"} <= names


@pytest.mark.parametrize(
    ("method", "request_", "field"),
    [
        ("GetForecast", pb.GetForecastRequest(key=KEY, horizon=0), "horizon"),
        ("GetForecast", pb.GetForecastRequest(key=KEY, horizon=15), "horizon"),
        ("GetForecast", pb.GetForecastRequest(key=KEY, horizon=-1), "horizon"),
        ("GetForecast", pb.GetForecastRequest(key=KEY, view=9), "view"),
        ("GetForecast", pb.GetForecastRequest(), "key.item"),
        ("GetForecast", pb.GetForecastRequest(key=pb.SeriesKey(item="a", platform="b")), "key.location"),
        ("GetForecast", pb.GetForecastRequest(key=pb.SeriesKey(item="x" * 201)), "key.item"),
        ("GetForecast", pb.GetForecastRequest(key=pb.SeriesKey(item="a\x00b")), "key.item"),
        ("GetForecast", b"\xff\xff\xff garbage", "request"),
        ("BatchGetForecasts", pb.BatchGetForecastsRequest(), "keys"),
        ("BatchGetForecasts", pb.BatchGetForecastsRequest(keys=[KEY] * 1001), "keys"),
        ("BatchGetForecasts", pb.BatchGetForecastsRequest(keys=[KEY, pb.SeriesKey()]), "keys[1].item"),
        ("BatchGetForecasts", pb.BatchGetForecastsRequest(keys=[KEY], horizon=99), "horizon"),
        ("ListSeries", pb.ListSeriesRequest(page_size=-1), "page_size"),
        ("ListSeries", pb.ListSeriesRequest(page_size=1001), "page_size"),
        ("ListSeries", pb.ListSeriesRequest(page_token="???"), "page_token"),
        ("ListSeries", pb.ListSeriesRequest(page_token="YWJjLzU="), "page_token"),
        ("ListSeries", pb.ListSeriesRequest(order=7), "order"),
        (
            "ListSeries",
            pb.ListSeriesRequest(
                filter=pb.SeriesFilter(labels=[pb.LabelFilter(name="category", values=["x"] * 801)] * 5)
            ),
            "filter.labels",
        ),
        (
            "ListSeries",
            pb.ListSeriesRequest(filter=pb.SeriesFilter(minimum_recent_mean=float("nan"))),
            "filter.minimum_recent_mean",
        ),
    ],
)
def test_bad_requests_name_their_field(channel, method, request_, field):
    code, details = failure(channel, method, request_)
    assert code is grpc.StatusCode.INVALID_ARGUMENT
    violations = details["BadRequest"].field_violations
    assert [violation.field for violation in violations] == [field]
    assert "expected" in violations[0].description


def test_unknown_series_is_not_found(channel, client):
    request = pb.GetForecastRequest(key=pb.SeriesKey(item="SKU-0O1", location="Hangzhou", platform="Tmall"))
    code, details = failure(channel, "GetForecast", request)
    assert code is grpc.StatusCode.NOT_FOUND
    assert details["ResourceInfo"].resource_type == "surgecast.v1.Series"
    assert details["ResourceInfo"].resource_name == "SKU-0O1/Hangzhou/Tmall"
    assert "SKU-001" in details["ResourceInfo"].description
    with pytest.raises(NotFoundError, match="Hangzhou on Tmall") as caught:
        client.forecast(item="SKU-001", location="Hangzou", platform="Tmall")
    assert caught.value.field == "key"
    with pytest.raises(NotFoundError, match=r"keys\[1\]"):
        client.forecasts([("SKU-001", "Hangzhou", "Tmall"), ("SKU-001", "Hangzhou", "TV")])


def test_client_raises_our_errors(client):
    with pytest.raises(InputError) as caught:
        client.forecast(item="SKU-001", location="Hangzhou", platform="Tmall", horizon=15)
    assert (caught.value.field, caught.value.expected, caught.value.found) == (
        "horizon",
        "1..14 periods",
        "15",
    )
    answer = client.forecast(item="SKU-001", location="Hangzhou", platform="Tmall")
    with pytest.raises(InputError, match="level"):
        answer.quantile(0.42)


def test_no_server_is_said_clearly():
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{unused.getsockname()[1]}"
        with Client(address) as client, pytest.raises(BusyError, match=address):
            client.serving_model()


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from(["GetForecast", "BatchGetForecasts", "ListSeries"]), st.binary(max_size=60))
def test_random_requests_are_never_our_fault(channel, method, content):
    call = channel.unary_unary(SERVICE + method).future(content, timeout=10)
    call.exception()  # waits for the end, good or bad
    expected = (grpc.StatusCode.OK, grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.NOT_FOUND)
    assert call.code() in expected


def test_garbage_on_the_port_harms_nobody(server, client):
    host, _, port = server.address.rpartition(":")
    for content in (
        b"GET / HTTP/1.1\r\n\r\n",
        bytes(range(256)) * 40,
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\xff" * 99,
    ):
        with socket.create_connection((host, int(port)), timeout=5) as connection:
            connection.sendall(content)
    assert client.serving_model().n_series == 12


@pytest.mark.parametrize("token", ["%%%", "???", "YWJj", "zzz", "____", "\u4e0a"])
def test_a_token_that_is_none_of_ours_is_not_taken_for_another_lists(channel, token):
    code, details = failure(channel, "ListSeries", pb.ListSeriesRequest(page_token=token))
    assert code is grpc.StatusCode.INVALID_ARGUMENT
    assert details["ErrorInfo"].metadata["found"] == ascii(token)


def test_requests_as_large_as_their_fields_allow_are_answered(channel):
    name = "\U00020000" * 200  # four bytes a character
    label = pb.LabelFilter(name="category", values=[name] * 1_000)
    parts = pb.SeriesFilter(item=name, location=name, platform=name, labels=[label] * 4)
    content = pb.ListSeriesRequest(filter=parts).SerializeToString()
    reply = channel.unary_unary(SERVICE + "ListSeries")(content, timeout=20)
    assert pb.ListSeriesResponse.FromString(reply).total_size == 0
    keys = [pb.SeriesKey(item=name, location=name, platform=name)] * 1_000
    code, details = failure(channel, "BatchGetForecasts", pb.BatchGetForecastsRequest(keys=keys))
    assert code is grpc.StatusCode.NOT_FOUND
    assert details["ErrorInfo"].metadata["field"] == "keys[0]"


def test_too_large_a_request_is_refused(channel):
    content = pb.GetForecastRequest(key=pb.SeriesKey(item="x" * (5 << 20))).SerializeToString()
    with pytest.raises(grpc.RpcError) as caught:
        channel.unary_unary(SERVICE + "GetForecast")(content, timeout=10)
    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
