"""Lists of surges, asked of a real server process."""

import grpc
import numpy as np
import pytest
from chain import make_chain
from surgecast.v1 import forecast_pb2 as pb

from forecast.errors import InputError
from forecast.planning.surges import (
    Threshold,
    find_surges,
    group_outlooks,
    least_base,
    series_outlooks,
    usual_demand,
)
from serving.answers import surges as surge_answers

Ask = pb.ListSurgesRequest


def never():
    """Somebody waits all the time."""


def key(series):
    return series.item, series.location, series.platform


def everything(ask, request):
    """The surges of all pages."""
    surges = []
    while True:
        page = ask("ListSurges", request)
        surges += page.surges
        if not page.next_page_token:
            assert len(surges) == page.total_size
            return surges
        assert len(page.surges) == request.page_size
        request.page_token = page.next_page_token


def test_surges_of_series_the_most_extra_units_first(ask, snapshot):
    found = everything(ask, Ask(page_size=7))
    base_S = np.fmax(usual_demand(snapshot), least_base(snapshot))
    outlooks = series_outlooks(snapshot, np.arange(72), 0, 14, never)
    expected = find_surges(outlooks, base_S, Threshold())
    index = snapshot.index
    assert [index[key(surge.key)] for surge in found] == expected.unit_N.tolist()
    assert [surge.extra_units for surge in found] == expected.extra_N.tolist()
    times = snapshot.times.astype("datetime64[s]").astype(int)
    for surge, surging_H, peak in zip(found, expected.surging_Nh, expected.peak_N, strict=True):
        assert list(surge.time_seconds) == times[surging_H].tolist()
        assert surge.peak_seconds == times[peak]
        assert surge.series_count == 1
        assert not surge.values
        assert surge.no_history == snapshot.no_history_S[index[key(surge.key)]]


def test_singles_day_drives_the_surges_of_its_platform(ask, snapshot):
    peak = snapshot.times[9].astype("datetime64[s]").astype(int)
    found = everything(ask, Ask(page_size=100, multiple=3))
    on_tmall = [surge for surge in found if surge.key.platform == "Tmall" and surge.peak_seconds == peak]
    assert len(on_tmall) > 25
    for surge in on_tmall:
        assert surge.peak_mean > 2 * surge.base
        assert surge.peak_probability >= 0.5
        if list(surge.time_seconds) == [peak]:
            assert (surge.driver, surge.driver_kind) == ("double-11", "double-11")


def test_surges_of_groups(ask, snapshot):
    found = everything(ask, Ask(page_size=3, group_by=["platform", "city"], multiple=1.5))
    names = list(zip(snapshot.keys.platform, snapshot.statics["city"], strict=True))
    groups = sorted(set(names))
    group_S = np.array([groups.index(name) for name in names])
    usual_G = np.bincount(group_S, usual_demand(snapshot))
    outlooks = group_outlooks(snapshot, group_S, 4, (0, 14), cells=None, check=never)
    expected = find_surges(outlooks, usual_G, Threshold(multiple=1.5))
    assert [tuple(surge.values) for surge in found] == [groups[g] for g in expected.unit_N.tolist()]
    assert {tuple(surge.values) for surge in found} >= {("Tmall", "上海"), ("Tmall", "Hangzhou")}
    np.testing.assert_allclose([surge.extra_units for surge in found], expected.extra_N, rtol=1e-5)
    for surge in found:
        assert surge.series_count == 18
        assert not surge.HasField("key")
        if surge.values[0] == "Tmall":
            assert surge.driver == "double-11"


def test_only_the_range_and_the_filter_are_looked_at(ask, snapshot):
    times = snapshot.times.astype("datetime64[s]").astype(int).tolist()
    wanted = pb.TimeRange(start_seconds=times[9], end_seconds=times[10])
    found = everything(ask, Ask(page_size=100, range=wanted, filter=pb.SeriesFilter(platform="Tmall")))
    assert len(found) > 25
    assert {tuple(surge.time_seconds) for surge in found} == {(times[9],)}
    assert everything(ask, Ask(page_size=100, filter=pb.SeriesFilter(item="SKU-99"))) == []
    nobody = pb.SeriesFilter(item="SKU-99")
    assert everything(ask, Ask(page_size=100, filter=nobody, group_by=["city"])) == []


def test_less_probable_surges_are_more(ask):
    counts = [
        ask("ListSurges", Ask(multiple=3, probability=probability)).total_size
        for probability in (1.0, 0.5, 0.1)
    ]
    assert counts == sorted(counts)
    assert counts[0] < counts[-1]


def test_further_pages_are_read_from_what_was_found(answer_from, publication, waiting, monkeypatch):
    list_surges = answer_from(publication)["ListSurges"]
    asked = []
    find = surge_answers.find_surges
    monkeypatch.setattr(surge_answers, "find_surges", lambda *question: asked.append(1) or find(*question))
    request = Ask(page_size=5)
    while True:
        page = pb.ListSurgesResponse.FromString(list_surges(request.SerializeToString(), waiting))
        request.page_token = page.next_page_token
        if not page.next_page_token:
            break
    assert len(asked) == 1
    for multiple in (3, 4, 5, 6):
        list_surges(Ask(multiple=multiple).SerializeToString(), waiting)
    list_surges(Ask(page_size=9).SerializeToString(), waiting)
    assert len(asked) == 6  # the first one has made way


def test_another_publication_is_looked_at_anew(answer_from, waiting):
    first, second = (answer_from(make_chain(seed=seed))["ListSurges"] for seed in (1, 2))
    token = pb.ListSurgesResponse.FromString(first(Ask(page_size=3).SerializeToString(), waiting))
    later = Ask(page_size=3, page_token=token.next_page_token).SerializeToString()
    first(later, waiting)
    with pytest.raises(InputError, match=r"page_token.*begin again"):
        second(later, waiting)


@pytest.mark.parametrize(
    ("request_", "field"),
    [
        (Ask(multiple=0), "multiple"),
        (Ask(multiple=float("nan")), "multiple"),
        (Ask(multiple=float("inf")), "multiple"),
        (Ask(probability=0), "probability"),
        (Ask(probability=1.1), "probability"),
        (Ask(group_by=["colour"]), "group_by[0]"),
        (Ask(page_size=1_001), "page_size"),
        (Ask(page_token="abc"), "page_token"),
        (Ask(range=pb.TimeRange(end_seconds=0)), "range"),
    ],
)
def test_bad_questions_name_their_field(ask, request_, field):
    assert ask.refusal("ListSurges", request_) == (grpc.StatusCode.INVALID_ARGUMENT, field)
