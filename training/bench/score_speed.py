"""How fast all series are scored into a snapshot, and with how much memory.

A network of the product's size is trained for a few steps only: speed does not depend on the weights. Setting
up and measuring are processes of their own, so that the peak of memory is that of scoring.
"""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
import time
from collections import deque
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

import numpy as np
import torch

from forecast.bench.samples import Samples
from forecast.cli.output import say
from forecast.demand.panel import Panel
from forecast.demand.shards import PanelShards
from forecast.errors import UsageError
from forecast.forecasts import ForecastPart
from forecast.home import Home
from forecast.model.bundle import Bundle
from forecast.model.config import ModelConfig
from forecast.model.forecaster import Forecaster
from forecast.model.packing import PackedRows
from forecast.model.survey import Survey
from forecast.snapshot.writer import stream_snapshot
from training.bench.speed_data import (
    HORIZON,
    SpeedData,
    open_panel,
    save_panel,
    simulated_in_shards,
    speed_panel,
)
from training.bench.timing import GB, Stopwatch, peak_gb, run_fresh

STEPS: Final = 3
LEARNED: Final = 10_000
"""Simulated series that a network learns from at most."""
PANEL, BUNDLE, HOME = "panel.npz", "bundle", "home"
BARE: Final = (
    "score_s",
    "score_series_per_s",
    "score_network_series_per_s",
    "score_peak_gb",
    "tensors_s",
    "publish_s",
)
"""Metrics that are given for each size of `--scale`."""


@dataclass(frozen=True, kw_only=True)
class ScoreSpeed:
    """How to measure. members: networks that are averaged."""

    repeats: int
    device: str
    members: int = 1
    seed: int = 0


def bench_score(data: SpeedData, *, scale: tuple[int, ...], how: ScoreSpeed) -> dict[str, float]:
    """Metrics of `measure` for the data; for each number of simulated series in `scale` those of `BARE`, the
    number at the end of their names. Snapshots are written in a folder where the system keeps temporary files
    (TMPDIR), which should be on a disk."""
    results = _in_fresh_processes(data, how)
    for n in scale:
        found = _in_fresh_processes(replace(data, folder=None, series=n), how)
        for name in BARE:
            for end in ("", "_spread"):
                if f"{name}{end}" in found:
                    results |= {f"{name}_{n}{end}": found[f"{name}{end}"]}
    return results


def parse_scale(text: str | None) -> tuple[int, ...]:
    """Numbers of series from `10000,100000`. Raises UsageError for what is none."""
    parts = [] if text is None else [part.strip() for part in text.split(",")]
    if not all(part.isascii() and part.isdigit() and int(part) > 0 for part in parts):
        raise UsageError(f"--scale: expected numbers of series such as 10000,100000, found {text!r}")
    return tuple(dict.fromkeys(int(part) for part in parts))


def _in_fresh_processes(data: SpeedData, how: ScoreSpeed) -> dict[str, float]:
    """Set up in one, measure in another."""
    say(f"preparing {'M5' if data.folder is not None else f'{data.series:,} simulated series'} …")
    with tempfile.TemporaryDirectory(prefix="surgecast-bench-") as name:
        source = {**vars(data), "folder": None if data.folder is None else str(data.folder)}
        task = json.dumps({"folder": name, "data": source, "how": vars(how)})
        run_fresh("training.bench.score_speed", ["prepare", task])
        say("scoring …")
        return run_fresh("training.bench.score_speed", ["measure", task])


def prepare(folder: Path, data: SpeedData, how: ScoreSpeed) -> None:
    """Write a bundle, and M5's panel.

    For simulated demand the network learns from the first series only; the scenarios of all others are
    those of the first ones again, so that the bundle has the size that training on all would give it.
    """
    from training.config import TrainingConfig  # here: what only trains is no part of a scoring process
    from training.fit import fit

    panel = speed_panel(replace(data, series=min(data.series, LEARNED)))
    model = ModelConfig.for_history(
        panel.period, horizon=HORIZON, n_periods=panel.n_periods, members=how.members
    )
    training = TrainingConfig(
        steps=STEPS, validation_patches=0, members=how.members, seed=how.seed, device=how.device
    )
    bundle = fit(panel, model=model, training=training)
    if data.folder is not None:
        save_panel(panel, folder / PANEL)
    elif data.series > LEARNED:
        keys = simulated_in_shards(data.series, data.seed).outline.keys
        rows = np.arange(data.series) % LEARNED
        bundle = replace(bundle, keys=keys, ranks_SHK=bundle.ranks_SHK[rows])
    bundle.save(folder / BUNDLE)


