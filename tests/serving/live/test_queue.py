"""The queue before the model: batches, refusals, and nobody left waiting."""

from __future__ import annotations

import math
import threading
from concurrent.futures import Future

import pytest

from forecast.errors import BusyError, InputError, LateError, OverloadError, UsageError
from serving.call import Call
from serving.live.queue import BatchQueue, QueueConfig

HERE = Call(remaining=lambda: math.inf, active=lambda: True)
GONE = Call(remaining=lambda: math.inf, active=lambda: False)
LATE = Call(remaining=lambda: -0.1, active=lambda: True)


class Model:
    """Answers with the square; remembers its batches; can be held up."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.may_go = threading.Event()
        self.may_go.set()
        self.begun = threading.Event()

    def __call__(self, questions):
        self.batches.append(list(questions))
        self.begun.set()
        assert self.may_go.wait(10)
        if any(question < 0 for question in questions):
            raise ZeroDivisionError("of a bad question")
        return [question**2 for question in questions]

    def hold(self, queue: BatchQueue[int, int]) -> Future[int]:
        """Keep the model busy with a question, so that later ones wait together."""
        self.may_go.clear()
        self.begun.clear()
        first = queue.submit(0, rows=1, call=HERE)
        assert self.begun.wait(10)
        return first


@pytest.fixture
def model():
    return Model()


@pytest.fixture
def queue(model):
    made = BatchQueue(model, QueueConfig(size=8, rows=10, delay_s=0.001))
    yield made
    model.may_go.set()
    made.close()


def test_questions_that_wait_are_answered_together(model, queue):
    model.hold(queue)
    answers = [queue.submit(n, rows=2, call=HERE) for n in (1, 2, 3, 4, 5, 6)]
    model.may_go.set()
    assert [answer.result(10) for answer in answers] == [1, 4, 9, 16, 25, 36]
    assert model.batches == [[0], [1, 2, 3, 4, 5], [6]]


def test_questions_of_one_moment_need_not_find_the_model_busy(model):
    queue = BatchQueue(model, QueueConfig(size=8, rows=3, delay_s=1.0))
    answers = [queue.submit(n, rows=1, call=HERE) for n in (1, 2, 3)]
    assert [answer.result(10) for answer in answers] == [1, 4, 9]
    assert model.batches == [[1, 2, 3]]
    queue.close()


def test_a_question_about_many_series_lets_single_ones_go_first(model, queue):
    model.hold(queue)
    long = queue.submit(7, rows=100, call=HERE)
    short = queue.submit(8, rows=1, call=HERE)
    model.may_go.set()
    assert (long.result(10), short.result(10)) == (49, 64)
    assert model.batches == [[0], [8], [7]]


@pytest.mark.parametrize("call", [GONE, LATE])
def test_questions_that_nobody_waits_for_never_reach_the_model(model, queue, call):
    model.hold(queue)
    dropped, wanted = queue.submit(5, rows=1, call=call), queue.submit(6, rows=1, call=HERE)
    model.may_go.set()
    assert wanted.result(10) == 36
    with pytest.raises(LateError, match="gone"):
        dropped.result(10)
    assert model.batches == [[0], [6]]


def test_a_full_queue_says_when_to_come_back(model, queue):
    model.hold(queue)
    answers = [queue.submit(n, rows=1, call=HERE) for n in range(8)]
    with pytest.raises(OverloadError, match="at most 8 questions") as caught:
        queue.submit(9, rows=1, call=HERE)
    assert caught.value.retry_s > 0
    model.may_go.set()
    assert [answer.result(10) for answer in answers] == [n**2 for n in range(8)]
    assert queue.submit(9, rows=1, call=HERE).result(10) == 81


def test_those_who_left_make_room_in_a_full_queue(model, queue):
    model.hold(queue)
    there = [True]
    leaving = Call(remaining=lambda: math.inf, active=lambda: there[0])
    for n in range(8):
        queue.submit(n, rows=1, call=leaving)
    there[0] = False
    answer = queue.submit(9, rows=1, call=HERE)
    model.may_go.set()
    assert answer.result(10) == 81


def test_a_bad_question_fails_alone_and_the_thread_lives_on(model, queue):
    model.hold(queue)
    answers = [queue.submit(n, rows=1, call=HERE) for n in (1, -1, 2)]
    model.may_go.set()
    assert (answers[0].result(10), answers[2].result(10)) == (1, 4)
    with pytest.raises(BusyError, match="ZeroDivisionError: of a bad question"):
        answers[1].result(10)
    assert queue.submit(3, rows=1, call=HERE).result(10) == 9


def test_our_own_errors_come_through_and_wrong_numbers_of_answers_do_not_hang():
    def refuse(_questions):
        raise InputError("keys", expected="other ones", found="these")

    queue = BatchQueue(refuse, QueueConfig())
    with pytest.raises(InputError, match="other ones"):
        queue.submit(1, rows=1, call=HERE).result(10)
    queue.close()
    silent = BatchQueue(lambda _questions: [], QueueConfig())
    with pytest.raises(BusyError):
        silent.submit(1, rows=1, call=HERE).result(10)
    silent.close()


def test_closing_answers_what_waits_and_takes_no_more(model, queue):
    model.hold(queue)
    answers = [queue.submit(n, rows=1, call=HERE) for n in (1, 2)]
    closing = threading.Thread(target=queue.close)
    closing.start()
    model.may_go.set()
    closing.join(10)
    assert [answer.result(0) for answer in answers] == [1, 4]
    with pytest.raises(BusyError, match="stops"):
        queue.submit(3, rows=1, call=HERE)


def test_a_thread_that_begins_badly_answers_all_the_same(model, caplog):
    queue = BatchQueue(model, QueueConfig(), begin=lambda: [].pop())
    assert queue.submit(3, rows=1, call=HERE).result(10) == 9
    queue.close()
    assert any("began badly" in record.message for record in caplog.records)


@pytest.mark.parametrize("wrong", [{"size": 0}, {"rows": 0}, {"delay_s": -1.0}, {"delay_s": math.nan}])
def test_a_queue_of_nothing_is_refused(wrong):
    with pytest.raises(UsageError, match="queue: expected"):
        QueueConfig(**wrong)
