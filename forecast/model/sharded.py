"""Several devices: how many there are, and scoring on all of them.

Each device scores a run of neighbouring series with its own copy of the network and the panel; on the CPU,
which all threads share, there is one of both. The batches are those of a single device, so the forecasts
are too.

Letters: S series, H horizon, Q levels.
"""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray

from forecast.demand.panel import Panel
from forecast.errors import UsageError
from forecast.model.bundle import Bundle
from forecast.model.forecaster import SCORING_BATCH, Forecaster, choose_device, score
from forecast.model.tensors import PanelTensors, build_tensors


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
    """A forecaster on one device or on several (`count_devices`).

    Raises UsageError for devices that are not there, IntegrityError for a bundle of another release.
    """
    n = count_devices(device, devices)
    return Forecaster(bundle, device) if n == 1 else ShardedForecaster(bundle, device, n)


class ShardedForecaster(Forecaster):
    """A forecaster whose series are scored on `devices` devices at once; on the CPU, by so many threads."""

    def __init__(self, bundle: Bundle, device: str, devices: int) -> None:
        super().__init__(bundle, device)
        if self.device.type == "cpu":
            self._parts: list[Forecaster] = [self] * devices
        else:
            self._parts = [self, *(Forecaster(bundle, f"cuda:{i}") for i in range(1, devices))]

    def _fill(self, panel: Panel, mean_SH: NDArray[np.float32], quantiles_SHQ: NDArray[np.float32]) -> None:
        horizon = mean_SH.shape[1]
        own = self._tensors(panel, horizon, self.device)
        stopped = threading.Event()

        def work(part: Forecaster, first: int, end: int) -> None:
            tensors = own if part is self else self._tensors(panel, horizon, part.device)
            series = torch.arange(first, end, device=part.device)
            for rows, mean_BOH, quantiles_BOHQ in score(part.network, tensors, panel.n_periods, 1, series):
                place = slice(first + rows.start, first + rows.stop)
                mean_SH[place] = mean_BOH[:, 0, :horizon].cpu().numpy()
                quantiles_SHQ[place] = quantiles_BOHQ[:, 0, :horizon].cpu().numpy()
                if stopped.is_set():
                    return

        shares = shards(panel.n_series, len(self._parts))
        with ThreadPoolExecutor(len(shares)) as pool:
            try:
                jobs = [
                    pool.submit(work, part, *share) for part, share in zip(self._parts, shares, strict=False)
                ]
                for job in jobs:
                    job.result()
            finally:
                stopped.set()  # after an error or Ctrl-C the others end with their batch

    def _tensors(self, panel: Panel, horizon: int, device: torch.device) -> PanelTensors:
        return build_tensors(panel, self.bundle.config, self.bundle.schema, device, horizon=horizon)


def shards(n_series: int, n: int) -> list[tuple[int, int]]:
    """Up to n runs of series, each of whole batches, about equally long: their first rows and their ends."""
    n_batches = max(-(-n_series // SCORING_BATCH), 1)
    n = min(n, n_batches)
    ends = [min(n_batches * i // n * SCORING_BATCH, n_series) for i in range(n + 1)]
    return list(pairwise(ends))
