"""The whole bench: a home, a server, a generator, and the measures one after the other."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from forecast.cli.output import say
from forecast.cli.processes import ended_by_signals
from forecast.errors import UsageError
from forecast.home import Home
from serving.bench.bench import Bench, ServeBench
from serving.bench.driver import Cores, generating, served
from serving.bench.h2load import h2load
from serving.bench.homes import Stage, make_home, stage_of
from serving.bench.overload import overload
from serving.bench.plans import aggregates, export, surges, whatif
from serving.bench.process import SETTLE_S, settle
from serving.bench.questions import Questions
from serving.bench.reads import batch, single
from serving.bench.soak import soak
from serving.bench.swaps import swaps
from serving.bench.versus import versus

MEASURES: Final[Mapping[str, Callable[[Bench], None]]] = {
    "batch": batch,
    "single": single,
    "export": export,
    "aggregates": aggregates,
    "surges": surges,
    "whatif": whatif,
    "swaps": swaps,
    "overload": overload,
}
"""Name of a measure -> what takes it, in this order."""


@dataclass(frozen=True, kw_only=True)
class Source:
    """What is served: a home, else M5, else simulated demand of some series."""

    home: Path | None
    m5: Path | None
    series: int

    def stage(self, folder: Path, *, twice: bool) -> Stage:
        """A home in a new folder; with two snapshots if `twice`, where it is made."""
        if self.home is not None:
            return stage_of(Home(self.home), folder)
        return make_home(folder, m5=self.m5, series=self.series, twice=twice)


@dataclass(frozen=True, kw_only=True)
class Report:
    """What was measured; setup: how the machine was used; skipped: measures that were not taken, and why."""

    results: dict[str, float]
    setup: dict[str, object]
    skipped: dict[str, str]


def parse_measures(text: str) -> tuple[str, ...]:
    """Names of measures from `batch,single`, each once. Raises UsageError for one that is not known."""
    names = tuple(dict.fromkeys(name.strip() for name in text.split(",")))
    for name in names:
        if name not in MEASURES:
            raise UsageError(f"--only: expected some of {', '.join(MEASURES)}, found {name!r}")
    return names


def bench_serve(config: ServeBench, source: Source, *, peers: Sequence[str], outside: bool) -> Report:
    """Measure. peers: those of `--vs`. outside: whether h2load asks too.

    All processes are ended and all files removed, also when it is interrupted.
    """
    cores = Cores.of_this_machine()
    with ended_by_signals(), tempfile.TemporaryDirectory(prefix="surgecast-bench-") as place:
        folder = Path(place)
        stage = source.stage(folder / "home", twice="swaps" in config.only)
        say(f"serving {stage.snapshot}; {cores.told()}")
        snapshot = stage.open(stage.snapshot)
        other = stage.open(stage.other) if stage.other is not None else None
        with (
            served(stage.home, cores.server, folder / "serve.log") as server,
            generating(cores.generator) as generator,
        ):
            bench = Bench(
                config=config,
                stage=stage,
                server=server,
                generator=generator,
                questions=Questions.about(snapshot, other, config.seed),
                folder=folder,
            )
            _measure(bench, peers, cores, outside=outside)
    manifest = snapshot.manifest
    shape = {
        "series": manifest.n_series,
        "horizon": manifest.horizon,
        "quantiles": snapshot.packed_SHQ.shape[2],
    }
    results = {name: float(value) for name, value in shape.items()} | bench.samples.results()
    setup: dict[str, object] = {"server_core": cores.server, "generator_core": cores.generator}
    return Report(results=results | bench.facts, setup=setup, skipped=bench.skipped)


def _measure(bench: Bench, peers: Sequence[str], cores: Cores, *, outside: bool) -> None:
    for name in bench.config.only:
        _announce(bench, f"measuring {name}")
        MEASURES[name](bench)
    if outside:
        _announce(bench, "measuring with h2load")
        h2load(bench, cores.generator)
    if bench.config.soak_minutes:
        _announce(bench, f"soaking for {bench.config.soak_minutes:g} minutes")
        soak(bench)
    if peers:
        versus(bench, peers, cores.server)


def _announce(bench: Bench, what: str) -> None:
    """Say what comes, when the server is idle."""
    if not settle(bench.server.pid):
        say(f"the server is still busy by itself after {SETTLE_S:g} s")
    say(what)
