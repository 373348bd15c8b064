"""`surgecast retrain`: one job, step after step, each recorded in the job's ledger.

data          the data gate
twin          a fit on what was known at the first origin of the backtest
challenger    a fit on everything up to the cutoff
judgement     challenger (its twin), champion (its own) and seasonal naive on the same origins; promotion gate
record        the bundles are put in place; run and version in MLflow
snapshot      forecasts of all series        where the challenger is to be champion
promotion     the alias, then the pointer    where the challenger is to be champion

A job may be killed anywhere: the same command goes on with the step that was not done. All steps before
`record` touch nothing but the job's own folder.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from types import TracebackType
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

import numpy as np

from forecast.cli.output import say
from forecast.errors import NotFoundError, SurgecastError, refusal
from forecast.home import Home
from training.retraining.decision import decide, made_champion
from training.retraining.ledger import Ledger
from training.retraining.lock import job_lock
from training.retraining.request import Outcome, RetrainRequest
from training.retraining.tidying import abandon, complete, forget, tidy
from training.retraining.verdicts import read_gate, stopped

if TYPE_CHECKING:
    from training.gates.findings import GateReport
    from training.retraining.work import Work


def retrain(home: Home, request: RetrainRequest) -> Outcome:
    """Do the job that the home's demand, settings and champion ask for, or go on with it.

    An error on the way is an outcome, `failed`: what was done is kept, and the same call goes on from there.
    Raises BusyError that names the holder where another job is at work, NotFoundError for an empty store,
    InputError for a cutoff outside of the demand.
    """
    if not home.root.is_dir():  # nothing is made where there is nothing to do
        raise NotFoundError("demand store", expected="imported demand", found=f"no folder {home.root}")
    with job_lock(home, what="retrain") as beat:
        tidy(home)
        decision = decide(home, request)
        for one in decision.left:
            (complete if made_champion(one, decision.champion) else abandon)(home, one)
        if decision.untold:
            from training.retraining.recording import tell

            for one in decision.untold:
                tell(home, one)
        forget(home, request.settings.retrain.keep_jobs)
        if isinstance(decision.do, Outcome):
            return decision.do
        from training.retraining import recording  # torch and all that: there is something to do
        from training.retraining.work import Work

        champion = None if made_champion(decision.do, decision.champion) else decision.champion
        work = Work(
            home=home,
            request=request,
            ledger=decision.do,
            beat=beat,
            champion=champion,
            tracked=home.mlflow_db.is_file(),
        )
        with _Watched(work.ledger):
            _walk(work)
            if work.ledger.untold:
                recording.tell(home, work.ledger)
        return _outcome(work)


class _Watched:
    """The ledger says how it ended, whatever ends the job. Errors that were foreseen are its outcome."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    def __enter__(self) -> None:
        pass

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _trace: TracebackType | None
    ) -> bool:
        if kind is None:
            return False
        foreseen = issubclass(kind, (SurgecastError, OSError))
        if foreseen:
            reason = refusal(error) if isinstance(error, OSError) else str(error)
        elif issubclass(kind, Exception):
            reason = f"unexpected {kind.__name__}: {error}"
        else:
            reason = "interrupted"  # KeyboardInterrupt, SystemExit
        self._ledger.end("failed", reason)
        return foreseen


def _walk(work: Work) -> None:
    from training.retraining import fits, judging, promoting, recording

    ledger = work.ledger
    if ledger.runs:
        say(f"job {ledger.key} goes on after: {', '.join(ledger.done) or 'nothing that was done'}")
    ledger.go_on(work.request.promote_anyway)
    if not work.request.promote_anyway and (why := ledger.fact("promote_anyway")):
        say(f"it was begun with --promote-anyway, which holds: {why}")
    gate = _check_data(work)
    if not gate.passed:
        ledger.end("failed", stopped(gate))
        recording.record_stop(work, gate)
        return
    work.step("twin", lambda: fits.fit_twin(work))
    work.step("challenger", lambda: fits.fit_challenger(work))
    judged = read_gate(work.step("judgement", lambda: judging.judgement(work))["gate"])
    work.step("record", lambda: recording.record(work))
    why = ledger.fact("promote_anyway")
    if reason := _kept(ledger, judged, why):
        ledger.end("kept", reason)
        return
    work.step("snapshot", lambda: promoting.write_snapshot(work))
    step = work.step("promotion", lambda: promoting.make_champion(work, "" if judged.passed else why))
    if step["gone_back"]:
        ledger.end("kept", step["gone_back"])
    elif judged.passed:
        ledger.end("promoted", "the promotion gate agrees")
    else:
        ledger.end("promoted", f"in spite of the promotion gate: {why}")


def _kept(ledger: Ledger, judged: GateReport, promote_anyway: str) -> str:
    """Why the challenger does not become champion; empty where it does."""
    if lost := (ledger.result("challenger") or {})["stopped"]:
        return str(lost)
    return "" if judged.passed or promote_anyway else stopped(judged)


def _check_data(work: Work) -> GateReport:
    """What the data gate found; asked again until it has passed."""
    from training.gates.data import check_data

    found = work.ledger.result("data")
    if found is not None and (report := read_gate(found["gate"])).passed:
        return report
    work.ledger.start("data")
    settings = work.request.settings
    report = check_data(
        work.home, settings.data_gate, cutoff=work.request.cutoff, today=_today(settings.demand.timezone)
    )
    work.ledger.finish("data", {"gate": report.facts()})
    return report


def _today(zone: str) -> np.datetime64:
    return np.datetime64(datetime.now(ZoneInfo(zone)).date())


def _outcome(work: Work) -> Outcome:
    ledger = work.ledger
    status = ledger.status
    assert status in ("promoted", "kept", "failed")

    def found(step: str, name: str) -> str:
        return str((ledger.result(step) or {}).get(name, ""))

    gates: Mapping[str, Mapping[str, object]] = {
        name: result["gate"]
        for name, step in (("data", "data"), ("promotion", "judgement"))
        if (result := ledger.result(step)) is not None
    }
    return Outcome(
        status=status,
        reason=ledger.reason,
        key=ledger.key,
        cutoff=ledger.fact("cutoff"),
        version=found("record", "version"),
        bundle_id=found("challenger", "bundle_id"),
        snapshot=found("snapshot", "snapshot"),
        run_id=found("record", "run_id"),
        gates=gates,
        seconds=dict(work.seconds),
    )
