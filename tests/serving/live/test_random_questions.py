"""Random and mutated questions to the live model get an answer or one of our errors, which names a field."""

import math
import os
import threading

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from surgecast.v1 import forecast_pb2 as pb

from forecast.errors import InputError, NotFoundError
from serving.answers.live import LiveAnswers
from serving.call import Call
from serving.live.engine import LiveConfig, LiveEngine
from serving.live.queue import QueueConfig
from serving.served import seconds
from serving.store import SnapshotStore
from tests.support.live_home import CUTOFF, make_home, panel_of, publish_bundle, wild_bundle

EXAMPLES = int(os.environ.get("SURGECAST_EXAMPLES", "150"))
"""Of each method; the bar of 20,000 is asked for by the environment."""
WAITING = Call(remaining=lambda: math.inf, active=lambda: True)
FIRST = seconds(CUTOFF) + 86_400

text = st.one_of(st.sampled_from(["", "price", "double-11", "category"]), st.text(max_size=5))
names = st.one_of(text, st.sampled_from(["x" * 201, "a\x00b", "\u202e", "É" * 200]))
moments = st.one_of(
    st.none(),
    st.integers(-2, 16).map(lambda day: FIRST + day * 86_400),
    st.integers(-(2**63), 2**63 - 1),
)
numbers = st.one_of(st.sampled_from([0.0, 0.5, 1.0, 2.0, 1e9, -1e9, 1e-300]), st.floats())
small = st.one_of(st.none(), st.integers(0, 20), st.integers(-(2**31), 2**31 - 1))
ranges = st.one_of(st.none(), st.builds(pb.TimeRange, start_seconds=moments, end_seconds=moments))
known = st.sampled_from(["price", "discount"])
features = st.one_of(
    st.builds(pb.FeatureChange, name=st.one_of(known, names), range=ranges, set=numbers),
    st.builds(pb.FeatureChange, name=known, range=ranges, multiply=numbers),
    st.builds(pb.FeatureChange, name=known),
)
events = st.builds(
    pb.EventChange,
    kind=st.one_of(st.just("double-11"), names),
    move_days=st.one_of(st.integers(-60, 60), st.integers(-(2**31), 2**31 - 1)),
    multiply_intensity=st.one_of(st.none(), numbers),
)
changes = st.one_of(
    st.builds(pb.Change, feature=features), st.builds(pb.Change, event=events), st.just(pb.Change())
)
plans = st.builds(
    pb.FeaturePlan,
    name=st.one_of(known, names),
    values=st.one_of(
        st.lists(st.floats(width=32), max_size=3),
        st.lists(st.floats(0.5, 99, width=32), min_size=14, max_size=14),
    ),
)


@pytest.fixture(scope="module")
def answers(tmp_path_factory):
    """The methods by name, answering in this process, and the keys of the series."""
    home = make_home(tmp_path_factory.mktemp("random"))
    publish_bundle(home, wild_bundle(panel_of(home)))
    store = SnapshotStore(home)
    store.load()
    ready = threading.Event()
    engine = LiveEngine(home, LiveConfig(queue=QueueConfig(delay_s=0.0)), lambda _ready: ready.set())
    engine.follow(store.current)
    assert ready.wait(60)
    live = LiveAnswers(engine)
    yield (
        {"SimulateScenario": live.simulate_scenario, "ForecastNewSeries": live.forecast_new_series},
        [pb.SeriesKey(item=i, location=x, platform=p) for i, x, p in store.current.snapshot.index],
    )
    engine.close()


def questions(method, keys):
    """Random questions; of series that are there, mostly."""
    there = st.sampled_from(keys)
    other = st.builds(pb.SeriesKey, item=names, location=names, platform=names)
    if method == "SimulateScenario":
        return st.builds(
            pb.SimulateScenarioRequest,
            keys=st.lists(st.one_of(there, there, other), max_size=4),
            horizon=small,
            changes=st.lists(changes, max_size=4),
        )
    return st.builds(
        pb.ForecastNewSeriesRequest,
        key=st.one_of(there, other),
        labels=st.dictionaries(st.one_of(st.just("category"), names), names, max_size=2),
        features=st.lists(plans, max_size=2),
        horizon=small,
    )


@st.composite
def mutated(draw, wanted):
    """The bytes of a question with some replaced, taken out or put in; sometimes bytes of no question."""
    content = bytearray(draw(wanted).SerializeToString())
    for _ in range(draw(st.integers(0, 3))):
        at = draw(st.integers(0, len(content)))
        content[at : at + draw(st.integers(0, 2))] = draw(st.binary(max_size=3))
    return bytes(content)


@pytest.mark.parametrize("method", ["SimulateScenario", "ForecastNewSeries"])
def test_an_answer_or_one_of_our_errors(answers, method):
    methods, keys = answers
    wanted = questions(method, keys)

    @settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
    @given(st.one_of(wanted.map(lambda request: request.SerializeToString()), mutated(wanted)))
    def never_anything_else(content):
        try:
            answer = getattr(pb, method + "Response").FromString(methods[method](content, WAITING))
        except (InputError, NotFoundError) as error:
            assert error.field  # noqa: PT017  an answer is as good
        else:
            assert answer.source.snapshot_id
            pairs = answer.forecasts if method == "SimulateScenario" else [answer]
            found = [pair.changed if method == "SimulateScenario" else pair.forecast for pair in pairs]
            assert np.isfinite([number for one in found for number in (*one.mean, *one.quantiles)]).all()

    never_anything_else()
