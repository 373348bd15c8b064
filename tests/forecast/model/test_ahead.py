from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from forecast.model.ahead import AHEAD, in_order, one_ahead


def test_results_keep_the_order_of_the_jobs() -> None:
    first_done = threading.Event()

    def work(_lane: str, job: int) -> int:
        if job == 0:
            first_done.wait(10)  # the others overtake it
        if job == 1:
            first_done.set()
        return job * job

    assert list(in_order(range(20), work, ["a", "b"])) == [n * n for n in range(20)]


def test_a_lane_does_one_job_at_a_time_in_a_thread_that_began() -> None:
    begun, busy = set(), {"a": threading.Lock(), "b": threading.Lock()}

    def work(lane: str, _job: int) -> bool:
        assert threading.get_ident() in begun
        alone = busy[lane].acquire(blocking=False)
        if alone:
            busy[lane].release()
        return alone

    assert all(in_order(range(50), work, ["a", "b"], lambda: begun.add(threading.get_ident())))
    assert 1 <= len(begun) <= 2


def test_an_error_comes_in_its_turn_and_ends_the_rest() -> None:
    done = []

    def work(_lane: int, job: int) -> int:
        if job == 3:
            raise ValueError("three")
        done.append(job)
        return job

    results = in_order(range(1000), work, [0])
    assert [next(results) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(ValueError, match="three"):
        next(results)
    assert len(done) < 10


def test_results_that_nobody_wants_are_not_made() -> None:
    done = []
    results = in_order(range(1000), lambda _lane, job: done.append(job), [0, 1])
    next(results)
    results.close()
    assert len(done) <= 2 * AHEAD + 1


def test_the_next_item_is_made_while_one_is_used() -> None:
    made = [threading.Event() for _ in range(3)]

    def items() -> Iterator[int]:
        for n, event in enumerate(made):
            event.set()
            yield n
        raise ValueError("the end")

    found = one_ahead(items())
    assert next(found) == 0
    assert made[1].wait(10)
    assert not made[2].is_set()
    assert [next(found), next(found)] == [1, 2]
    with pytest.raises(ValueError, match="the end"):
        next(found)
    assert list(one_ahead(iter("abc"))) == ["a", "b", "c"]
