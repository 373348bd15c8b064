"""What each method asks and what it makes of the answer, with both clients."""

import asyncio
import inspect

import numpy as np
import polars as pl
import pytest
from planner_server import DAY, LEVELS, ORIGIN, seconds
from surgecast.v1 import forecast_pb2 as pb

from forecast.errors import InputError
from serving.client import (
    AsyncClient,
    Client,
    EventChange,
    FeatureChange,
    SeriesFilter,
    to_frame,
)

KEY = ("i", "L", "P")


@pytest.fixture(params=["threads", "asyncio"])
def call(request, address):
    """Calls a method of either client; iterators are read to their end."""

    def with_threads(name, *arguments, **options):
        with Client(address) as client:
            answer = getattr(client, name)(*arguments, **options)
            return list(answer) if inspect.isgenerator(answer) else answer

    def with_asyncio(name, *arguments, **options):
        async def ask():
            async with AsyncClient(address) as client:
                answer = getattr(client, name)(*arguments, **options)
                return [one async for one in answer] if inspect.isasyncgen(answer) else await answer

        return asyncio.run(ask())

    return with_threads if request.param == "threads" else with_asyncio


def test_one_forecast(call, planner):
    answer = call("forecast", item="i", location="L", platform="P", horizon=3)
    assert (answer.key, answer.mean.tolist()) == (KEY, [4.0, 5.0, 6.0])
    assert answer.quantile(0.9) == pytest.approx([7.2, 9.0, 10.8])
    assert planner.requests[0].horizon == 3
    frame = answer.to_frame()
    assert frame.columns == ["item", "location", "platform", "time", "mean", *(f"q{x:g}" for x in LEVELS)]
    assert frame["mean"].to_list() == [4.0, 5.0, 6.0]
    assert frame["time"].dtype == pl.Datetime("us")


def test_batches_are_split_and_joined(call, planner):
    keys = [(f"i{n}", "L", "P") for n in range(2_500)]
    answers = call("forecasts", keys)
    assert [answer.key for answer in answers] == keys
    assert [len(request.keys) for request in planner.requests] == [1_000, 1_000, 500]
    assert to_frame(answers).height == 7_500


@pytest.mark.parametrize("method", ["forecasts", "simulate"])
def test_an_answer_never_mixes_two_snapshots(call, planner, method):
    planner.snapshots = ["snap-1", "snap-2"]
    more = [[EventChange(kind="double-11", move_days=1)]] if method == "simulate" else []
    with pytest.raises(InputError, match=r"snapshot: expected snap-1 .* found snap-2"):
        call(method, [KEY] * 1_001, *more)


def test_aggregate(call, planner):
    where = SeriesFilter(platform="P", labels={"category": ["food", "toys"], "region": "east"})
    answer = call("aggregate", ["location", "category"], where=where, start="2026-11-02", end="2026-11-05")
    (request,) = planner.requests
    assert list(request.group_by) == ["location", "category"]
    assert request.filter.platform == "P"
    labels = {label.name: list(label.values) for label in request.filter.labels}
    assert labels == {"category": ["food", "toys"], "region": ["east"]}
    assert request.range.start_seconds == seconds("2026-11-02")
    assert request.range.end_seconds == seconds("2026-11-05")
    assert [group.values for group in answer.groups] == [
        ("location-0", "category-0"),
        ("location-1", "category-1"),
    ]
    assert answer.quantile(answer.groups[1], 0.5).tolist() == [20.0] * 3
    frame = answer.to_frame()
    assert frame.columns[:6] == ["location", "category", "series", "time", "end", "mean"]
    assert frame["q0.975"].to_list() == pytest.approx([19.5] * 3 + [39.0] * 3)


def test_a_total_is_one_sum(call, planner):
    answer = call("aggregate", period="total")
    assert planner.requests[0].aggregation == pb.AGGREGATION_TOTAL
    assert not planner.requests[0].HasField("range")
    assert len(answer.times) == 1
    assert answer.ends[0] - answer.times[0] == np.timedelta64(3 * DAY, "s")
    assert answer.groups[0].values == ()


def test_surges_come_page_by_page(call, planner):
    surges = call("surges", multiple=3, probability=0.8, page_size=2)
    assert [surge.key.item for surge in surges] == ["i0", "i1", "i2", "i3", "i4"]
    assert [request.page_token for request in planner.requests] == ["", "2", "4"]
    assert {(request.multiple, request.probability) for request in planner.requests} == {(3.0, 0.8)}
    assert (surges[0].driver, surges[0].driver_kind) == ("Singles' Day 2026", "double-11")
    assert str(surges[0].peak_time) == "2026-11-03T00:00:00"
    frame = to_frame(surges)
    assert frame["item"].to_list() == ["i0", "i1", "i2", "i3", "i4"]
    assert "values" not in frame.columns
    assert frame["peak_probability"][0] == pytest.approx(0.9)
    assert frame.schema["times"] == pl.List(pl.Datetime("us"))


