"""The race: how long each takes to the accuracy that the best peer reaches.

All train on one panel whose last days are held back, and forecast those days every so many steps; one scorer
for all. Seconds are those of training steps alone: reading, building and forecasting stop the clock. Learning
rates stay constant, since nobody knows how long it will take.

Letters: S series, H horizon, Q levels.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
import torch

from forecast.cli.output import say
from forecast.demand.panel import Floats, Panel
from forecast.evaluation.metrics import pinball, scored
from forecast.quantiles import DECILES, LEVELS
from training.bench.neural_training import NeuralTraining, peer_like
from training.bench.speed_data import HORIZON
from training.bench.timing import Stopwatch
from training.bench.training_loop import TrainingLoop
from training.config import TrainingConfig

GAIN: Final = 0.001
"""Share by which a WQL must fall to count as better."""


@dataclass(frozen=True, kw_only=True)
class Race:
    """minutes: of training at most, for each. every: steps between two forecasts. windows: a step of a peer.
    patience: forecasts without gain that end training."""

    minutes: float
    training: TrainingConfig
    every: int = 50
    windows: int = 256
    patience: int = 10


class Point(NamedTuple):
    """A forecast on the way: seconds trained, and its WQL."""

    seconds: float
    wql: float


class Course:
    """Takes the time of one contender: told of each step, it forecasts now and then, and says when to stop.

    The clock starts after the first step, which warms up and follows all that is made ready for training.
    """

    def __init__(self, device: torch.device, limits: Race, forecast: Callable[[], float]) -> None:
        self.points: list[Point] = []
        self._device, self._limits, self._forecast = device, limits, forecast
        self._seconds, self._steps, self._stale = 0.0, 0, 0
        self._best = math.inf
        self._watch: Stopwatch | None = None

    def step(self) -> bool:
        """After a step; true ends training."""
        if self._watch is None:
            self._watch = Stopwatch(self._device)
            return False
        self._steps += 1
        if self._steps % self._limits.every:
            return False
        self._seconds += self._watch.seconds()
        wql = self._forecast()
        self.points.append(Point(self._seconds, wql))
        if wql < self._best * (1 - GAIN):
            self._best, self._stale = wql, 0
        else:
            self._stale += 1
        self._watch = Stopwatch(self._device)
        return self._stale >= self._limits.patience or self._seconds > 60 * self._limits.minutes


def race(panel: Panel, peers: Sequence[str], limits: Race) -> dict[str, float]:
    """Let the peers train, then ours, on a panel without its last `HORIZON` days.

    NAME_best_wql, NAME_best_s: each one's best WQL and the training seconds to it (ours too). ours_to_NAME_s:
    our seconds to a peer's best WQL. time_to_best_peer_wql_ratio: our seconds to the best of all peers' WQLs,
    `ours_to_best_peer_s`, over those of the first peer that reaches it, `peers_to_best_peer_s`; left out
    where ours does not get there.
    """
    past = panel.until(panel.n_periods - HORIZON)
    truth_SH = scored(panel, past.n_periods, HORIZON)
    ours = TrainingLoop(past, limits.training)

    def wql(quantiles_SHQ: Floats) -> float:
        return decile_wql(truth_SH, quantiles_SHQ, whole_units=ours.schema.integer)

    courses: dict[str, list[Point]] = {}
    for name in peers:
        settings = peer_like(name, past, ours.parameters, windows=limits.windows, device=ours.device.type)
        courses[name] = _course(NeuralTraining(past, settings), ours.device, limits, wql)
        reached = best(courses[name])
        say(f"{name}: best WQL {reached.wql:.4f} after {reached.seconds:.1f} s of training")
    bests = {name: best(points) for name, points in courses.items()}
    course = Course(ours.device, limits, lambda: wql(ours.quantiles()))
    ours.run(lambda _draw: course.step())
    own = best(course.points)
    say(f"ours: best WQL {own.wql:.4f} after {own.seconds:.1f} s of training")
    results = {f"{name}_best_wql": point.wql for name, point in bests.items()}
    results |= {f"{name}_best_s": point.seconds for name, point in bests.items()}
    return results | {"ours_best_wql": own.wql, "ours_best_s": own.seconds} | verdict(course.points, courses)


def _course(
    peer: NeuralTraining, device: torch.device, limits: Race, wql: Callable[[Floats], float]
) -> list[Point]:
    course = Course(device, limits, lambda: wql(peer.quantiles()))
    peer.run(course.step)
    return course.points


def verdict(ours: Sequence[Point], peers: Mapping[str, Sequence[Point]]) -> dict[str, float]:
    """Our seconds to each peer's best WQL, and the ratio of the race: to the best WQL of any peer, ours over
    those of whichever peer reaches it first. What ours does not reach is left out and said.

    peers: the forecasts of each on its way, one at least.
    """
    results: dict[str, float] = {}
    bests = {name: best(points) for name, points in peers.items()}
    for name, point in bests.items():
        seconds = first_at(ours, point.wql)
        if seconds is not None:
            results |= {f"ours_to_{name}_s": seconds}
            results |= {f"time_to_{name}_wql_ratio": seconds / point.seconds}
    target = min(point.wql for point in bests.values())
    reached = first_at(ours, target)
    if reached is None:
        say(f"no time_to_best_peer_wql_ratio: ours did not reach the best peer's WQL of {target:.4f}")
        return results
    theirs = (first_at(points, target) for points in peers.values())
    first = min(seconds for seconds in theirs if seconds is not None)
    ratio = reached / first
    return {
        **results,
        "ours_to_best_peer_s": reached,
        "peers_to_best_peer_s": first,
        "time_to_best_peer_wql_ratio": ratio,
    }


def best(points: Sequence[Point]) -> Point:
    """The last that was better by `GAIN` than what counted as best before it."""
    found = points[0]
    for point in points[1:]:
        if point.wql < found.wql * (1 - GAIN):
            found = point
    return found


def first_at(points: Sequence[Point], wql: float) -> float | None:
    """Seconds to the first forecast at least as good; None where there is none."""
    return next((point.seconds for point in points if point.wql <= wql), None)


def decile_wql(truth_SH: Floats, quantiles_SHQ: Floats, *, whole_units: bool) -> float:
    """2 x the mean pinball loss over the deciles / demand, where the truth is known (NaN: not scored);
    quantiles sorted, not negative, and whole where demand is."""
    tidy_SHQ = np.maximum(np.sort(quantiles_SHQ, axis=2), 0.0)
    if whole_units:
        np.round(tidy_SHQ, out=tidy_SHQ)
    known_SH = np.isfinite(truth_SH)
    truth = truth_SH[known_SH].astype(np.float64)
    losses = [pinball(truth, tidy_SHQ[known_SH][:, q], LEVELS[q]).sum() for q in DECILES]
    return float(2 * np.mean(losses) / max(truth.sum(), 1e-9))
