"""One bounded queue before the model: questions that arrive together are answered together.

A question waits at most `delay_s` for company, short ones go before long ones, and one whose caller has gone
or whose deadline has passed never reaches the model. Each question is answered or refused, whatever happens:
the worker outlives errors, and a question that fails does not take its neighbours with it.
"""

from __future__ import annotations

import heapq
import logging
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from itertools import count
from typing import Final, Generic, TypeVar

from forecast.errors import BusyError, LateError, OverloadError, SurgecastError, UsageError
from serving.call import Call

log = logging.getLogger("surgecast.serving")

PATIENCE_S: Final = 0.005
"""Seconds for each of its series that a question lets later ones go before it: a single series need not wait
for a hundred, and a hundred do not wait for ever."""

Question = TypeVar("Question")
Answer = TypeVar("Answer")


@dataclass(frozen=True, kw_only=True)
class QueueConfig:
    """How questions wait.

    size: questions that wait at most; more are refused.
    rows: series answered at once at most, unless one question has more.
    delay_s: seconds that a question waits for others at most.
    """

    size: int = 64
    rows: int = 64
    delay_s: float = 0.002

    def __post_init__(self) -> None:
        if self.size < 1 or self.rows < 1 or not 0 <= self.delay_s <= 1:
            found = f"size {self.size}, rows {self.rows}, delay {self.delay_s}"
            raise UsageError(
                f"queue: expected a size and rows of at least 1, a delay of 0 to 1 s, found {found}"
            )


@dataclass(order=True)
class _Waiting(Generic[Question, Answer]):
    """A question in the queue; ordered by its turn, then by arrival."""

    turn: float
    number: int
    question: Question = field(compare=False)
    rows: int = field(compare=False)
    call: Call = field(compare=False)
    since: float = field(compare=False)
    future: Future[Answer] = field(compare=False, default_factory=Future)


class BatchQueue(Generic[Question, Answer]):
    """Collects questions and has `work` answer them, in one thread.

    work: the answers of some questions, in order. begin: called first in the thread.
    """

    def __init__(
        self,
        work: Callable[[Sequence[Question]], Sequence[Answer]],
        config: QueueConfig,
        begin: Callable[[], None] = lambda: None,
    ) -> None:
        self._work, self._config, self._begin = work, config, begin
        self._waiting: list[_Waiting[Question, Answer]] = []
        self._changed = threading.Condition()
        self._numbers = count()
        self._closed = False
        self._pace_s = 0.05  # seconds that a batch takes, as of late
        self._thread = threading.Thread(target=self._run, name="live", daemon=True)
        self._thread.start()

    def submit(self, question: Question, *, rows: int, call: Call) -> Future[Answer]:
        """Put a question about `rows` series in; its future is always completed.

        Raises OverloadError when the queue is full, BusyError when it is closed.
        """
        with self._changed:
            if self._closed:
                raise BusyError("live model", expected="a running server", found="one that stops")
            if len(self._waiting) >= self._config.size:
                self._drop_gone()
            if len(self._waiting) >= self._config.size:
                retry_s = max(len(self._waiting) * self._pace_s / 2, 0.1)
                expected = f"at most {self._config.size} questions that wait"
                raise OverloadError("live model", expected=expected, found="as many", retry_s=retry_s)
            now = time.monotonic()
            waiting = _Waiting[Question, Answer](
                turn=now + PATIENCE_S * rows,
                number=next(self._numbers),
                question=question,
                rows=rows,
                call=call,
                since=now,
            )
            heapq.heappush(self._waiting, waiting)
            self._changed.notify()
        return waiting.future

    def close(self) -> None:
        """Answer what waits, take nothing more, and end the thread."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join()

    def _run(self) -> None:
        self._guarded(self._begin)
        while batch := self._next():
            begun = time.monotonic()
            self._answer(batch)
            self._pace_s += 0.2 * (time.monotonic() - begun - self._pace_s)

    def _next(self) -> list[_Waiting[Question, Answer]]:
        """The next questions, when there are enough or the first has waited long enough; none at the end."""
        with self._changed:
            while True:
                self._drop_gone()
                if self._waiting:
                    oldest = min(one.since for one in self._waiting)
                    rest = oldest + self._config.delay_s - time.monotonic()
                    enough = sum(one.rows for one in self._waiting) >= self._config.rows
                    if enough or self._closed or rest <= 0:
                        return self._taken()
                    self._changed.wait(rest)
                elif self._closed:
                    return []
                else:
                    self._changed.wait()

    def _taken(self) -> list[_Waiting[Question, Answer]]:
        batch = [heapq.heappop(self._waiting)]
        rows = batch[0].rows
        while self._waiting and rows + self._waiting[0].rows <= self._config.rows:
            batch.append(heapq.heappop(self._waiting))
            rows += batch[-1].rows
        return batch

    def _drop_gone(self) -> None:
        """Let go of questions that nobody waits for any more."""
        gone = [one for one in self._waiting if not one.call.active() or one.call.remaining() <= 0]
        if gone:
            numbers = {one.number for one in gone}
            self._waiting = [one for one in self._waiting if one.number not in numbers]
            heapq.heapify(self._waiting)
        for one in gone:
            error = LateError("live model", expected="an answer in time", found="a caller that has gone")
            one.future.set_exception(error)

    def _answer(self, batch: Sequence[_Waiting[Question, Answer]]) -> None:
        try:
            answers = self._work([one.question for one in batch])
            for one, answer in zip(batch, answers, strict=True):
                one.future.set_result(answer)
        except Exception as error:  # noqa: BLE001  the thread must live, and nobody be left waiting
            if len(batch) > 1:  # one of them may be at fault: each by itself
                for one in batch:
                    if not one.future.done():
                        self._answer([one])
                return
            batch[0].future.set_exception(_ours(error))

    def _guarded(self, action: Callable[[], None]) -> None:
        try:
            action()
        except Exception:  # questions are answered all the same
            log.exception("the live model's thread began badly")


def _ours(error: Exception) -> SurgecastError:
    if isinstance(error, SurgecastError):
        return error
    log.error("the live model failed", exc_info=error)
    found = f"{type(error).__name__}: {error}"
    return BusyError("live model", expected="an answer", found=found)
