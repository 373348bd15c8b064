"""How much one token may ask for: calls per second and calls at once, on the monotonic clock."""

from __future__ import annotations

import math
import threading

from forecast.errors import OverloadError
from serving.access.tokens import LEAST_RATE, Token


class Quota:
    """What is left of a token's rate and concurrency.

    The rate is a bucket that fills with `token.rate` calls per second (`LEAST_RATE` where a file says less)
    and holds those of one second, at least one. A refused call takes nothing from it.
    """

    def __init__(self, token: Token, now: float) -> None:
        self.token = token
        self._lock = threading.Lock()
        self._rate = max(LEAST_RATE, token.rate)
        self._size = max(1.0, self._rate)
        self._left = self._size
        self._filled = now
        self._calls = 0

    def enter(self, now: float) -> None:
        """Take a call at `now` (monotonic, seconds); OverloadError when there is none left."""
        token = self.token
        with self._lock:
            self._left = min(self._size, self._left + max(0.0, now - self._filled) * self._rate)
            self._filled = max(self._filled, now)
            if self._calls >= token.concurrency:
                expected, found, wait = f"at most {token.concurrency} calls at once", "one more", 0.05
            elif self._left < 1:
                wait = math.ceil((1 - self._left) / self._rate * 100) / 100
                expected, found = f"at most {self._rate:g} calls per second", "more"
            else:
                self._left -= 1
                self._calls += 1
                return
        raise OverloadError(f"token {token.name}", expected=expected, found=found, retry_s=wait)

    def leave(self) -> None:
        """A call has ended."""
        with self._lock:
            self._calls -= 1
