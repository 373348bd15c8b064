"""How fast all series are scored into a snapshot, and with how much memory.

A network of the product's size is trained for a few steps only: speed does not depend on the weights. Setting
up and measuring are processes of their own, so that the peak of memory is that of scoring.
"""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np
import torch

from forecast.bench.samples import Samples
from forecast.cli.output import say
from forecast.demand.panel import Panel
from forecast.errors import UsageError
from forecast.home import Home
from forecast.model.bundle import Bundle
from forecast.model.config import ModelConfig
from forecast.model.forecaster import Forecaster, score
from forecast.model.tensors import PanelTensors, build_tensors
from forecast.quantiles import LEVELS
from forecast.snapshot.writer import write_snapshot
from training.bench.speed_data import HORIZON, SpeedData, open_panel, save_panel, speed_panel
from training.bench.timing import GB, Stopwatch, peak_gb, run_fresh

STEPS: Final = 3
PANEL, BUNDLE, HOME = "panel.npz", "bundle", "home"
BARE: Final = ("score_s", "score_series_per_s", "score_network_series_per_s", "score_peak_gb", "tensors_s")
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
            results |= {f"{name}_{n}": found[name]}
            if f"{name}_spread" in found:
                results |= {f"{name}_{n}_spread": found[f"{name}_spread"]}
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
    """Write the panel and a bundle."""
    from training.config import TrainingConfig  # here: what only trains is no part of a scoring process
    from training.fit import fit

    panel = speed_panel(data)
    model = ModelConfig.for_history(
        panel.period, horizon=HORIZON, n_periods=panel.n_periods, members=how.members
    )
    training = TrainingConfig(
        steps=STEPS, validation_patches=0, members=how.members, seed=how.seed, device=how.device
    )
    fit(panel, model=model, training=training).save(folder / BUNDLE)
    save_panel(panel, folder / PANEL)


def measure(folder: Path, how: ScoreSpeed) -> dict[str, float]:
    """Score the panel of `prepare` again and again.

    score_s, score_series_per_s: from the panel's tensors, ready on the device, to a snapshot in place,
        written and synced: network, quantiles, ranks of the scenarios, what stands beside them in a snapshot.
        Measured as the whole call of the forecaster, which makes its own tensors, and the writing, less what
        making the tensors took just before.
    score_network_series_per_s: windows, network, quantiles into memory; no disk. tensors_s: from the panel in
        memory to its tensors on the device. snapshot_mb: on disk, 10^6 bytes.
    score_peak_gb: most memory of a process that loaded the panel and the bundle and did all this;
        score_before_gb: its peak before the first forecast. score_gpu_peak_gb: most of the GPU's memory.
    """
    panel, bundle = open_panel(folder / PANEL), Bundle.load(folder / BUNDLE)
    forecaster = Forecaster(bundle, how.device)
    before_gb = peak_gb()
    _once(folder, panel, forecaster)
    samples = Samples()
    for _ in range(how.repeats):
        samples.add(_once(folder, panel, forecaster))
    facts = {"series": float(panel.n_series), "score_before_gb": before_gb, "score_peak_gb": peak_gb()}
    if forecaster.device.type == "cuda":
        facts["score_gpu_peak_gb"] = torch.cuda.max_memory_allocated(forecaster.device) / GB
    return samples.results() | facts


def _once(folder: Path, panel: Panel, forecaster: Forecaster) -> dict[str, float]:
    bundle, device = forecaster.bundle, forecaster.device
    watch = Stopwatch(device)
    tensors = build_tensors(panel, bundle.config, bundle.schema, device, horizon=HORIZON)
    tensors_s = watch.seconds()
    watch = Stopwatch(device)
    _network(forecaster, tensors)
    network_s = watch.seconds()
    del tensors
    home = Home(folder / HOME)
    watch = Stopwatch(device)
    forecasts = forecaster(panel, HORIZON)
    snapshot = write_snapshot(home, forecasts, panel, bundle_id=bundle.bundle_id, model_version="1")
    score_s = watch.seconds() - tensors_s
    files = [file.stat().st_size for file in (home.snapshots_dir / snapshot).iterdir()]
    shutil.rmtree(home.root)  # the same content would be kept, not written
    return {
        "score_s": score_s,
        "score_series_per_s": panel.n_series / score_s,
        "score_network_series_per_s": panel.n_series / network_s,
        "tensors_s": tensors_s,
        "snapshot_mb": sum(files) / 1e6,
    }


def _network(forecaster: Forecaster, tensors: PanelTensors) -> None:
    """Means and quantiles of all series in the memory of the processor."""
    mean_SH = np.empty((tensors.n_series, HORIZON), np.float32)
    quantiles_SHQ = np.empty((*mean_SH.shape, len(LEVELS)), np.float32)
    for part in score(forecaster.network, tensors, tensors.n_periods, 1):
        mean_SH[part.rows] = part.mean_BOH[:, 0].float().cpu().numpy()
        quantiles_SHQ[part.rows] = part.quantiles_BOHQ[:, 0].float().cpu().numpy()


def main() -> None:
    """One of the two processes: `prepare` or `measure`, and the task as JSON."""
    action, task = sys.argv[1], json.loads(sys.argv[2])
    folder, how = Path(task["folder"]), ScoreSpeed(**task["how"])
    if action == "prepare":
        source = task["data"]
        place = None if source["folder"] is None else Path(source["folder"])
        prepare(folder, SpeedData(**{**source, "folder": place}), how)
        print("{}")
        return
    print(json.dumps(measure(folder, how)))


if __name__ == "__main__":
    main()
