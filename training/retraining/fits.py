"""The two fits of a job: the challenger, on everything up to the cutoff, and its twin, the same recipe on
what was known at the first origin of the backtest, which stands for it there.

Both start from the champion's own pair where they can, or both from scratch. A bundle is saved in the job's
folder, whole, before anything else happens; a fit that was killed begins again.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from forecast.cli.output import progress, say
from forecast.demand.panel import Panel
from forecast.errors import NotFoundError, SurgecastError
from forecast.model.bundle import Bundle
from training.fit import fit
from training.jobs import model_config
from training.records import EpochRecord
from training.registry import load_bundle
from training.retraining.work import CHALLENGER, TWIN, Work
from training.warm import GENERATION, shortened, why_not

SCRATCH = "from scratch"


@dataclass(frozen=True, kw_only=True)
class Start:
    """Where the fits start: bundles for challenger and twin, None for scratch; and why so."""

    challenger: Bundle | None
    twin: Bundle | None
    why: str


def fit_twin(work: Work) -> Mapping[str, object]:
    """The twin of the challenger."""
    start = find_start(work)
    say(start.why)
    return _fit(work, TWIN, work.past, start.twin, start.why)


def fit_challenger(work: Work) -> Mapping[str, object]:
    """The challenger itself."""
    start = find_start(work)
    return _fit(work, CHALLENGER, work.panel, start.challenger, start.why)


def find_start(work: Work) -> Start:
    """The champion and its twin, or from scratch."""
    if work.champion is None:
        return _scratch("there is no champion yet")
    champion = champion_bundle(work)  # also where it is only compared with, which comes hours later
    settings = work.request.settings.retrain
    if not settings.warm:
        return _scratch("the settings say so")
    if int(champion.facts.get(GENERATION, 0)) >= (most := settings.warm_in_a_row):
        return _scratch(f"{most} warm start{'s' if most > 1 else ''} in a row is the most")
    twin = past_champion(work)
    if twin is None:
        return _scratch("the champion has no twin that ends before the backtest begins")
    model = model_config(work.panel, work.request.horizon, work.training)
    reason = why_not(champion, work.panel, model)
    reason = reason or why_not(twin, work.past, model_config(work.past, work.request.horizon, work.training))
    if reason:
        return _scratch(reason)
    return Start(challenger=champion, twin=twin, why=f"warm start from version {work.champion.version}")


def champion_bundle(work: Work) -> Bundle:
    """The bundle of the champion, which there is. Raises NotFoundError or IntegrityError with a way out."""
    assert work.champion is not None
    try:
        return load_bundle(work.home, work.champion.bundle_id)
    except SurgecastError as error:
        message = f"champion, version {work.champion.version}: {error}; make another version champion"
        raise SurgecastError(message) from error


def past_champion(work: Work) -> Bundle | None:
    """What stands for the champion in the backtest: its twin, or itself, if it has seen nothing of it."""
    if work.champion is None:
        return None
    first = str(work.past.origin)
    if work.champion.origin and work.champion.origin <= first:
        return champion_bundle(work)
    try:
        twin = load_bundle(work.home, work.champion.twin_id)
    except NotFoundError:
        return None
    return twin if str(twin.facts.get("origin", "~")) <= first else None


def read_epochs(path: Path) -> Iterator[EpochRecord]:
    """The epochs of a fit as they were kept."""
    if path.is_file():
        for line in path.read_text(encoding="utf-8").splitlines():
            yield EpochRecord(**json.loads(line))


def _scratch(why: str) -> Start:
    return Start(challenger=None, twin=None, why=f"{SCRATCH}: {why}")


def _fit(work: Work, name: str, panel: Panel, start: Bundle | None, why: str) -> Mapping[str, object]:
    folder = work.folder(name)
    bundle = _saved(folder)
    if bundle is None:
        training = work.training if start is None else shortened(work.training)
        shown = 0.0
        with (
            folder.with_suffix(".jsonl").open("w", encoding="utf-8") as epochs,
            progress(f"training the {name}", total=1.0) as advance,
        ):

            def report(record: EpochRecord) -> None:
                nonlocal shown
                advance(max(record.fraction - shown, 0.0))
                shown = max(record.fraction, shown)
                epochs.write(json.dumps(asdict(record)) + "\n")
                epochs.flush()

            model = model_config(panel, work.request.horizon, training)
            bundle = fit(panel, model=model, training=training, on_epoch=report, start=start)
        bundle.save(folder)
    facts = bundle.facts
    return {
        "bundle_id": bundle.bundle_id,
        "origin": facts["origin"],
        "steps": facts["steps"],
        "stopped": facts.get("stopped", ""),
        "start": "" if start is None else start.bundle_id,
        "why": why,
    }


def _saved(folder: Path) -> Bundle | None:
    """What a job that was killed had saved already."""
    return Bundle.load(folder) if folder.is_dir() else None
