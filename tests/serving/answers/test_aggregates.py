"""Totals by group and time, asked of a real server process."""

import grpc
import numpy as np
import pytest
from chain import make_chain
from surgecast.v1 import forecast_pb2 as pb

from forecast.errors import BusyError, InputError
from forecast.forecasts import scenario_quantiles
from serving.call import Call

Ask = pb.AggregateForecastRequest
Filter = pb.SeriesFilter
DAY = 86_400


def rows_of(snapshot, **wanted):
    keys = snapshot.keys
    columns = {"item": keys.item, "location": keys.location, "platform": keys.platform, **snapshot.statics}
    passes = [np.isin(columns[name].astype(str), value) for name, value in wanted.items()]
    return np.flatnonzero(np.all(passes, axis=0)) if passes else np.arange(len(keys))


def check_group(snapshot, scenarios_SHK, group, rows, periods):
    """A group's numbers against the plain sums over rows; `periods` is a slice for each sum in time."""
    assert group.series_count == len(rows)
    mean_T = [float(snapshot.mean_SH[rows, part].sum(dtype=np.float64)) for part in periods]
    np.testing.assert_allclose(group.mean, mean_T, rtol=1e-7)
    sums_TK = np.stack([scenarios_SHK[rows, part].sum(axis=(0, 1)) for part in periods])
    quantiles_TQ = np.array(group.quantiles).reshape(len(periods), 17)
    np.testing.assert_allclose(quantiles_TQ, scenario_quantiles(sums_TK[None])[0], rtol=1e-5, atol=1e-5)


def test_everything_together_by_day(ask, snapshot, scenarios_SHK):
    answer = ask("AggregateForecast", Ask())
    assert answer.source.snapshot_id == snapshot.manifest.id
    assert len(answer.levels) == 17
    assert list(answer.time_seconds) == snapshot.times.astype("datetime64[s]").astype(int).tolist()
    assert [end - start for start, end in zip(answer.time_seconds, answer.end_seconds, strict=True)] == [
        DAY
    ] * 14
    (group,) = answer.groups
    assert list(group.values) == []
    check_group(snapshot, scenarios_SHK, group, rows_of(snapshot), [slice(h, h + 1) for h in range(14)])


@pytest.mark.parametrize(
    "names", [["location"], ["city", "platform"], ["category"], ["item"], ["platform", "item", "location"]]
)
def test_groups_by_week_in_the_order_of_their_values(ask, snapshot, scenarios_SHK, names):
    answer = ask("AggregateForecast", Ask(group_by=names, aggregation=pb.AGGREGATION_WEEK))
    assert len(answer.time_seconds) == 2
    values = [tuple(group.values) for group in answer.groups]
    assert values == sorted(set(values))
    assert sum(group.series_count for group in answer.groups) == 72
    for group in answer.groups:
        rows = rows_of(snapshot, **dict(zip(names, group.values, strict=True)))
        check_group(snapshot, scenarios_SHK, group, rows, [slice(0, 7), slice(7, 14)])


@pytest.mark.parametrize(
    ("wanted", "conditions"),
    [
        (Filter(item="SKU-3"), {"item": "SKU-3"}),
        (Filter(location="上海-2", platform="Tmall"), {"location": "上海-2", "platform": "Tmall"}),
        (
            Filter(labels=[pb.LabelFilter(name="category", values=["fruit", "snacks", "toys"])]),
            {"category": ["fruit", "snacks"]},
        ),
        (
            Filter(
                labels=[
                    pb.LabelFilter(name="city", values=["上海"]),
                    pb.LabelFilter(name="category", values=["drinks"]),
                ]
            ),
            {"city": "上海", "category": "drinks"},
        ),
    ],
)
def test_filters_and_ranges(ask, snapshot, scenarios_SHK, wanted, conditions):
    first = int(snapshot.times[0].astype("datetime64[s]").astype(int))
    answer = ask(
        "AggregateForecast",
        Ask(
            filter=wanted,
            range=pb.TimeRange(start_seconds=first + DAY + 1, end_seconds=first + 6 * DAY),
            aggregation=pb.AGGREGATION_TOTAL,
        ),
    )
    assert list(answer.time_seconds) == [first + 2 * DAY]
    assert list(answer.end_seconds) == [first + 6 * DAY]
    (group,) = answer.groups
    check_group(snapshot, scenarios_SHK, group, rows_of(snapshot, **conditions), [slice(2, 6)])


def test_a_recent_mean_cuts_through_groups(ask, snapshot, scenarios_SHK):
    least = float(np.nanmedian(snapshot.summary.base_S))
    answer = ask(
        "AggregateForecast",
        Ask(filter=Filter(minimum_recent_mean=least), group_by=["city"], aggregation=pb.AGGREGATION_TOTAL),
    )
    busy = snapshot.summary.base_S >= least
    for group in answer.groups:
        rows = [row for row in rows_of(snapshot, city=group.values[0]) if busy[row]]
        check_group(snapshot, scenarios_SHK, group, rows, [slice(0, 14)])