def measure(folder: Path, data: SpeedData, how: ScoreSpeed) -> dict[str, float]:
    """Score the series of `prepare` again and again; once, where the panel comes in shards.

    score_s, score_series_per_s: from the panel's tensors, ready on the device, to a snapshot in place,
        written and synced: network, quantiles, ranks of the scenarios, what stands beside them in a snapshot.
        What it takes to simulate and pack shards does not count; here, and here alone, it is done between
        scoring and not meanwhile, so that the seconds do not depend on the number of cores that it needs.
    score_network_series_per_s: windows, network, quantiles into memory; no disk. Of a panel in one piece.
    tensors_s: from the panel in memory to its tensors; of one in shards, from nothing to the sums of its
        groups. publish_s: all of it, shards included; a panel in one piece is in memory before.
    snapshot_mb: on disk, 10^6 bytes. shards: in which the panel came.
    score_peak_gb: most memory of a process that had the panel (or its shards) and the bundle and did all
        this; score_before_gb: its peak before. score_gpu_peak_gb: most of the GPU's memory.
    """
    if data.folder is None:
        shards = simulated_in_shards(data.series, data.seed)
    else:
        shards = PanelShards.of(open_panel(folder / PANEL))
    forecaster = Forecaster(Bundle.load(folder / BUNDLE), how.device)
    before_gb = peak_gb()
    samples = Samples()
    if len(shards) == 1:
        _once(folder, shards, forecaster)  # the first does not count
        for _ in range(how.repeats):
            samples.add(_once(folder, shards, forecaster))
    else:
        samples.add(_once(folder, shards, forecaster))
    facts = {
        "series": float(shards.outline.n_series),
        "shards": float(len(shards)),
        "score_before_gb": before_gb,
        "score_peak_gb": peak_gb(),
    }
    if forecaster.device.type == "cuda":
        facts["score_gpu_peak_gb"] = torch.cuda.max_memory_allocated(forecaster.device) / GB
    return samples.results() | facts


@dataclass(frozen=True, kw_only=True)
class _Timed(Survey):
    """A survey whose shards are read and packed before they are scored, not while others are, and which
    counts how long that takes."""

    waited: list[float] = field(default_factory=list)

    def packed(self) -> Iterator[tuple[slice, Panel, PackedRows]]:
        if self.whole is not None:
            yield from super().packed()
            return
        since = time.perf_counter()
        for rows, panel in self.shards:
            packed = self.pack(rows, panel)
            self.waited.append(time.perf_counter() - since)
            yield packed
            since = time.perf_counter()


def _once(folder: Path, shards: PanelShards, forecaster: Forecaster) -> dict[str, float]:
    n_series, home = shards.outline.n_series, Home(folder / HOME)
    watch = Stopwatch(forecaster.device)
    found = forecaster.survey(shards, HORIZON)
    tensors_s = watch.seconds()
    network: dict[str, float] = {}
    if len(shards) == 1:
        network_s, _ = _seconds(found, forecaster, lambda parts: deque(parts, maxlen=0))
        network["score_network_series_per_s"] = n_series / network_s
    score_s, waited_s = _seconds(
        found,
        forecaster,
        lambda parts: stream_snapshot(
            home, found.outline, parts, bundle_id=forecaster.bundle.bundle_id, model_version="1"
        ),
    )
    files = [file.stat().st_size for file in home.snapshots_dir.glob("*/*")]
    shutil.rmtree(home.root)  # the same content would be kept, not written
    return {
        "score_s": score_s,
        "score_series_per_s": n_series / score_s,
        **network,
        "tensors_s": tensors_s,
        "publish_s": tensors_s + score_s + waited_s,
        "snapshot_mb": sum(files) / 1e6,
    }


def _seconds(
    found: Survey, forecaster: Forecaster, use: Callable[[Generator[ForecastPart]], object]
) -> tuple[float, float]:
    """Seconds in which all series are scored and used, and those in which shards are waited for."""
    timed = _Timed(**vars(found))
    watch = Stopwatch(forecaster.device)
    use(forecaster.parts(timed))
    waited_s = sum(timed.waited)
    return watch.seconds() - waited_s, waited_s


def main() -> None:
    """One of the two processes: `prepare` or `measure`, and the task as JSON."""
    action, task = sys.argv[1], json.loads(sys.argv[2])
    folder, how, source = Path(task["folder"]), ScoreSpeed(**task["how"]), task["data"]
    place = None if source["folder"] is None else Path(source["folder"])
    data = SpeedData(**{**source, "folder": place})
    if action == "prepare":
        prepare(folder, data, how)
        print("{}")
        return
    print(json.dumps(measure(folder, data, how)))


if __name__ == "__main__":
    main()
