"""Random and mutated requests get an answer or one of our errors, which names a field."""

import math
import os

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from surgecast.v1 import forecast_pb2 as pb

from forecast.errors import InputError
from serving.call import Call

EXAMPLES = int(os.environ.get("SURGECAST_EXAMPLES", "150"))
"""Of each method; the bar of 20,000 is asked for by the environment."""
WAITING = Call(remaining=lambda: math.inf, active=lambda: True)

FIRST = 1_793_404_800
"""2026-10-31, the first day of the horizon."""
text = st.one_of(
    st.sampled_from(
        ["", "SKU-3", "上海-1", "Tmall", "in-store", "city", "category", "fruit", "item", "location"]
    ),
    st.text(max_size=5),
    st.sampled_from(["x" * 201, "a\x00b", "\u202e", "É" * 200]),
)
moments = st.one_of(
    st.none(),
    st.integers(-2, 16).map(lambda day: FIRST + day * 86_400),
    st.integers(-(2**63), 2**63 - 1),
)
numbers = st.one_of(st.sampled_from([0.0, 0.5, 1.0, 2.0]), st.floats())
small = st.one_of(st.integers(0, 20), st.integers(-(2**31), 2**31 - 1))
levels = st.lists(st.one_of(st.sampled_from([0.1, 0.5, 0.975]), st.floats()), max_size=3)
filters = st.one_of(
    st.none(),
    st.builds(
        pb.SeriesFilter,
        item=text,
        location=text,
        platform=text,
        minimum_recent_mean=numbers,
        labels=st.lists(st.builds(pb.LabelFilter, name=text, values=st.lists(text, max_size=3)), max_size=2),
    ),
)
ranges = st.one_of(st.none(), st.builds(pb.TimeRange, start_seconds=moments, end_seconds=moments))
groups = st.lists(st.one_of(st.sampled_from(["item", "city", "platform"]), text), max_size=5)
tokens = st.one_of(st.just(""), st.text(max_size=30))
requests = {
    "AggregateForecast": st.builds(
        pb.AggregateForecastRequest,
        filter=filters,
        group_by=groups,
        range=ranges,
        aggregation=st.one_of(st.integers(0, 5), st.integers(-(2**31), 2**31 - 1)),
    ),
    "ListSurges": st.builds(
        pb.ListSurgesRequest,
        filter=filters,
        group_by=groups,
        range=ranges,
        multiple=st.one_of(st.none(), numbers),
        probability=st.one_of(st.none(), numbers),
        page_size=small,
        page_token=tokens,
    ),
    "ListEvents": st.builds(
        pb.ListEventsRequest, filter=filters, page_size=small, page_token=tokens, after_seconds=moments
    ),
    "ExportForecasts": st.builds(
        pb.ExportForecastsRequest, filter=filters, horizon=st.one_of(st.none(), small), levels=levels
    ),
}


@st.composite
def mutated(draw, method):
    """The bytes of a request with some replaced, taken out or put in; sometimes bytes of no request."""
    content = bytearray(draw(requests[method]).SerializeToString())
    for _ in range(draw(st.integers(0, 3))):
        at = draw(st.integers(0, len(content)))
        content[at : at + draw(st.integers(0, 2))] = draw(st.binary(max_size=3))
    return bytes(content)


@pytest.fixture(scope="module")
def answers(answer_from, publication):
    return answer_from(publication)


@pytest.mark.parametrize("method", requests)
def test_an_answer_or_one_of_our_errors(answers, method):
    @settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
    @given(st.one_of(requests[method].map(lambda request: request.SerializeToString()), mutated(method)))
    def never_anything_else(content):
        try:
            answer = answers[method](content, WAITING)
            pieces = [answer] if isinstance(answer, bytes) else list(answer)
        except InputError as error:
            assert error.field  # noqa: PT017  an answer is as good
        else:
            for piece in pieces:
                getattr(pb, method + "Response").FromString(piece)
            assert getattr(pb, method + "Response").FromString(pieces[0]).source.snapshot_id

    never_anything_else()
