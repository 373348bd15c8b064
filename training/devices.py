"""What a user should know of the device that a job computes on."""

from __future__ import annotations

from forecast.cli.output import say
from forecast.model.forecaster import choose_device


def tell_device(name: str) -> None:
    """Say on stderr that `auto` computes on the processor, where it found no GPU.

    Raises UsageError for a device that is not there.
    """
    if choose_device(name).type == "cpu" and name == "auto":
        say("device auto: no GPU found, computing on the processor")
