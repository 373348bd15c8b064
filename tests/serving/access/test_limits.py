"""What one token may ask for, and what a server works on at once."""

import json
import threading

import pytest
from access import token
from google.rpc import code_pb2

from forecast.errors import OverloadError
from serving.access.admission import (
    BURST_CALLS,
    BURST_S,
    IDLE_S,
    MOST_IDLE,
    NARROW_S,
    OVERLOADED_S,
    STANDING_S,
    Lane,
    Place,
)
from serving.access.limits import Quota
from serving.access.tokens import read_tokens
from serving.errors import to_status


@pytest.fixture
def quota(own_home):
    def make(**limits):
        token(own_home, **limits)
        return Quota(read_tokens(own_home)[0], now=1_000.0)

    return make


def entered(enter, times):
    """How many calls at these moments were let in."""
    count = 0
    for now in times:
        try:
            enter(now)
        except OverloadError:
            continue
        count += 1
    return count


def test_a_rate_lets_in_as_many_as_it_says_whatever_is_asked(quota):
    limited = quota(rate=10, concurrency=10_000)
    asked = [1_000.0 + n / 100 for n in range(1_000)]  # ten seconds of a hundred a second
    assert entered(limited.enter, asked) == pytest.approx(10 * 10 + 10, abs=1)
    with pytest.raises(
        OverloadError, match="token planner-1: expected at most 10 calls per second"
    ) as caught:
        limited.enter(asked[-1])
    assert 0 < caught.value.retry_s <= 0.11
    limited.enter(asked[-1] + caught.value.retry_s)


def test_a_rate_below_one_still_lets_one_in(quota):
    slow = quota(rate=0.5, concurrency=9)
    assert entered(slow.enter, [1_000.0 + n for n in range(10)]) == 5


@pytest.mark.parametrize("rate", [1e-320, 1e-13, 1e-6])
def test_a_rate_of_next_to_nothing_in_a_file_counts_as_one_call_an_hour(own_home, rate):
    token(own_home)
    content = json.loads(own_home.tokens_file.read_text())
    content["tokens"][0]["rate"] = rate
    own_home.tokens_file.write_text(json.dumps(content))
    slow = Quota(read_tokens(own_home)[0], now=1_000.0)
    assert entered(slow.enter, [1_000.0, 1_001.0, 4_601.0]) == 2
    with pytest.raises(OverloadError) as caught:
        slow.enter(4_602.0)
    assert 3_500 < caught.value.retry_s <= 3_600
    assert to_status(caught.value).code == code_pb2.RESOURCE_EXHAUSTED


def test_a_clock_that_does_not_advance_gives_nothing(quota):
    limited = quota(rate=1, concurrency=9)
    assert entered(limited.enter, [1_000.0, 999.0, 1_000.0]) == 1


def test_calls_at_once_are_bounded_and_given_back(quota):
    limited = quota(rate=1_000, concurrency=2)
    assert entered(limited.enter, [1_000.0] * 5) == 2
    limited.leave()
    assert entered(limited.enter, [1_000.0] * 5) == 1


class Calls:
    """Calls of a lane whose requests are there at once; the oldest leave first."""

    def __init__(self, lane):
        self.lane, self.open = lane, []

    def enter(self, now):
        number = self.lane.enter(now)
        self.lane.ready(number, now)
        self.open.append(number)

    def leave(self, n):
        for number in self.open[:n]:
            self.lane.leave(number)
        del self.open[:n]


def test_a_burst_is_let_in_and_a_standing_queue_is_not():
    lane = Lane("quick", turns=1, bound=4, burst=20)
    calls = Calls(lane)
    assert entered(calls.enter, [5.0] * 20) == 20
    with pytest.raises(OverloadError) as caught:
        lane.enter(5.0)
    assert caught.value.retry_s > 0
    calls.leave(17)
    assert lane.calls == 3
    assert entered(calls.enter, [5.0 + OVERLOADED_S / 2] * 9) == 0, "overloaded: one works, one waits"
    calls.leave(2)
    assert entered(calls.enter, [5.0 + OVERLOADED_S / 2] * 9) == 1
    calls.leave(2)
    tried = 5.0 + NARROW_S
    assert entered(calls.enter, [tried] * 4) == 4, "more are let in for a try"
    calls.leave(4)
    later = tried + OVERLOADED_S
    assert entered(calls.enter, [later] * 8) == 8, "calm again"
    assert entered(calls.enter, [later + 2 * STANDING_S] * 8) == 0, "these have been waiting for long"


