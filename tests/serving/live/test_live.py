"""What-ifs and new series asked of a real server process."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import grpc
import numpy as np
import polars as pl
import pytest
from google.rpc import error_details_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_status import rpc_status
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from surgecast.v1 import forecast_pb2 as pb
from waiting import until

from forecast.snapshot import Pointer, Snapshot
from tests.support.live_home import HORIZON, make_home, panel_of, publish_bundle, wild_bundle
from tests.support.lively import HALF

SERVICE = "/surgecast.v1.ForecastService/"
RESPONSES = {
    "SimulateScenario": pb.SimulateScenarioResponse,
    "ForecastNewSeries": pb.ForecastNewSeriesResponse,
    "GetForecast": pb.GetForecastResponse,
}
MOVED = pb.Change(event=pb.EventChange(kind="double-11", move_days=-2))
CHEAPER = pb.Change(feature=pb.FeatureChange(name="price", multiply=0.7))


def health(channel, service="surgecast.live"):
    request = health_pb2.HealthCheckRequest(service=service)
    return health_pb2_grpc.HealthStub(channel).Check(request, timeout=10).status


def until_live(channel):
    until(lambda: health(channel) == health_pb2.HealthCheckResponse.SERVING)


def ask(channel, method, request):
    content = request if isinstance(request, bytes) else request.SerializeToString()
    answer = channel.unary_unary(SERVICE + method)(content, timeout=20)
    return RESPONSES[method].FromString(answer)


def failure(channel, method, request):
    """Code and details, by type, of a call that must fail."""
    with pytest.raises(grpc.RpcError) as caught:
        ask(channel, method, request)
    found = {}
    for detail in rpc_status.from_call(caught.value).details:
        kind = detail.TypeName().rpartition(".")[2]
        found[kind] = getattr(error_details_pb2, kind)()
        assert detail.Unpack(found[kind])
    return caught.value.code(), found


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    made = make_home(tmp_path_factory.mktemp("live"))
    publish_bundle(made, wild_bundle(panel_of(made)))
    return made


@pytest.fixture(scope="module")
def snapshot(home):
    return Snapshot.open(home.snapshots_dir / Pointer.read(home).snapshot)


@pytest.fixture(scope="module")
def keys(snapshot):
    return [pb.SeriesKey(item=i, location=x, platform=p) for i, x, p in snapshot.index]


@pytest.fixture(scope="module")
def channel(home, start_server):
    with grpc.insecure_channel(start_server(home).address) as opened:
        until_live(opened)
        yield opened


def test_the_baseline_is_the_snapshots_forecast(channel, snapshot, keys):
    answer = ask(channel, "SimulateScenario", pb.SimulateScenarioRequest(keys=keys, changes=[CHEAPER]))
    assert answer.source.snapshot_id == snapshot.manifest.id
    assert len(answer.time_seconds) == HORIZON
    assert [pair.baseline.key for pair in answer.forecasts] == keys
    means = np.array([pair.baseline.mean for pair in answer.forecasts])
    np.testing.assert_allclose(means, snapshot.mean_SH, rtol=HALF)
    quantiles = np.array([pair.baseline.quantiles for pair in answer.forecasts])
    wanted = snapshot.quantiles(np.arange(len(keys)), HORIZON).reshape(len(keys), -1)
    assert np.mean(np.abs(quantiles - wanted) > 0.01) < 0.01
    changed = np.array([pair.changed.mean for pair in answer.forecasts])
    assert (np.abs(changed / means - 1) > 0.01).any(axis=1).all()


def test_changes_act_where_they_are_said_to(channel, keys):
    def simulate(**plan):
        change = pb.Change(feature=pb.FeatureChange(name="discount", **plan))
        request = pb.SimulateScenarioRequest(keys=keys[:1], changes=[change], horizon=10)
        (pair,) = ask(channel, "SimulateScenario", request).forecasts
        assert len(pair.changed.mean) == 10
        return np.abs(np.array(pair.changed.mean) / np.array(pair.baseline.mean) - 1) > 1e-5

    answer = ask(channel, "GetForecast", pb.GetForecastRequest(key=keys[0]))
    third, sixth = answer.time_seconds[3], answer.time_seconds[6]
    assert simulate(set=0.6).all()
    some = simulate(set=0.6, range=pb.TimeRange(start_seconds=third, end_seconds=sixth))
    assert np.flatnonzero(some).tolist() == [3, 4, 5]


def test_changes_that_go_too_far_stay_numbers(channel, keys):
    huge = [pb.Change(feature=pb.FeatureChange(name=name, multiply=1e9)) for name in ("price", "discount")]
    answer = ask(channel, "SimulateScenario", pb.SimulateScenarioRequest(keys=keys[:2], changes=huge * 16))
    assert np.isfinite([pair.changed.mean for pair in answer.forecasts]).all()


def test_an_event_is_moved_and_taken_away(channel, keys):
    gone = pb.Change(event=pb.EventChange(kind="double-11", multiply_intensity=0))
    for changes in ([MOVED], [gone], [MOVED, gone, CHEAPER]):
        answer = ask(channel, "SimulateScenario", pb.SimulateScenarioRequest(keys=keys[:2], changes=changes))
        for pair in answer.forecasts:
            assert not np.allclose(pair.changed.mean, pair.baseline.mean, rtol=HALF)


def test_the_same_question_has_the_same_answer_in_any_company(channel, keys):
    questions = [
        ("SimulateScenario", pb.SimulateScenarioRequest(keys=[keys[n]], changes=[MOVED, CHEAPER]))
        for n in range(len(keys))
    ]
    questions.append(("SimulateScenario", pb.SimulateScenarioRequest(keys=keys * 2, changes=[CHEAPER])))
    new = pb.SeriesKey(item="brand-new", location="new-shop", platform="nowhere")
    questions.append(("ForecastNewSeries", pb.ForecastNewSeriesRequest(key=new)))
    alone = [ask(channel, *question) for question in questions]
    with ThreadPoolExecutor(len(questions)) as pool:
        for _ in range(3):
            together = [pool.submit(ask, channel, *question) for question in questions]
            assert [answer.result(30) for answer in together] == alone


def test_a_new_series_is_forecast_as_publishing_would(home, channel, snapshot, tmp_path):
    """Another home with one series more, of which only a plan is known; the same model."""
    demand = pl.read_parquet(home.root.parent / "old.parquet")
    last = demand.filter(pl.col("demand").is_not_null())["time"].max()
    one = demand.filter((pl.col("item") == demand["item"][0]) & (pl.col("time") > last)).unique("time")
    planned = one.with_columns(item=pl.lit("brand-new"), demand=pl.lit(None, pl.Float32))
    planned.write_parquet(tmp_path / "item.parquet")
    other = make_home(tmp_path, tmp_path / "item.parquet")
    (panel,) = [panel_of(other)]
    publish_bundle(other, wild_bundle(panel_of(home)))
    published = Snapshot.open(other.snapshots_dir / Pointer.read(other).snapshot)
    row = int(np.flatnonzero(published.no_history_S)[0])
    n = panel.n_periods
    request = pb.ForecastNewSeriesRequest(
        key=pb.SeriesKey(
            item="brand-new", location=str(panel.keys.location[row]), platform=str(panel.keys.platform[row])
        ),
        labels={name: str(values[row]) for name, values in panel.statics.items()},
        features=[
            pb.FeaturePlan(name=name, values=values[row, n : n + HORIZON])
            for name, values in panel.known.items()
            if np.isfinite(values[row, n : n + HORIZON]).all()
        ],
    )
    assert request.features
    answer = ask(channel, "ForecastNewSeries", request)
    assert answer.forecast.no_history
    assert answer.source.snapshot_id == snapshot.manifest.id
    np.testing.assert_allclose(answer.forecast.mean, published.mean_SH[row], rtol=HALF)


def change(**feature):
    return [pb.Change(feature=pb.FeatureChange(**feature))]


def event(**wanted):
    return [pb.Change(event=pb.EventChange(**wanted))]


NAN, FAR = float("nan"), 1 << 62


@pytest.mark.parametrize(
    ("changes", "field", "said"),
    [
        ([], "changes", "1..32"),
        ([MOVED] * 33, "changes", "1..32"),
        ([pb.Change()], "changes[0]", "neither"),
        ([CHEAPER, pb.Change()], "changes[1]", "neither"),
        (change(name="colour", set=1), "changes[0].feature.name", "one of discount, price"),
        (change(name="price"), "changes[0].feature", "set or multiply"),
        (change(name="price", set=NAN), "changes[0].feature.set", "nan"),
        (change(name="price", set=-1), "changes[0].feature.set", "more than 0"),
        (change(name="discount", multiply=1e300), "changes[0].feature.multiply", "1e+300"),
        (
            change(name="price", set=1, range=pb.TimeRange(end_seconds=5)),
            "changes[0].feature.range",
            "start of one of the periods",
        ),
        (
            change(name="price", set=1, range=pb.TimeRange(start_seconds=FAR)),
            "changes[0].feature.range",
            "start of one of the periods",
        ),
        (event(kind="double-13", move_days=1), "changes[0].event.kind", "double-11"),
        (event(kind="double-11", move_days=61), "changes[0].event.move_days", "-60..60"),
        (event(kind="double-11"), "changes[0].event", "no change"),
        (event(kind="double-11", multiply_intensity=NAN), "changes[0].event.multiply_intensity", "nan"),
        (event(kind="double-11", multiply_intensity=101), "changes[0].event.multiply_intensity", "0 to 100"),
    ],
)
def test_bad_changes_name_their_field(channel, keys, changes, field, said):
    request = pb.SimulateScenarioRequest(keys=keys[:1], changes=changes)
    code, details = failure(channel, "SimulateScenario", request)
    assert code is grpc.StatusCode.INVALID_ARGUMENT
    (violation,) = details["BadRequest"].field_violations
    assert violation.field == field
    assert said in violation.description


@pytest.mark.parametrize(
    ("changed", "field"),
    [
        ({"key": pb.SeriesKey(item="a", location="b")}, "key.platform"),
        ({"horizon": 15}, "horizon"),
        ({"labels": {"colour": "red"}}, "labels"),
        ({"labels": {"category": "x" * 201}}, "labels[category]"),
        ({"features": [pb.FeaturePlan(name="colour", values=[1])]}, "features[0].name"),
        ({"features": [pb.FeaturePlan(name="price", values=[1])] * 2}, "features[1].name"),
        ({"features": [pb.FeaturePlan(name="price", values=[1, 2])]}, "features[0].values"),
        ({"features": [pb.FeaturePlan(name="price", values=[NAN])]}, "features[0].values"),
        ({"features": [pb.FeaturePlan(name="price")]}, "features[0].values"),
    ],
)
def test_bad_plans_of_new_series_name_their_field(channel, changed, field):
    new = {"key": pb.SeriesKey(item="brand-new", location="shop", platform="web")}
    code, details = failure(channel, "ForecastNewSeries", pb.ForecastNewSeriesRequest(**new | changed))
    assert code is grpc.StatusCode.INVALID_ARGUMENT
    assert [violation.field for violation in details["BadRequest"].field_violations] == [field]


def test_series_that_are_not_there_and_those_that_are(channel, keys):
    wrong = pb.SeriesKey(item=keys[0].item, location="Atlantis", platform=keys[0].platform)
    code, details = failure(
        channel, "SimulateScenario", pb.SimulateScenarioRequest(keys=[keys[0], wrong], changes=[MOVED])
    )
    assert code is grpc.StatusCode.NOT_FOUND
    assert details["ResourceInfo"].resource_name == f"{wrong.item}/Atlantis/{wrong.platform}"
    for number in (0, 101):
        request = pb.SimulateScenarioRequest(keys=keys[:1] * number, changes=[MOVED])
        assert failure(channel, "SimulateScenario", request)[0] is grpc.StatusCode.INVALID_ARGUMENT
    code, details = failure(channel, "ForecastNewSeries", pb.ForecastNewSeriesRequest(key=keys[0]))
    assert code is grpc.StatusCode.INVALID_ARGUMENT
    assert "GetForecast" in details["BadRequest"].field_violations[0].description


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from(["SimulateScenario", "ForecastNewSeries"]), st.binary(max_size=80))
def test_random_requests_are_never_our_fault(channel, method, content):
    call = channel.unary_unary(SERVICE + method).future(content, timeout=10)
    call.exception()  # waits for the end, good or bad
    expected = (grpc.StatusCode.OK, grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.NOT_FOUND)
    assert call.code() in expected


def test_a_swap_refuses_no_question_and_mixes_nothing(tmp_path, spawn):
    home = make_home(tmp_path)
    panel = panel_of(home)
    means = {}
    for seed in (1, 0):
        snapshot = publish_bundle(home, wild_bundle(panel, seed), version=str(seed))
        means[snapshot] = Snapshot.open(home.snapshots_dir / snapshot).mean_SH[0]
    key = pb.SeriesKey(
        item=str(panel.keys.item[0]),
        location=str(panel.keys.location[0]),
        platform=str(panel.keys.platform[0]),
    )
    request = pb.SimulateScenarioRequest(keys=[key], changes=[MOVED])
    with grpc.insecure_channel(spawn(home).address) as channel:
        until_live(channel)
        second = publish_bundle(home, wild_bundle(panel, 1), version="1")

        def swapped():
            answer = ask(channel, "SimulateScenario", request)
            np.testing.assert_allclose(
                answer.forecasts[0].baseline.mean, means[answer.source.snapshot_id], rtol=HALF
            )
            return answer.source.snapshot_id == second

        until(swapped)


def test_without_a_bundle_or_demand_it_says_what_is_missing(publication, tmp_path, spawn):
    from forecast.home import Home
    from tests.serving.conftest import publish

    home = Home(tmp_path)
    publish(home, publication)
    key = pb.SeriesKey(item="SKU-001", location="Hangzhou", platform="Tmall")
    request = pb.SimulateScenarioRequest(keys=[key], changes=[MOVED])
    with grpc.insecure_channel(spawn(home).address) as channel:
        until(lambda: "RetryInfo" not in failure(channel, "SimulateScenario", request)[1])
        code, details = failure(channel, "SimulateScenario", request)
        assert code is grpc.StatusCode.FAILED_PRECONDITION
        assert details["ErrorInfo"].metadata["found"] == "no bundle 'b1' in the home"
        assert health(channel) == health_pb2.HealthCheckResponse.NOT_SERVING
        assert ask(channel, "GetForecast", pb.GetForecastRequest(key=key)).forecast.mean
    (home.bundles_dir / "b1").mkdir(parents=True)
    with grpc.insecure_channel(spawn(home).address) as channel:
        until(lambda: "RetryInfo" not in failure(channel, "SimulateScenario", request)[1])
        found = failure(channel, "SimulateScenario", request)[1]["ErrorInfo"].metadata["found"]
        assert found == "no demand store in the home"


def test_other_calendars_than_those_published_are_not_passed_off(tmp_path, spawn):
    home = make_home(tmp_path)
    publish_bundle(home, wild_bundle(panel_of(home)))
    home.settings_file.write_text("")
    with grpc.insecure_channel(spawn(home).address) as channel:
        request = pb.ForecastNewSeriesRequest(key=pb.SeriesKey(item="a", location="b", platform="c"))
        until(lambda: "RetryInfo" not in failure(channel, "ForecastNewSeries", request)[1])
        code, details = failure(channel, "ForecastNewSeries", request)
        assert code is grpc.StatusCode.FAILED_PRECONDITION
        assert "publish again" in details["ErrorInfo"].metadata["found"]


def test_it_can_be_turned_off(home, keys, spawn, monkeypatch):
    monkeypatch.setenv("SURGECAST_SERVE_LIVE", "false")
    with grpc.insecure_channel(spawn(home).address) as channel:
        request = pb.SimulateScenarioRequest(keys=keys[:1], changes=[MOVED])
        code, details = failure(channel, "SimulateScenario", request)
        assert code is grpc.StatusCode.FAILED_PRECONDITION
        assert "live = true" in details["ErrorInfo"].metadata["expected"]
        assert ask(channel, "GetForecast", pb.GetForecastRequest(key=keys[0])).forecast.mean
