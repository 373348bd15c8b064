"""Challenger, champion and seasonal naive forecast the same past periods, which none of them has seen; the
promotion gate judges."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from forecast.cli.output import progress, say
from forecast.demand.panel import Panel
from forecast.errors import SurgecastError
from forecast.evaluation.backtest import backtest
from forecast.evaluation.baselines import NAIVE, ForecastFunction, baselines
from forecast.forecasts import Forecasts
from forecast.model.bundle import Bundle
from forecast.model.sharded import forecaster
from training.gates.promotion import Cost, judge
from training.jobs import MODEL_NAME
from training.registry import bundle_folder, folder_bytes
from training.retraining.fits import champion_bundle, past_champion
from training.retraining.work import CHALLENGER, TWIN, Comparison, Work

RIVAL: Final = "champion"


def judgement(work: Work) -> Mapping[str, object]:
    """Backtest and gate: what the gate found."""
    compared = comparison(work)
    report = judge(
        compared.report,
        challenger=MODEL_NAME,
        champion=compared.rival or None,
        naive=NAIVE,
        costs=compared.costs,
        settings=work.request.settings.promotion,
    )
    return {"gate": report.facts(), "compared": compared.why}


def comparison(work: Work) -> Comparison:
    """The backtest; done once by a process."""
    if work.compared is None:
        work.compared = _compare(work)
    return work.compared


def _compare(work: Work) -> Comparison:
    training, horizon = work.training, work.request.horizon
    models = {MODEL_NAME: _Timed(forecaster(work.bundle(TWIN), training.device, training.devices))}
    rival, why = _rival(work)
    if rival is not None:
        models[RIVAL] = _Timed(forecaster(rival, training.device, training.devices))
    forecasters: dict[str, ForecastFunction] = {**models, NAIVE: baselines(seed=training.seed)[NAIVE]}
    with progress("backtest", total=len(work.origins) * len(forecasters)) as advance:
        report = backtest(work.panel, forecasters, work.origins, horizon, advance=advance)
    folders = {MODEL_NAME: _place(work), RIVAL: bundle_folder(work.home, work.ledger.fact("champion"))}
    costs = {
        name: Cost(seconds_per_1000_series=timed.seconds, bundle_bytes=folder_bytes(folders[name]))
        for name, timed in models.items()
    }
    rival_name = RIVAL if RIVAL in models else ""
    return Comparison(report=report, origins=work.origins, rival=rival_name, why=why, costs=costs)


def _rival(work: Work) -> tuple[Bundle | None, str]:
    """What stands for the champion, and what there is to say of it."""
    if work.champion is None:
        return None, "there is no champion yet"
    why = ""
    rival = past_champion(work)
    if rival is None:
        rival = champion_bundle(work)
        why = "the champion has no twin and has seen some of the periods of the backtest, which favours it"
    try:
        few = work.past.select(slice(0, 1))
        forecaster(rival, work.training.device, work.training.devices)(few, work.request.horizon)
    except SurgecastError as error:  # its features, its horizon or its period are no longer those of the data
        rival, why = None, f"the champion cannot forecast this demand any more ({error})"
    if why:
        say(why)
    return rival, why


class _Timed:
    """A forecaster that is timed: `seconds` a thousand series, at its best."""

    def __init__(self, forecast: ForecastFunction) -> None:
        self._forecast = forecast
        self.seconds = float("inf")

    def __call__(self, panel: Panel, horizon: int) -> Forecasts:
        began = time.perf_counter()
        made = self._forecast(panel, horizon)
        self.seconds = min(self.seconds, (time.perf_counter() - began) / panel.n_series * 1000)
        return made


def _place(work: Work) -> Path:
    folder = work.folder(CHALLENGER)
    return folder if folder.is_dir() else bundle_folder(work.home, work.bundle_id(CHALLENGER))
