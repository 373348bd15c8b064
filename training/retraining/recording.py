"""What MLflow gets to know of a job, after its bundles are safe on disk: a run with children, and a version.

Everything is logged first and the version is made last: a run without a version was not finished, and is
taken away and made anew.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Final

from forecast.cli.output import say
from forecast.errors import NotFoundError, SurgecastError
from forecast.evaluation.baselines import NAIVE
from forecast.home import Home
from forecast.model.bundle import Bundle
from forecast.times import iso
from training import story
from training.gates.findings import GateReport
from training.jobs import MODEL_NAME, model_config
from training.registry import CHALLENGER as CANDIDATE
from training.registry import MODEL, bundle_folder, register, version_of
from training.retraining.fits import read_epochs
from training.retraining.judging import comparison
from training.retraining.ledger import Ledger
from training.retraining.verdicts import read_gate, stopped
from training.retraining.work import CHALLENGER, TWIN, Work
from training.tracking import EXPERIMENT, Run, connect

if TYPE_CHECKING:
    from mlflow.entities import Run as MlflowRun

PURPOSE: Final = "retrain"


def record(work: Work) -> Mapping[str, object]:
    """Put the bundles in their place, log the job and register the challenger: its version and run.

    Raises NotFoundError where MLflow's database went away since the job began, for a new one would have
    forgotten the champion.
    """
    home, key = work.home, work.ledger.key
    if work.tracked and not home.mlflow_db.is_file():
        gone = "no such file: it was removed or moved while the job was running"
        raise NotFoundError(str(home.mlflow_db), expected="MLflow's database", found=gone)
    for name in (TWIN, CHALLENGER):
        put_in_place(work, name)
    bundle = work.bundle(CHALLENGER)
    version = version_of(home, bundle.bundle_id)
    client = connect(home)
    run_id = str(client.get_model_version(MODEL, version).run_id) if version else ""
    runs = {run.info.run_id: run for run in runs_of(home, key)}
    if run_id not in runs:
        remove_runs(home, list(runs.values()))
        with Run(home, _title(work), tags=_run_tags(work)) as run:
            _log(work, run, bundle)
            version = (
                version or register(run, bundle, bundle_folder(home, bundle.bundle_id), aliases=()).version
            )
            _describe(work, run, bundle, version)
        run_id = run.run_id
    elif runs[run_id].info.status != "FINISHED":  # killed after the version was made
        with Run(home, _title(work), tags=_run_tags(work), resume=run_id) as run:
            _describe(work, run, bundle, version)
    return {"version": version, "run_id": run_id}


def record_stop(work: Work, report: GateReport) -> None:
    """Log a job that its data gate stopped, as failed; MLflow in trouble is no more than a pity."""
    try:
        remove_runs(work.home, runs_of(work.home, work.ledger.key))
        with suppress(_StoppedError), Run(work.home, _title(work), tags=_run_tags(work)) as run:
            run.tag({"cutoff": work.ledger.fact("cutoff"), "data_version": work.ledger.fact("data_version")})
            story.log_gate(run, report)
            raise _StoppedError(work.ledger.reason)
    except SurgecastError as error:
        say(f"MLflow does not know of it: {error}")


class _StoppedError(Exception):
    """Ends a run as failed."""


def put_in_place(work: Work, name: str) -> None:
    """Move a bundle from the job's folder to where bundles lie."""
    folder, target = work.folder(name), bundle_folder(work.home, work.bundle_id(name))
    if target.is_dir():
        shutil.rmtree(folder, ignore_errors=True)
    else:
        target.parent.mkdir(parents=True, exist_ok=True)
        folder.rename(target)


def runs_of(home: Home, key: str) -> list[MlflowRun]:
    """The runs of a job that have no parent."""
    client = connect(home)
    experiment = client.get_experiment_by_name(EXPERIMENT)
    if experiment is None:
        return []
    found = client.search_runs([experiment.experiment_id], f"tags.job = '{key}'")
    return [run for run in found if "mlflow.parentRunId" not in run.data.tags]


