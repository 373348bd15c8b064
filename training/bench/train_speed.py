"""How fast training is: origins a second, and the share of a step that the feed takes.

A step of ours trains a part of the horizon at each origin of its windows. An origin counts as one when all
its steps ahead were trained: pairs of origin and step ahead over the horizon.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Final

import torch

from forecast.bench.samples import Samples
from forecast.cli.output import say
from forecast.demand.panel import Panel
from forecast.model.windows import gather_examples
from training.bench.neural_training import NeuralTraining, check_installed, peer_like
from training.bench.race import Race, race
from training.bench.speed_data import HORIZON, SpeedData, speed_panel
from training.bench.timing import LapClock, Stopwatch
from training.bench.training_loop import TrainingLoop
from training.config import TrainingConfig
from training.feed import Draw

WARM_UP: Final = 10
"""Steps before the first lap."""
DRAWS: Final = 20
"""Batches drawn and gathered in one repeat."""
PEER_WINDOWS: Final = (256, 1024)
"""Windows a step for the peers; the faster counts."""


@dataclass(frozen=True, kw_only=True)
class Laps:
    """repeats: laps of at least `seconds` each."""

    repeats: int = 5
    seconds: float = 3.0


def bench_train(
    data: SpeedData, *, training: TrainingConfig, laps: Laps, peers: tuple[str, ...], run: Race | None
) -> dict[str, float]:
    """Speed of training on a panel; with `peers` (of `neural_training.PEERS`), theirs on the same panel, and
    with `run` the race to the best WQL of theirs.

    Raises NotFoundError where peers are named and neuralforecast is not installed.
    """
    if peers:
        check_installed()
    panel = speed_panel(data)
    loop = TrainingLoop(panel, training)
    say(f"training on {panel.n_series:,} series of {panel.n_periods:,} days, {loop.device}")
    results = {"series": float(panel.n_series), "periods": float(panel.n_periods)}
    results |= our_speed(loop, laps)
    for name in peers:
        results |= peer_speed(name, panel, loop, laps)
    if "tide" in peers:
        results["train_vs_tide_ratio"] = results["train_origins_per_s"] / results["tide_windows_per_s"]
    if peers and run is not None:
        results |= race(panel, peers, run)
    return results


def our_speed(loop: TrainingLoop, laps: Laps) -> dict[str, float]:
    """Metrics of our training on the loop's panel.

    train_origins_per_s: pairs of origin and step ahead over the horizon, a second. train_windows_per_s:
        windows, each with `origins_per_window` origins. train_pairs_per_s. step_ms: one optimiser step, all
        of it: Lightning's loop, feed, forward, backward, optimiser, averaging of weights.
    draw_share_of_step: `OriginFeed.draw` (series, ends, steps and hidden kinds on the device) over the step.
    gather_share_of_step: the index arithmetic that reads the panel's tensors, over the step: windows, their
        levels and targets. feed_share_of_step: both. Either is timed apart from training, batch after batch,
        and divided by the median step.
    counted_share: pairs whose truth counts in the loss (observed, before the limit); the rest is computed all
        the same. parameters: of the network that a step trains. batch: windows a step.
    """
    clock = LapClock(loop.device, repeats=laps.repeats, seconds=laps.seconds, warm_up=WARM_UP)
    loop.run(lambda draw: clock.step(loop.pairs(draw)))
    samples = Samples()
    for lap in clock.laps:
        samples.add(
            {
                "train_origins_per_s": lap.pairs / HORIZON / lap.seconds,
                "train_windows_per_s": lap.steps * loop.feed.batch / lap.seconds,
                "train_pairs_per_s": lap.pairs / lap.seconds,
                "step_ms": 1e3 * lap.seconds / lap.steps,
            }
        )
    step_s = samples.results()["step_ms"] / 1e3
    _feed(loop, 1)
    for _ in range(laps.repeats):
        draw_s, gather_s = _feed(loop, DRAWS)
        shares = {"feed": draw_s + gather_s, "draw": draw_s, "gather": gather_s}
        samples.add({f"{name}_share_of_step": seconds / step_s for name, seconds in shares.items()})
    facts = {
        "parameters": loop.parameters,
        "batch": loop.feed.batch,
        "origins_per_window": loop.model.origins,
        "counted_share": _counted(loop),
    }
    return samples.results() | {name: float(value) for name, value in facts.items()}


def _feed(loop: TrainingLoop, n: int) -> tuple[float, float]:
    """Seconds of drawing a batch and of gathering it, means of n."""
    watch = Stopwatch(loop.device)
    draws = [loop.feed.draw() for _ in range(n)]
    draw_s = watch.seconds() / n
    watch = Stopwatch(loop.device)
    for draw in draws:
        _gather(loop, draw)
    return draw_s, watch.seconds() / n


def _gather(loop: TrainingLoop, draw: Draw) -> torch.Tensor:
    """What a training step reads from the panel; returns which pairs count."""
    _, targets = gather_examples(
        loop.tensors, draw.series_B, draw.end_B, draw.hidden_B, loop.model, draw.limit, draw.ahead
    )
    return targets.counted_BOH


def _counted(loop: TrainingLoop) -> float:
    parts = [_gather(loop, loop.feed.draw()) for _ in range(DRAWS)]
    return float(sum(part.sum() for part in parts)) / sum(part.numel() for part in parts)


def peer_speed(name: str, panel: Panel, loop: TrainingLoop, laps: Laps) -> dict[str, float]:
    """Windows a second of a peer, at the faster of `PEER_WINDOWS` windows a step; a window is one origin with
    all its steps ahead. The peer's parameters."""
    found: dict[int, Mapping[str, float]] = {}
    parameters = 0
    for windows in PEER_WINDOWS:
        settings = peer_like(name, panel, loop.parameters, windows=windows, device=loop.device.type)
        peer = NeuralTraining(panel, settings)
        clock = LapClock(loop.device, repeats=laps.repeats, seconds=laps.seconds, warm_up=3)
        peer.run(partial(clock.step, windows * HORIZON))
        samples = Samples()
        for lap in clock.laps:
            samples.add({"windows_per_s": lap.pairs / HORIZON / lap.seconds})
        found[windows], parameters = samples.results(), peer.parameters
    best = max(found.values(), key=lambda one: one["windows_per_s"])
    results = {f"{name}_{metric}": value for metric, value in best.items()}
    results |= {f"{name}_windows_per_s_{n}": one["windows_per_s"] for n, one in found.items()}
    return {**results, f"{name}_parameters": float(parameters)}
