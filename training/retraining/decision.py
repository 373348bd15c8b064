"""What there is to do: nothing, a new job, or one to go on with. Decided at once, without torch or mlflow."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np

from forecast.cli.output import say
from forecast.demand.incoming import STEP_US
from forecast.demand.store import DemandStore, store_period
from forecast.errors import InputError, NotFoundError
from forecast.home import Home
from forecast.snapshot.rollback import open_rollback
from forecast.times import iso
from training.retraining.champion import Champion, champion_of
from training.retraining.key import Basis, code_version, config_version
from training.retraining.ledger import Ledger, ledgers
from training.retraining.request import Outcome, RetrainRequest


@dataclass(frozen=True, kw_only=True)
class Decision:
    """What there is to do.

    do: the ledger of the job to do or to go on with, or the outcome where there is none. champion: the one of
    now. left: ledgers of other jobs that were not finished and never will be; untold: of those that were
    killed when all was done but to tell MLflow.
    """

    do: Ledger | Outcome
    basis: Basis
    champion: Champion | None
    left: tuple[Ledger, ...]
    untold: tuple[Ledger, ...]


def decide(home: Home, request: RetrainRequest) -> Decision:
    """Find the job, or why there is none.

    Raises NotFoundError for an empty store, InputError for a cutoff before the first demand or after the
    last.
    """
    basis = _basis(home, request)
    champion = present_champion(home)
    found, damaged = ledgers(home)
    for message in damaged:
        say(f"{message}; that job begins anew where it is wanted again")
    key = basis.key(champion.bundle_id if champion else "")
    do = _go_on(found, key, basis, champion) or _done(found, key, basis, request)
    if do is None and champion is not None and _has_seen(champion, found, basis):
        seen = iso(champion.origin)
        reason = f"the champion, version {champion.version}, has seen the demand up to {seen}"
        do = Outcome(status="nothing", reason=reason, cutoff=basis.cutoff)
    if do is None:
        do = Ledger.begin(home.jobs_dir / key, _facts(basis, champion))
    mine = do.key
    left = tuple(one for one in found if one.open and one.key != mine)
    untold = tuple(one for one in found if one.untold and one is not do)
    return Decision(do=do, basis=basis, champion=champion, left=left, untold=untold)


def made_champion(ledger: Ledger, champion: Champion | None) -> bool:
    """Whether a job's challenger is the champion; of one that is not finished: it was killed on the last
    step."""
    made = ledger.result("challenger") or {}
    return champion is not None and made.get("bundle_id") == champion.bundle_id


def _go_on(found: list[Ledger], key: str, basis: Basis, champion: Champion | None) -> Ledger | None:
    """The same job, not finished."""
    for one in found:
        same = one.open and one.fact("basis") == basis.digest
        if same and (one.key == key or made_champion(one, champion)):
            return one
    return None


def _done(found: list[Ledger], key: str, basis: Basis, request: RetrainRequest) -> Ledger | Outcome | None:
    """The same job, finished: nothing to do, unless what it kept back is wanted anyway."""
    for one in found:
        if one.key == key and one.status in ("promoted", "kept"):
            if one.status == "kept" and request.promote_anyway:
                return one
            reason = f"this job is done: {one.status}, {one.reason}"
            return Outcome(status="nothing", reason=reason, key=key, cutoff=basis.cutoff)
    return None


def present_champion(home: Home) -> Champion | None:
    """The champion, after the alias has followed a rollback at the server."""
    if open_rollback(home) is not None:
        from training.registry import follow_rollback

        follow_rollback(home)
    return champion_of(home)


def _basis(home: Home, request: RetrainRequest) -> Basis:
    ledger = DemandStore(home.demand_dir).ledger()
    if ledger.is_empty():
        raise NotFoundError("demand store", expected="imported demand", found=f"none in {home.demand_dir}")
    first, last = ledger["first"].min(), ledger["last"].max()
    if not isinstance(first, datetime) or not isinstance(last, datetime):
        raise NotFoundError("demand store", expected="periods with demand", found="none")
    cutoff = last if request.cutoff is None else _period(request.cutoff, first, STEP_US[store_period(ledger)])
    if not first <= cutoff <= last:
        expected = f"a time from {iso(first)} to {iso(last)}, the last with demand"
        raise InputError("cutoff", expected=expected, found=iso(cutoff))
    return Basis(
        data_version=str(ledger.height),
        cutoff=cutoff.isoformat(),
        config=config_version(home, request.settings),
        code=code_version(),
    )


def _period(cutoff: np.datetime64, first: datetime, step_us: int) -> datetime:
    """The period that a moment lies in."""
    moment: datetime = cutoff.astype("datetime64[us]").item()
    step = timedelta(microseconds=step_us)
    return first + (moment - first) // step * step


def _facts(basis: Basis, champion: Champion | None) -> dict[str, str]:
    return {
        "basis": basis.digest,
        "data_version": basis.data_version,
        "cutoff": basis.cutoff,
        "config": basis.config,
        "code": basis.code,
        "champion": champion.bundle_id if champion else "",
        "champion_version": champion.version if champion else "",
    }


def _has_seen(champion: Champion, found: list[Ledger], basis: Basis) -> bool:
    """Whether a job would teach nothing: the champion knows a later day, or the same one, and was not made by
    a job on other data, with other settings or by other code."""
    try:
        seen = datetime.fromisoformat(champion.origin)
    except ValueError:  # a version that was registered by hand
        return False
    wanted = datetime.fromisoformat(basis.cutoff)
    made = next((one for one in found if made_champion(one, champion)), None)
    return seen > wanted or (seen == wanted and (made is None or made.fact("basis") == basis.digest))