def test_a_week_may_be_cut_short(ask, snapshot):
    first = int(snapshot.times[0].astype("datetime64[s]").astype(int))
    wanted = pb.TimeRange(start_seconds=first + DAY, end_seconds=first + 10 * DAY)
    answer = ask("AggregateForecast", Ask(range=wanted, aggregation=pb.AGGREGATION_WEEK))
    assert list(answer.time_seconds) == [first + DAY, first + 8 * DAY]
    assert list(answer.end_seconds) == [first + 8 * DAY, first + 10 * DAY]


def test_nobody_passes(ask):
    answer = ask("AggregateForecast", Ask(filter=Filter(item="SKU-99"), group_by=["location"]))
    assert list(answer.groups) == []
    assert len(answer.time_seconds) == 14


@pytest.mark.parametrize(
    ("request_", "field"),
    [
        (Ask(group_by=["location", "colour"]), "group_by[1]"),
        (Ask(group_by=["location", "location"]), "group_by[1]"),
        (Ask(group_by=["a\x00b"]), "group_by[0]"),
        (Ask(group_by=["item", "location", "platform", "city", "category"]), "group_by"),
        (Ask(aggregation=9), "aggregation"),
        (Ask(range=pb.TimeRange(start_seconds=2**62)), "range"),
        (Ask(range=pb.TimeRange(end_seconds=-(2**62))), "range"),
        (Ask(range=pb.TimeRange(start_seconds=5, end_seconds=5)), "range"),
        (Ask(filter=Filter(minimum_recent_mean=-1)), "filter.minimum_recent_mean"),
        (
            Ask(filter=Filter(labels=[pb.LabelFilter(name="colour", values=["red"])])),
            "filter.labels[0].name",
        ),
        (Ask(filter=Filter(labels=[pb.LabelFilter(name="city")])), "filter.labels[0].values"),
    ],
)
def test_bad_questions_name_their_field(ask, request_, field):
    assert ask.refusal("AggregateForecast", request_) == (grpc.StatusCode.INVALID_ARGUMENT, field)


def test_an_unknown_name_is_told_what_there_is(answer_from, publication, waiting):
    aggregate = answer_from(publication)["AggregateForecast"]
    with pytest.raises(InputError, match="item, location, platform, category, city"):
        aggregate(Ask(group_by=["colour"]).SerializeToString(), waiting)


def test_too_many_groups_and_sums_are_refused(answer_from, publication, waiting, monkeypatch):
    aggregate = answer_from(publication)["AggregateForecast"]
    monkeypatch.setattr("serving.checks.MAX_GROUPS", 8)
    with pytest.raises(InputError, match=r"at most 8 groups.*found 9"):
        aggregate(Ask(group_by=["item"]).SerializeToString(), waiting)
    monkeypatch.setattr("serving.checks.MAX_SUMS", 111)
    with pytest.raises(InputError, match=r"at most 111 sums.*found 8 groups of 14"):
        aggregate(Ask(group_by=["location", "platform"]).SerializeToString(), waiting)


def test_long_work_ends_when_the_caller_stops_waiting(answer_from, publication, monkeypatch):
    monkeypatch.setattr("forecast.planning.aggregate.CHUNK_VALUES", 1)
    aggregate = answer_from(publication)["AggregateForecast"]
    looks = iter([True] * 5)
    leaving = Call(remaining=lambda: 60.0, active=lambda: next(looks, False))
    with pytest.raises(BusyError, match="deadline"):
        aggregate(Ask(group_by=["item"]).SerializeToString(), leaving)
    assert next(looks, None) is None


def test_hours_make_days_from_midnight_on(answer_from, waiting):
    """The panel begins at midnight and has 60 hours: the horizon begins at noon."""
    chain = make_chain(period="hour", horizon=40)
    aggregate = answer_from(chain)["AggregateForecast"]
    content = aggregate(Ask(aggregation=pb.AGGREGATION_DAY).SerializeToString(), waiting)
    answer = pb.AggregateForecastResponse.FromString(content)
    starts = [np.datetime64(time, "s") for time in answer.time_seconds]
    assert [str(time) for time in starts] == [
        "2026-09-03T12:00:00",
        "2026-09-04T00:00:00",
        "2026-09-05T00:00:00",
    ]
    assert answer.end_seconds[-1] == answer.time_seconds[-1] + 4 * 3_600
    mean_H = chain.forecasts.mean_SH.sum(axis=0, dtype=np.float64)
    parts = [mean_H[:12].sum(), mean_H[12:36].sum(), mean_H[36:].sum()]
    np.testing.assert_allclose(answer.groups[0].mean, parts, rtol=1e-6)


def test_weeks_make_no_days(answer_from, waiting):
    aggregate = answer_from(make_chain(period="week"))["AggregateForecast"]
    with pytest.raises(InputError, match="aggregation: expected sums of a week or longer"):
        aggregate(Ask(aggregation=pb.AGGREGATION_DAY).SerializeToString(), waiting)
    content = aggregate(Ask(aggregation=pb.AGGREGATION_WEEK).SerializeToString(), waiting)
    assert len(pb.AggregateForecastResponse.FromString(content).time_seconds) == 14
