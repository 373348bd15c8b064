"""Monitoring once, or round after round until it is ended."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from forecast.cli.output import print_json, say
from forecast.cli.processes import ended_by_signals
from forecast.errors import SurgecastError
from forecast.home import Home
from forecast.settings import load_settings
from forecast.times import iso
from training.monitoring.gauges import Gauges, exposed, write_metrics
from training.monitoring.report import print_round, round_json
from training.monitoring.rounds import Round, look
from training.monitoring.runs import log_round
from training.monitoring.table import overall
from training.monitoring.trigger import Status, command, retrain_once


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What a round is to do. since: report origins from then on; by: a second table; retrain: run what
    findings ask for; log: in MLflow, what was scored. retraining: the command that retrains, the usual one
    where empty."""

    since: np.datetime64 | None = None
    by: str | None = None
    retrain: bool = False
    metrics_file: Path | None = None
    log: bool = True
    as_json: bool = False
    retraining: tuple[str, ...] = field(default=())


def once(home: Home, wanted: Wanted) -> bool:
    """One round, printed; whether no threshold is crossed. SurgecastError where a retraining failed."""
    settings = load_settings(home)
    gauges = Gauges(settings.demand.timezone)
    with ended_by_signals():
        found = look(home, settings.monitor, since=wanted.since)
        if not wanted.as_json:
            print_round(found, wanted.by)
        run_id, status = _follow_up(home, wanted, found, gauges)
    if wanted.as_json:
        print_json({**round_json(found), "run": run_id, "retrain": status})
    if status == "failed":
        raise SurgecastError("the retraining that the findings asked for failed, as told above")
    return not found.failures


def watch(home: Home, wanted: Wanted, *, port: int | None, minutes: float) -> None:
    """A round every so many minutes, and Prometheus answered on the port, until SIGTERM or Ctrl-C.

    A round that fails is told of, and the next one is tried. Raises BusyError where the port is taken.
    """
    gauges = Gauges(load_settings(home).demand.timezone)
    try:
        with ended_by_signals(), exposed(gauges, port) as address:
            say(f"monitoring every {minutes:g} minutes" + (f", metrics on {address}" if address else ""))
            while True:
                began = time.monotonic()
                _round(home, wanted, gauges)
                time.sleep(max(60 * minutes - (time.monotonic() - began), 0.0))
    except (SystemExit, KeyboardInterrupt):
        say("monitoring ended")


def _round(home: Home, wanted: Wanted, gauges: Gauges) -> None:
    from mlflow.exceptions import MlflowException

    try:
        found = look(home, load_settings(home).monitor, since=wanted.since)
        _follow_up(home, wanted, found, gauges)
        _tell(found)
    except (SurgecastError, MlflowException, OSError) as error:
        gauges.fail()
        say(f"round failed: {(str(error).splitlines() or [''])[0]}")
        if wanted.metrics_file is not None:
            _write(gauges, wanted.metrics_file)


def _follow_up(home: Home, wanted: Wanted, found: Round, gauges: Gauges) -> tuple[str | None, Status | None]:
    """Show, log and act: the id of the run, and what became of a retraining."""
    gauges.show(found)
    if wanted.metrics_file is not None:
        write_metrics(gauges, wanted.metrics_file)
    run_id = log_round(home, found) if wanted.log and found.new else None
    status = None
    if wanted.retrain:
        status = retrain_once(home, found, wanted.retraining or command(home))
        if status is not None:
            say(f"retrain: {status}")
    return run_id, status


def _write(gauges: Gauges, path: Path) -> None:
    try:
        write_metrics(gauges, path)
    except OSError as error:
        say(f"{path}: {error.strerror or error}")


def _tell(found: Round) -> None:
    n = len(overall(found.scores))
    say(f"demand up to {iso(found.last)}: {n} snapshots, {len(found.new)} scored now")
    for skipped in found.skipped:
        say(f"skipped {skipped.snapshot}: {skipped.reason}")
    for finding in found.failures:
        say(f"finding: {finding.sentence()}")
