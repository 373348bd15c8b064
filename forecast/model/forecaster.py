"""Scoring: a bundle and a panel give forecasts of every series.

Series are scored in batches, in as many lanes as there are devices. On a CPU each lane is a thread on one
core: so many batches at once are done sooner than one after the other by all cores. Batches do not depend on
the lanes, so neither do the forecasts.

Letters: S series, B series of a batch, O origins, G groups of series that share a calendar, H horizon,
Q levels, K scenarios.
"""

from __future__ import annotations

import mmap
from collections.abc import Generator, Iterator
from functools import partial
from typing import Final, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from forecast.cli.output import say
from forecast.demand.panel import Floats, Panel
from forecast.demand.shards import PanelShards
from forecast.errors import InputError, IntegrityError, UsageError
from forecast.forecasts import ForecastPart, Forecasts
from forecast.model.ahead import in_order
from forecast.model.allocation import keep_large_blocks
from forecast.model.bundle import Bundle
from forecast.model.coupling import coupling_rows
from forecast.model.ensemble import Ensemble
from forecast.model.memory import memory_text
from forecast.model.packing import PackedRows
from forecast.model.priors import prior_lift
from forecast.model.survey import Check, Survey, survey
from forecast.model.tensors import PanelTensors
from forecast.model.windows import gather_windows
from forecast.quantiles import LEVELS

SCORING_BATCH: Final = 512
"""Series scored at once; on a CPU the working set then stays in its caches."""
GPU_BATCH: Final = 4096
"""As many keep a GPU busy."""


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


class Batches:
    """How many series a device scores at once: half as many from each time on that its memory does not
    suffice, which is said on stderr the first time."""

    def __init__(self, size: int = SCORING_BATCH) -> None:
        self.size = size
        self._said = False

    def halve(self, tensors: PanelTensors, tried: int) -> None:
        """After `tried` series were too many. Raises InputError when that was a single one."""
        if tried <= 1:
            found = "less free memory than that"
            raise InputError(str(tensors.device), expected=memory_text(tensors, 1), found=found)
        self.size = tried // 2
        if not self._said:
            self._said = True
            say(f"{tensors.device}: no memory for {tried:,} series at once, going on with fewer")


def score(
    network: Ensemble,
    tensors: PanelTensors,
    end: int,
    n_origins: int,
    series_S: Tensor | None = None,
    batches: Batches | None = None,
) -> Iterator[Scores]:
    """Score series (all, or those in `series_S`) batch by batch at the last `n_origins` patch ends up to
    `end` observed periods. Raises InputError where the device has no memory for a single series."""
    if series_S is None:
        series_S = torch.arange(tensors.n_series, device=tensors.device)
    batches = batches or Batches()
    network.eval()
    end_1 = torch.tensor([end], device=series_S.device)
    first = 0
    with torch.inference_mode():
        while first < len(series_S):
            series_B = series_S[first : first + batches.size]
            try:
                windows = gather_windows(tensors, series_B, end_1, network.config, n_origins)
                result = network(tensors, windows, n_origins)
                quantiles_BOHQ = result.quantiles_BOHQ.clamp(min=0)
            except torch.OutOfMemoryError:
                batches.halve(tensors, len(series_B))
                continue
            rows = slice(first, first + len(series_B))
            first = rows.stop
            yield Scores(rows, result.mean_BOH, quantiles_BOHQ)


class _Lane(NamedTuple):
    """A device, or a core, that scores on its own."""

    network: Ensemble
    tensors: PanelTensors
    batches: Batches


class _Numbers(NamedTuple):
    """Forecasts of the series `rows` of a shard."""

    rows: slice
    mean_BH: Floats
    quantiles_BHQ: Floats


