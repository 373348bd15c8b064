"""Scoring: a bundle and a panel give forecasts of every series.

Letters: S series, B series of a batch, O origins, H horizon, Q levels, K scenarios.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from forecast.demand.panel import Panel, SeriesKeys
from forecast.errors import InputError, IntegrityError, UsageError
from forecast.forecasts import Forecasts
from forecast.model.allocation import keep_large_blocks
from forecast.model.bundle import Bundle
from forecast.model.ensemble import Ensemble
from forecast.model.priors import prior_lift
from forecast.model.tensors import PanelTensors, build_tensors
from forecast.model.windows import gather_windows

SCORING_BATCH = 256
"""Series scored at once; on a CPU the working set then stays in its caches."""


def choose_device(name: str) -> torch.device:
    """`auto` takes a GPU when there is one; `cuda` where there is none is an error, and so is `cuda:1` where
    there is one."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if name.startswith("cuda") and not torch.cuda.is_available():
        raise UsageError(f"device: expected one that this machine has (cpu), found {name}")
    try:
        device = torch.device(name)
    except RuntimeError:
        raise UsageError(f"device: expected auto, cpu or cuda, found {name!r}") from None
    if device.type == "cuda" and (device.index or 0) >= (there := torch.cuda.device_count()):
        raise UsageError(f"device: expected cuda:0 to cuda:{there - 1} (this machine's), found {name}")
    return device


class Scores(NamedTuple):
    """Scored series `rows` at O origins: mean (B, O, H) and quantiles (B, O, H, Q), in units, never
    negative."""

    rows: slice
    mean_BOH: Tensor
    quantiles_BOHQ: Tensor


def score(
    network: Ensemble, tensors: PanelTensors, end: int, n_origins: int, series_S: Tensor | None = None
) -> Iterator[Scores]:
    """Score series (all, or those in `series_S`) batch by batch at the last `n_origins` patch ends up to
    `end` observed periods."""
    if series_S is None:
        series_S = torch.arange(tensors.n_series, device=tensors.device)
    network.eval()
    end_1 = torch.tensor([end], device=series_S.device)
    with torch.inference_mode():
        for first in range(0, len(series_S), SCORING_BATCH):
            series_B = series_S[first : first + SCORING_BATCH]
            windows = gather_windows(tensors, series_B, end_1, network.config, n_origins)
            result = network(tensors, windows, n_origins)
            rows = slice(first, first + len(series_B))
            yield Scores(rows, result.mean_BOH, result.quantiles_BOHQ.clamp(min=0))


class Forecaster:
    """Forecasts of a bundle's model; `forecaster(panel, horizon)` answers for every series of the panel."""

    def __init__(self, bundle: Bundle, device: str = "auto") -> None:
        self.bundle = bundle
        self.device = choose_device(device)
        keep_large_blocks()
        self.network = Ensemble(bundle.config, bundle.schema).to(self.device)
        try:
            self.network.load_state_dict(dict(bundle.weights))
        except RuntimeError as error:
            expected = "the parameters of this release's network; train again"
            raise IntegrityError("bundle weights", expected=expected, found=_one_line(error)) from None

    def __call__(self, panel: Panel, horizon: int) -> Forecasts:
        """Forecast the `horizon` periods after the panel's last.

        Raises:
            UsageError: the horizon is longer than the model's. InputError: the panel lacks what the model
            was trained with.
        """
        self.check(panel, horizon)
        shape = (panel.n_series, horizon)
        mean_SH = np.empty(shape, np.float32)
        quantiles_SHQ = np.empty((*shape, 17), np.float32)
        self._fill(panel, mean_SH, quantiles_SHQ)
        lift_GH = prior_lift(panel, self.bundle.schema.events, horizon)
        if lift_GH is not None:
            mean_SH *= lift_GH[panel.events.group_S]
            quantiles_SHQ *= lift_GH[panel.events.group_S][:, :, None]
        if self.bundle.schema.integer:
            # Demand that comes in whole units has whole quantiles.
            np.round(quantiles_SHQ, out=quantiles_SHQ)
        return Forecasts(
            period=panel.period,
            origin=panel.origin,
            keys=panel.keys,
            mean_SH=mean_SH,
            quantiles_SHQ=quantiles_SHQ,
            ranks_SHK=self._ranks(panel.keys)[:, :horizon],
        )

    def _fill(self, panel: Panel, mean_SH: NDArray[np.float32], quantiles_SHQ: NDArray[np.float32]) -> None:
        """Score all series into place."""
        horizon = mean_SH.shape[1]
        tensors = build_tensors(panel, self.bundle.config, self.bundle.schema, self.device, horizon=horizon)
        for rows, mean_BOH, quantiles_BOHQ in score(self.network, tensors, panel.n_periods, 1):
            mean_SH[rows] = mean_BOH[:, 0, :horizon].cpu().numpy()
            quantiles_SHQ[rows] = quantiles_BOHQ[:, 0, :horizon].cpu().numpy()

    def check(self, panel: Panel, horizon: int) -> None:
        """Raise UsageError for a horizon that the model does not have, InputError for a panel of other
        periods."""
        config = self.bundle.config
        if not 1 <= horizon <= config.horizon:
            raise UsageError(f"horizon: expected 1..{config.horizon} periods (the model's), found {horizon}")
        if panel.period != config.period:
            raise InputError("period", expected=config.period, found=panel.period)

    def _ranks(self, keys: SeriesKeys) -> NDArray[np.uint8]:
        """Rows of the bundle's coupling for these series; a series it never saw borrows one, by a hash of its
        key."""
        known = {key: row for row, key in enumerate(_tuples(self.bundle.keys))}
        n = len(known)
        rows = [known.get(key, _stable_hash(key) % n) for key in _tuples(keys)]
        ranks_SHK: NDArray[np.uint8] = self.bundle.ranks_SHK[np.asarray(rows)]
        return ranks_SHK


def _one_line(error: RuntimeError) -> str:
    """The first difference that torch names."""
    return " ".join(str(error).split(":", 1)[-1].split())[:120]


def _tuples(keys: SeriesKeys) -> Iterator[tuple[str, str, str]]:
    return zip(keys.item.tolist(), keys.location.tolist(), keys.platform.tolist(), strict=True)


def _stable_hash(key: tuple[str, str, str]) -> int:
    """The same on every machine and run, unlike Python's hash of strings."""
    value = 0
    for byte in "\x1f".join(key).encode():
        value = (value * 131 + byte) % (1 << 61)
    return value
