"""Runs every forecaster at every cutoff, or takes what an earlier run saved, and scores all alike."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from forecast.cli.output import say
from forecast.errors import InputError
from forecast.forecasts import Forecasts
from tests.bench.peers import ours
from tests.bench.peers.common import finish
from tests.bench.peers.registry import check_installed, make_peer
from tests.bench.peers.saved import SHARED, Saved, code_hash, fingerprint, load, save, settings_of, versions
from tests.bench.peers.scoring import Scored, TaskScorer
from tests.bench.peers.task import Task


class Contender(Protocol):
    """Somebody whose forecasts are compared."""

    def identity(self, task: Task) -> object:
        """What the forecasts depend on beside the panel and the horizon, as JSON can hold it."""

    def __call__(self, task: Task) -> tuple[Forecasts, dict[str, float]]:
        """Forecasts and facts."""


class PeerContender:
    """A peer of the registry within its budget."""

    def __init__(self, name: str, minutes: float) -> None:
        check_installed(name)
        self._peer, self._files = make_peer(name, minutes)

    def identity(self, task: Task) -> object:
        """Settings, code and versions of the libraries."""
        folder = Path(__file__).parent
        files = [folder / name for name in (*self._files, *SHARED)]
        return [settings_of(self._peer), code_hash(files), versions(self._peer.libraries)]

    def __call__(self, task: Task) -> tuple[Forecasts, dict[str, float]]:
        """Fit, forecast and couple."""
        marginals = self._peer(task.panel, task.horizon)
        facts = {**marginals.facts, "templates": float(len(marginals.places_NSH))}
        return finish(task.panel, marginals), facts


@dataclass(frozen=True, kw_only=True)
class Result:
    """One forecaster at one cutoff. reused: the forecasts were saved by an earlier run."""

    name: str
    cutoff: str
    scored: Scored
    seconds: float
    facts: Mapping[str, float]
    reused: bool


def contenders(
    names: Sequence[str], minutes: float, bundles: Sequence[Path], *, train: bool
) -> dict[str, Contender]:
    """Peers by name, ours first. Raises UsageError for names that are not known, NotFoundError where the
    extra `peers` is not installed.
    """
    result: dict[str, Contender] = {}
    if bundles:
        result[ours.NAME] = ours.Loaded(bundles)
    elif train:
        result[ours.NAME] = ours.Trained(minutes)
    return {**result, **{name: PeerContender(name, minutes) for name in names}}


def run(tasks: Sequence[Task], everyone: Mapping[str, Contender], out: Path) -> list[Result]:
    """Forecast and score; each forecast is saved in `out` as soon as it is there."""
    results = []
    for task in tasks:
        scorer = TaskScorer(task)
        for name, contender in everyone.items():
            saved, reused = forecast_once(task, name, contender, out)
            results.append(
                Result(
                    name=name,
                    cutoff=task.cutoff,
                    scored=scorer(saved.forecasts),
                    seconds=saved.seconds,
                    facts=saved.facts,
                    reused=reused,
                )
            )
            say(_line(results[-1]))
    return results


def forecast_once(task: Task, name: str, contender: Contender, out: Path) -> tuple[Saved, bool]:
    """The forecasts of one at one cutoff, and whether an earlier run had saved them."""
    mark = fingerprint(task.panel, task.horizon, name, contender.identity(task))
    path = out / f"{task.dataset}-{task.cutoff}-{task.panel.n_series}-{name}.npz"
    before = load(path, task.panel, mark)
    if before is not None:
        return before, True
    say(f"{name} at {task.cutoff}: {task.panel.n_series:,} series …")
    started = time.monotonic()
    forecasts, facts = contender(task)
    saved = Saved(forecasts=forecasts, seconds=time.monotonic() - started, facts=facts)
    save(path, saved, mark)
    return saved, False


def check_tasks(tasks: Sequence[Task]) -> None:
    """Raise InputError where a task has nothing to score."""
    for task in tasks:
        if not (task.truth_SH > 0).any():
            raise InputError("demand", expected=f"some after cutoff {task.cutoff}", found="none")


Report = Callable[[Sequence[Result]], None]


def _line(result: Result) -> str:
    shown = [f"{key} {result.scored.values[key]:.4f}" for key in HEADLINES if key in result.scored.values]
    source = "saved" if result.reused else f"{result.seconds:,.0f} s"
    return f"{result.name} at {result.cutoff}: {', '.join(shown)} ({source})"


HEADLINES = ("wrmsse", "wspl", "wql", "wape", "bias")