class Forecaster:
    """Forecasts of a bundle's model; `forecaster(panel, horizon)` answers for every series of the panel.

    devices: GPUs to score on, or lanes on a CPU (as many as torch has threads, when None).
    """

    def __init__(self, bundle: Bundle, device: str = "auto", devices: int | None = None) -> None:
        self.bundle = bundle
        self.device = choose_device(device)
        keep_large_blocks()
        on_cpu = self.device.type == "cpu"
        n = devices or (torch.get_num_threads() if on_cpu else 1)
        self.network = self._on(self.device)
        others = (self.network if on_cpu else self._on(torch.device("cuda", i)) for i in range(1, n))
        self._networks = [self.network, *others]
        self._batches = [Batches(SCORING_BATCH if on_cpu else GPU_BATCH) for _ in self._networks]

    def _on(self, device: torch.device) -> Ensemble:
        network = Ensemble(self.bundle.config, self.bundle.schema).to(device)
        try:
            network.load_state_dict(dict(self.bundle.weights))
        except RuntimeError as error:
            expected = "the parameters of this release's network; train again"
            raise IntegrityError("bundle weights", expected=expected, found=_one_line(error)) from None
        return network

    def __call__(self, panel: Panel, horizon: int) -> Forecasts:
        """Forecast the `horizon` periods after the panel's last.

        Raises:
            UsageError: the horizon is longer than the model's. InputError: the panel lacks what the model
            was trained with.
        """
        found = self.survey(PanelShards.of(panel), horizon)
        shape = (panel.n_series, horizon)
        mean_SH = np.empty(shape, np.float32)
        quantiles_SHQ = np.empty((*shape, len(LEVELS)), np.float32)
        ranks_SHK = np.empty((*shape, self.bundle.ranks_SHK.shape[2]), np.uint8)
        first = 0
        for part, _ in self.parts(found):
            rows = slice(first, first + len(part.keys))
            mean_SH[rows], quantiles_SHQ[rows] = part.mean_SH, part.quantiles_SHQ
            ranks_SHK[rows] = part.ranks_SHK
            first = rows.stop
        return Forecasts(
            period=panel.period,
            origin=panel.origin,
            keys=panel.keys,
            mean_SH=mean_SH,
            quantiles_SHQ=quantiles_SHQ,
            ranks_SHK=ranks_SHK,
        )

    def survey(self, shards: PanelShards, horizon: int, check: Check | None = None) -> Survey:
        """Look at all series of a panel, before `parts` scores them for the `horizon` periods after its last.

        Raises UsageError and InputError as scoring does, and what `check` raises
        (`forecast.model.survey.survey`).
        """
        self.check(shards.outline, horizon)
        return survey(shards, self.bundle.config, self.bundle.schema, horizon, check)

    def parts(self, found: Survey) -> Generator[ForecastPart]:
        """Forecasts of runs of series, first to last, which are all that is held in memory of them."""
        ranks_SHK, row_S = self.bundle.ranks_SHK, coupling_rows(self.bundle.keys, found.outline.keys)
        lift_GH = prior_lift(found.outline, self.bundle.schema.events, found.horizon)
        shared = [found.shared.to(next(network.parameters()).device) for network in self._networks]
        for rows, panel, packed in found.packed():
            lanes = [
                _Lane(*lane)
                for lane in zip(self._networks, _each(shared, rows, packed), self._batches, strict=True)
            ]
            for numbers in self._scored(lanes, panel, found.horizon, lift_GH):
                part = panel.select(numbers.rows)
                ranks_of_B = row_S[rows][numbers.rows]
                forecasts = Forecasts(
                    period=panel.period,
                    origin=panel.origin,
                    keys=part.keys,
                    mean_SH=numbers.mean_BH,
                    quantiles_SHQ=numbers.quantiles_BHQ,
                    ranks_SHK=ranks_SHK[ranks_of_B][:, : found.horizon],
                )
                yield ForecastPart(forecasts, part)
            _let_go(ranks_SHK)

    def _scored(
        self, lanes: list[_Lane], panel: Panel, horizon: int, lift_GH: Floats | None
    ) -> Iterator[_Numbers]:
        """Forecasts of all series of a shard, in order."""
        n = panel.n_series
        size = SCORING_BATCH if self.device.type == "cpu" else GPU_BATCH
        jobs = (slice(first, min(first + size, n)) for first in range(0, n, size))
        threads = torch.get_num_threads()
        one_core = self.device.type == "cpu" and len(lanes) > 1
        begin = partial(torch.set_num_threads, 1 if one_core else threads)
        try:
            work = partial(self._numbers, panel=panel, horizon=horizon, lift_GH=lift_GH)
            for several in in_order(jobs, work, lanes, begin):
                yield from several
        finally:
            torch.set_num_threads(threads)  # what a thread sets, those that begin later take over

    def _numbers(
        self, lane: _Lane, job: slice, *, panel: Panel, horizon: int, lift_GH: Floats | None
    ) -> list[_Numbers]:
        """Forecasts of the series `job`, in one batch where the device has memory for it."""
        series_S = torch.arange(job.start, job.stop, device=lane.tensors.device)
        result = []
        for part in score(lane.network, lane.tensors, panel.n_periods, 1, series_S, lane.batches):
            rows = slice(job.start + part.rows.start, job.start + part.rows.stop)
            mean_BH = part.mean_BOH[:, 0, :horizon].cpu().numpy()
            quantiles_BHQ = part.quantiles_BOHQ[:, 0, :horizon].cpu().numpy()
            if lift_GH is not None:
                lift_BH = lift_GH[panel.events.group_S[rows]]
                mean_BH, quantiles_BHQ = mean_BH * lift_BH, quantiles_BHQ * lift_BH[:, :, None]
            if self.bundle.schema.integer:
                # Demand that comes in whole units has whole quantiles.
                quantiles_BHQ = np.round(quantiles_BHQ)
            result.append(_Numbers(rows, mean_BH, quantiles_BHQ))
        return result

    def check(self, panel: Panel, horizon: int) -> None:
        """Raise UsageError for a horizon that the model does not have, InputError for a panel of other
        periods."""
        config = self.bundle.config
        if not 1 <= horizon <= config.horizon:
            raise UsageError(f"horizon: expected 1..{config.horizon} periods (the model's), found {horizon}")
        if panel.period != config.period:
            raise InputError("period", expected=config.period, found=panel.period)


def _each(shared: list[PanelTensors], rows: slice, packed: PackedRows) -> list[PanelTensors]:
    """The tensors of a shard in each lane; lanes on one device share them."""
    made: dict[torch.device, PanelTensors] = {}
    for one in shared:
        if one.device not in made:
            made[one.device] = one.of(rows, packed)
    return [made[one.device] for one in shared]


def _let_go(ranks_SHK: NDArray[np.uint8]) -> None:
    """What was read of a mapped file counts as memory of this process until it is given back."""
    if isinstance(ranks_SHK.base, mmap.mmap):
        ranks_SHK.base.madvise(mmap.MADV_DONTNEED)


def _one_line(error: RuntimeError) -> str:
    """The first difference that torch names."""
    return " ".join(str(error).split(":", 1)[-1].split())[:120]