def test_a_burst_of_calls_that_take_long_is_smaller():
    lane = Lane("quick", turns=1, bound=2, burst=40)
    assert entered(lane.enter, [5.0] * 40) > BURST_CALLS
    slow = Lane("quick", turns=1, bound=2, burst=40)
    pause = threading.Event()
    for _ in range(100):
        with slow.turn():
            pause.wait(BURST_S / BURST_CALLS)
    assert entered(slow.enter, [5.0] * 40) == BURST_CALLS, "who comes last waits for BURST_S or so"


def test_calls_whose_requests_do_not_come_are_no_work_until_they_do():
    lane = Lane("quick", turns=1, bound=2, burst=10)
    slow = [lane.enter(5.0) for _ in range(10)]
    calls = Calls(lane)
    later = 5.0 + IDLE_S + NARROW_S
    assert entered(calls.enter, [later + n for n in range(2)]) == 2
    calls.leave(2)
    assert lane.calls == 10
    for number in slow[:2]:
        lane.ready(number, later + 2)
    assert entered(calls.enter, [later + 2] * 9) == 8, "two are work now"
    for number in slow:
        lane.leave(number)
    calls.leave(8)
    assert lane.calls == 0


def test_a_lane_holds_only_so_many_calls_without_a_request():
    lane = Lane("quick", turns=1, bound=2, burst=10)
    for n in range(MOST_IDLE):
        lane.enter(5.0 + n * IDLE_S)
    with pytest.raises(OverloadError, match=f"at most {MOST_IDLE} whose requests do not come"):
        lane.enter(5.0 + (MOST_IDLE + 1) * IDLE_S)


@pytest.mark.parametrize(("gives_way", "allowed"), [(False, {2, 4, 8}), (True, {1, 2, 8})])
def test_an_overloaded_lane_tries_a_little_before_it_tries_its_whole_bound(gives_way, allowed):
    calls = Calls(Lane("quick", turns=1, bound=8, gives_way=gives_way))
    narrow, little, _ = sorted(allowed)

    def flood(now):
        let_in = entered(calls.enter, [now] * 20)
        calls.leave(let_in)
        return let_in

    assert flood(5.0) == 8
    tries = [flood(5.0 + n * OVERLOADED_S / 2) for n in range(1, round(8 * NARROW_S / OVERLOADED_S))]
    assert set(tries) == allowed
    assert tries.count(narrow) > 0.7 * len(tries), "tries are few"
    assert tries.index(little) < tries.index(8)


def test_a_place_is_given_back_once_and_a_full_lane_takes_nothing_from_the_quota(quota):
    lane, limited = Lane("heavy", turns=1, bound=1), quota(rate=1_000, concurrency=2)
    place = Place(lane, limited, 1_000.0)
    for _ in range(5):
        with pytest.raises(OverloadError, match="heavy calls: expected at most 1 at once"):
            Place(lane, limited, 1_000.0)
    place.leave()
    place.leave()
    assert lane.calls == 0
    assert Place(lane, limited, 1_000.0)


def test_the_wait_follows_from_how_long_calls_take():
    lane = Lane("heavy", turns=1, bound=2)
    pause = threading.Event()
    for _ in range(60):
        with lane.turn():
            pause.wait(0.002)
    assert entered(lane.enter, [1.0] * 2) == 2
    with pytest.raises(OverloadError) as quick:
        lane.enter(1.0)
    for _ in range(20):
        with lane.turn():
            pause.wait(0.05)
    with pytest.raises(OverloadError) as slow:
        lane.enter(1.0)
    assert quick.value.retry_s < slow.value.retry_s
