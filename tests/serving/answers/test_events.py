"""The list of events, asked of a real server process."""

import grpc
import pytest
from surgecast.v1 import forecast_pb2 as pb

Ask = pb.ListEventsRequest
DAY = 86_400


def test_phases_by_start_with_the_series_they_touch(ask, snapshot):
    answer = ask("ListEvents", Ask())
    first = int(snapshot.times[0].astype("datetime64[s]").astype(int))
    found = [
        (event.span.kind, event.span.phase, (event.span.start_seconds - first) // DAY, event.series_count)
        for event in answer.events
    ]
    assert found == [
        ("double-11", "warm-up", 7, 36),
        ("double-11", "day", 9, 36),
        ("sale", "day", 9, 72),
    ]
    assert answer.total_size == 3
    assert answer.events[1].span.intensity == 2
    assert answer.events[1].span.end_seconds == first + 10 * DAY


def test_only_events_that_touch_a_series_of_the_filter(ask):
    answer = ask("ListEvents", Ask(filter=pb.SeriesFilter(platform="in-store", item="SKU-1")))
    assert [(event.span.kind, event.series_count) for event in answer.events] == [("sale", 4)]
    assert not ask("ListEvents", Ask(filter=pb.SeriesFilter(item="SKU-99"))).events


def test_only_events_that_end_later(ask, snapshot):
    first = int(snapshot.times[0].astype("datetime64[s]").astype(int))
    later = ask("ListEvents", Ask(after_seconds=first + 9 * DAY))
    assert [event.span.phase for event in later.events] == ["day", "day"]
    assert ask("ListEvents", Ask(after_seconds=first + 9 * DAY - 1)).total_size == 3
    assert ask("ListEvents", Ask(after_seconds=2**62)).total_size == 0


def test_pages(ask):
    first = ask("ListEvents", Ask(page_size=2))
    rest = ask("ListEvents", Ask(page_size=2, page_token=first.next_page_token))
    assert [*first.events, *rest.events] == list(ask("ListEvents", Ask()).events)
    assert not rest.next_page_token
    other = Ask(page_token=first.next_page_token, after_seconds=0)
    assert ask.refusal("ListEvents", other) == (grpc.StatusCode.INVALID_ARGUMENT, "page_token")


@pytest.mark.parametrize(
    ("request_", "field"),
    [
        (Ask(page_size=-1), "page_size"),
        (Ask(filter=pb.SeriesFilter(location="x" * 201)), "filter.location"),
    ],
)
def test_bad_questions_name_their_field(ask, request_, field):
    assert ask.refusal("ListEvents", request_) == (grpc.StatusCode.INVALID_ARGUMENT, field)
