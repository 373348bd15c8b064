"""Too little memory on the device: a step that does not fit is done again with half of its windows.

Nothing else changes: the weights, the optimiser and the budget go on from where they were. Several processes
would have to agree on the windows in the middle of a step that some of them have done already, so there it is
an error that says what helps.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterator
from typing import Any

import torch
from lightning.pytorch.strategies import SingleDeviceStrategy
from torch.optim import Optimizer

from forecast.cli.output import say
from forecast.errors import SurgecastError
from training.feed import Draw, OriginFeed
from training.team import Team

WAYS = "a shorter horizon, fewer series, a device with more memory and --device cpu need less"
_WANTED = re.compile(r"tried to allocate ([\d.]+ \w+)", re.IGNORECASE)


class FrugalStrategy(SingleDeviceStrategy):
    """Training on one device, with as many windows a step as fit into its memory.

    feed: draws the windows; its `batch` is halved where a step does not fit.
    """

    def __init__(self, device: torch.device, feed: OriginFeed) -> None:
        super().__init__(device=device)
        self._feed = feed

    def training_step(self, draw: Draw, batch_idx: int) -> Any:
        """The loss of a draw, cut where it was made before the windows were halved."""
        return super().training_step(first_windows(draw, self._feed.batch), batch_idx)

    def optimizer_step(  # type: ignore[override]  # the optimiser has no further options
        self, optimizer: Optimizer, closure: Callable[[], Any], model: Any = None
    ) -> Any:
        """Loss, gradients and new weights, with fewer windows until they fit.

        Raises SurgecastError where a single window does not.
        """
        windows, wanted = self._feed.batch, ""
        while True:
            try:
                result = super().optimizer_step(optimizer, closure, model)
                break
            except RuntimeError as error:
                found = memory_wanted(error)
                if found is None:
                    raise
                wanted = wanted or found
            # Here, and not above: the error holds on to what the step had computed.
            self._make_room(optimizer, found)
        if wanted:
            say(
                f"out of memory on {self.root_device}: a step of {windows} windows asked for {wanted} more;"
                f" training goes on with {self._feed.batch} windows a step"
            )
        return result

    def _make_room(self, optimizer: Optimizer, wanted: str) -> None:
        """Give back what the step took, and halve the windows."""
        optimizer.zero_grad(set_to_none=True)
        if self.root_device.type == "cuda":
            torch.cuda.empty_cache()
        if self._feed.batch <= 1:
            expected = f"memory of {self.root_device}: expected room for a step of one window"
            raise SurgecastError(f"{expected}, found none for the {wanted} it asked for last; {WAYS}")
        self._feed.batch //= 2


def first_windows(draw: Draw, n: int) -> Draw:
    """The first n windows of a draw; those that hide something are spread over it."""
    if len(draw.series_B) <= n:
        return draw
    hidden_B = None if draw.hidden_B is None else draw.hidden_B[:n]
    return draw._replace(series_B=draw.series_B[:n], end_B=draw.end_B[:n], hidden_B=hidden_B)


@contextlib.contextmanager
def named_where_full(device: torch.device, team: Team) -> Iterator[None]:
    """Raise SurgecastError where the device's memory is full and no step could be made smaller."""
    try:
        yield
    except RuntimeError as error:
        wanted = memory_wanted(error)
        if wanted is None:
            raise
        ways = WAYS if team.alone else f"{WAYS}; on one device (--devices 1) steps are made to fit"
        message = f"memory of {device}: expected room for {wanted} more, found none; {ways}"
        raise SurgecastError(message) from error


def memory_wanted(error: RuntimeError) -> str | None:
    """How much memory an error says was asked for in vain, as `20.00 MiB`; None for another error."""
    text = str(error)
    if not isinstance(error, torch.OutOfMemoryError) and "can't allocate memory" not in text:
        return None
    found = _WANTED.search(text)
    return found[1] if found else "an unknown amount"