def test_surges_of_groups_have_no_key(call):
    (surge, *_) = call("surges", ["location"])
    assert (surge.key, surge.values) == (None, ("v0",))
    assert to_frame([surge]).columns[0] == "values"


def test_events(call, planner):
    (event,) = call("events", where=SeriesFilter(platform="P"), after="2026-11-02T12:00")
    assert planner.requests[0].after_seconds == seconds("2026-11-02T12:00")
    assert (event.span.kind, event.n_series, event.source.snapshot) == ("double-11", 6, "snap-1")
    assert to_frame([event])["start"].to_list() == [np.datetime64("2026-11-03", "us").item()]


def test_what_if(call, planner):
    changes = [
        FeatureChange(name="price", set=3.5, start="2026-11-09", end="2026-11-12"),
        FeatureChange(name="discount", multiply=0.8),
        EventChange(kind="double-11", move_days=-2, multiply_intensity=1.5),
    ]
    answers = call("simulate", [KEY] * 150, changes, horizon=3)
    assert [len(request.keys) for request in planner.requests] == [100, 50]
    price, discount, event = planner.requests[1].changes
    assert (price.feature.name, price.feature.set) == ("price", 3.5)
    assert price.feature.range.end_seconds == seconds("2026-11-12")
    assert discount.feature.WhichOneof("change") == "multiply"
    assert not discount.feature.HasField("range")
    assert (event.event.kind, event.event.move_days, event.event.multiply_intensity) == ("double-11", -2, 1.5)
    assert (answers[0].baseline.mean[0], answers[0].changed.mean[0]) == (4.0, 8.0)
    frame = to_frame(answers[:1])
    assert frame.filter("changed")["mean"].to_list() == [8.0, 9.0, 10.0]


def test_new_series(call, planner):
    answer = call(
        "new_series",
        item="new",
        location="L",
        platform="P",
        labels={"category": "food"},
        plan={"price": 4.5, "discount": [0.0, 0.1, 0.0]},
    )
    assert answer.no_history
    (request,) = planner.requests
    assert dict(request.labels) == {"category": "food"}
    plan = {feature.name: list(feature.values) for feature in request.features}
    assert plan == {"price": [4.5], "discount": pytest.approx([0.0, 0.1, 0.0])}


def test_models(call, models):
    assert call("serving_model").n_history == 60
    assert str(call("serving_model").created) == "2026-11-02T03:00:00"
    assert [model.snapshot for model in call("list_models")] == ["snap-1", "snap-0"]
    assert "expected a hash" in call("reload").refused
    assert call("rollback", "too high").source.snapshot == "snap-0"
    assert call("rollback", "too high", snapshot="snap-7").source.snapshot == "snap-7"
    assert [request.reason for request in models.requests[1:]] == ["too high"] * 2


@pytest.mark.parametrize(
    ("moment", "field"), [("soon", "start"), ("2026-11-11T00:00+08:00", "start"), ("NaT", "start")]
)
def test_moments_have_no_zone(call, moment, field):
    with pytest.raises(InputError, match="a time without a zone") as caught:
        call("aggregate", start=moment)
    assert caught.value.field == field


def test_what_makes_no_question_is_refused_before_it_is_asked(call, planner):
    with pytest.raises(InputError, match="by: expected a list of names, found one text 'location'"):
        call("aggregate", "location")
    with pytest.raises(InputError, match="one of period, day, week, total, found 'month'"):
        call("aggregate", period="month")
    with pytest.raises(InputError, match="change of price: expected one of set and multiply, found both"):
        FeatureChange(name="price", set=1.0, multiply=2.0)
    with pytest.raises(InputError, match="answers: expected answers of one kind"):
        to_frame([call("forecast", item="i", location="L", platform="P"), *call("surges")])
    assert len(planner.requests) == 2


def test_both_clients_have_the_same_methods():
    def methods(kind):
        return {
            name: list(inspect.signature(value).parameters.values())
            for name, value in vars(kind).items()
            if callable(value) and not name.startswith("__a") and name not in ("__enter__", "__exit__")
        }

    assert methods(Client) == methods(AsyncClient)


def test_origin_is_the_last_observed_period(call):
    answer = call("forecast", item="i", location="L", platform="P")
    assert answer.times[0] - answer.source.origin == answer.source.step
    assert answer.source.origin == ORIGIN