def remove_runs(home: Home, runs: list[MlflowRun]) -> None:
    """Take runs away with their children and their files."""
    client = connect(home)
    for run in runs:
        parent = f"tags.mlflow.parentRunId = '{run.info.run_id}'"
        remove_runs(home, list(client.search_runs([run.info.experiment_id], parent)))
        client.delete_run(run.info.run_id)
        shutil.rmtree(home.mlflow_artifacts / run.info.run_id, ignore_errors=True)


def tell(home: Home, ledger: Ledger) -> None:
    """Say on the job's run what came of it, and write the overview anew. MLflow in trouble is no more than a
    pity: the job is over."""
    run_id = (ledger.result("record") or {}).get("run_id")
    try:
        if run_id:
            client = connect(home)
            client.set_tag(run_id, "outcome", ledger.status)
            client.set_tag(run_id, "reason", ledger.reason)
    except SurgecastError as error:
        say(f"MLflow does not know how the job ended: {error}")
    else:
        story.refresh_overview(home)
    ledger.told()


def _log(work: Work, run: Run, bundle: Bundle) -> None:
    compared, training = comparison(work), work.training
    run.data(work.panel, source=str(work.home.demand_dir))
    model = model_config(work.panel, work.request.horizon, training)
    features = ", ".join(work.panel.known) or "none"
    run.parameters({"model": model, "training": training, "known_features": features})
    run.parameters({"retrain": work.request.settings.retrain.model_dump()})
    for epoch in read_epochs(_epochs(work, CHALLENGER)):
        run.epoch(epoch)
    run.tag({"started": str(_fitted(work)["why"])})
    story.log_fit(run, work.panel, bundle, device=training.device)
    _log_twin(work, run)
    rivals = [name for name in (compared.rival, NAIVE) if name]
    story.log_backtest(run, work.panel, compared.report, compared.origins, own=MODEL_NAME, rivals=rivals)
    for gate in _gates(work):
        story.log_gate(run, gate)


def _describe(work: Work, run: Run, bundle: Bundle, version: str) -> None:
    """The tags, the alias and the card of a version that was registered just now."""
    training: dict[str, object] = {"started": _fitted(work)["why"], **asdict(work.training)}
    report = comparison(work).report
    card = story.model_card(bundle, work.panel, report, own=MODEL_NAME, training=training, purpose=PURPOSE)
    story.log_card(run, version, card)
    for name, value in _version_tags(work).items():
        run.client.set_model_version_tag(MODEL, version, name, value)
    run.client.set_registered_model_alias(MODEL, CANDIDATE, version)


def _gates(work: Work) -> list[GateReport]:
    done = [work.ledger.result(step) or {} for step in ("data", "judgement")]
    return [read_gate(result["gate"]) for result in done]


def _log_twin(work: Work, run: Run) -> None:
    twin = work.bundle(TWIN)
    with Run(work.home, f"twin {iso(work.past.origin)}", parent=run, tags=_run_tags(work)) as child:
        child.data(work.past, source=str(work.home.demand_dir))
        for epoch in read_epochs(_epochs(work, TWIN)):
            child.epoch(epoch)
        child.metrics(story.fit_metrics(twin))
        child.tag({"bundle_id": twin.bundle_id})


def _epochs(work: Work, name: str) -> Path:
    return work.folder(name).with_suffix(".jsonl")


def _fitted(work: Work) -> Mapping[str, object]:
    return work.ledger.result(CHALLENGER) or {}


def _run_tags(work: Work) -> dict[str, str]:
    return {"job": work.ledger.key, "purpose": PURPOSE}


def _version_tags(work: Work) -> dict[str, str]:
    *_, judged = _gates(work)
    return {
        "twin_id": work.bundle_id(TWIN),
        "cutoff": work.ledger.fact("cutoff"),
        "data_version": work.ledger.fact("data_version"),
        "job": work.ledger.key,
        "purpose": PURPOSE,
        "reason": "" if judged.passed else stopped(judged),
    }


def _title(work: Work) -> str:
    return f"retrain {iso(work.ledger.fact('cutoff'))}"
