"""Several devices: how many there are, and scoring on all of them."""

from __future__ import annotations

import torch

from forecast.errors import UsageError
from forecast.model.bundle import Bundle
from forecast.model.forecaster import Forecaster, choose_device


def count_devices(device: str, devices: int | None) -> int:
    """How many devices to compute on: all GPUs where none is named and `device` is one, else 1.

    Raises UsageError for less than one, for more than there are GPUs, and for a device that is not there.
    """
    if devices is not None and devices < 1:
        raise UsageError(f"devices: expected at least 1, found {devices}")
    chosen = choose_device(device)
    if chosen.type == "cpu":
        return devices or 1
    there = torch.cuda.device_count() if chosen.type == "cuda" and chosen.index is None else 1
    if devices is not None and devices > there:
        raise UsageError(f"devices: expected 1..{there} (GPUs that {device} can use), found {devices}")
    return devices or there


def forecaster(bundle: Bundle, device: str = "auto", devices: int | None = None) -> Forecaster:
    """A forecaster on one device or on several (`count_devices`); on a CPU, in so many lanes.

    Raises UsageError for devices that are not there, IntegrityError for a bundle of another release.
    """
    n = count_devices(device, devices)
    return Forecaster(bundle, device, devices if choose_device(device).type == "cpu" else n)
