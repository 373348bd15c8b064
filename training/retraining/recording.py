"""What MLflow gets to know of a job, after its bundles are safe on disk: a run with children, and a version.

Everything is logged first and the version is made last: a run without a version was not finished, and is
taken away and made anew.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

from forecast.cli.output import say
from forecast.errors import NotFoundError, SurgecastError
from forecast.home import Home
from forecast.model.bundle import Bundle
from training import story
from training.gates.findings import GateReport
from training.jobs import MODEL_NAME, model_config
from training.registry import MODEL, bundle_folder, register, version_of
from training.retraining.fits import read_epochs
from training.retraining.judging import NAIVE, comparison, read_gate
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
    if work.tracked and not work.home.mlflow_db.is_file():
        gone = "no such file: it was removed or moved while the job was running"
        raise NotFoundError(str(work.home.mlflow_db), expected="MLflow's database", found=gone)
    for name in (TWIN, CHALLENGER):
        put_in_place(work, name)
    bundle = work.bundle(CHALLENGER)
    version = version_of(work.home, bundle.bundle_id)
    client = connect(work.home)
    run_id = str(client.get_model_version(MODEL, version).run_id) if version else ""
    runs = runs_of(work.home, work.ledger.key)
    if run_id not in (run.info.run_id for run in runs):
        remove_runs(work.home, runs)
        version, run_id = _log(work, bundle, version)
    elif client.get_run(run_id).info.status != "FINISHED":  # killed just before it would have been
        client.set_terminated(run_id, "FINISHED")
    for name, value in _version_tags(work).items():
        client.set_model_version_tag(MODEL, version, name, value)
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


def _log(work: Work, bundle: Bundle, version: str) -> tuple[str, str]:
    judged = work.ledger.result("judgement") or {}
    compared = comparison(work)
    training = work.training
    with Run(work.home, _title(work), tags=_run_tags(work)) as run:
        run.data(work.panel, source=str(work.home.demand_dir))
        model = model_config(work.panel, work.request.horizon, training)
        features = ", ".join(work.panel.known) or "none"
        run.parameters({"model": model, "training": training, "known_features": features})
        run.parameters({"retrain": work.request.settings.retrain.model_dump()})
        for epoch in read_epochs(_epochs(work, CHALLENGER)):
            run.epoch(epoch)
        run.metrics(_out_of_sample(bundle))
        run.tag({"bundle_id": bundle.bundle_id, "started": str(_fitted(work)["why"])})
        _log_twin(work, run)
        rivals = [name for name in (compared.rival, NAIVE) if name]
        story.log_backtest(run, work.panel, compared.report, compared.origins, own=MODEL_NAME, rivals=rivals)
        story.log_gate(run, read_gate((work.ledger.result("data") or {})["gate"]))
        story.log_gate(run, read_gate(judged["gate"]))
        if not version:
            folder = bundle_folder(work.home, bundle.bundle_id)
            version = register(run, bundle, folder, aliases=()).version
    return version, run.run_id


def _log_twin(work: Work, run: Run) -> None:
    twin = work.bundle(TWIN)
    with Run(work.home, f"twin {_day(str(work.past.origin))}", parent=run, tags=_run_tags(work)) as child:
        child.data(work.past, source=str(work.home.demand_dir))
        for epoch in read_epochs(_epochs(work, TWIN)):
            child.epoch(epoch)
        child.metrics(_out_of_sample(twin))
        child.tag({"bundle_id": twin.bundle_id})


def _epochs(work: Work, name: str) -> Path:
    return work.folder(name).with_suffix(".jsonl")


def _out_of_sample(bundle: Bundle) -> dict[str, float]:
    facts = bundle.facts.items()
    return {f"fit/{name.replace(' ', '_')}": value for name, value in facts if isinstance(value, float)}


def _fitted(work: Work) -> Mapping[str, object]:
    return work.ledger.result(CHALLENGER) or {}


def _run_tags(work: Work) -> dict[str, str]:
    return {"job": work.ledger.key, "purpose": PURPOSE}


def _version_tags(work: Work) -> dict[str, str]:
    return {
        "twin_id": work.bundle_id(TWIN),
        "cutoff": work.ledger.fact("cutoff"),
        "data_version": work.ledger.fact("data_version"),
        "job": work.ledger.key,
        "purpose": PURPOSE,
    }


def _title(work: Work) -> str:
    return f"retrain {_day(work.ledger.fact('cutoff'))}"


def _day(time: str) -> str:
    return time.removesuffix("T00:00:00")
