"""The last step: servers and registry get to the challenger together, unless somebody went back meanwhile."""

from __future__ import annotations

from collections.abc import Mapping

from forecast.errors import BusyError
from forecast.home import Home
from forecast.snapshot.pointer import move_pointer, readable_pointer
from forecast.snapshot.rollback import open_rollback, read_rollbacks
from training.publishing import Chosen, write_forecasts
from training.registry import CHAMPION, MODEL, ROLLED_BACK, ROLLED_BACK_WHY, follow_rollback, promote
from training.retraining.champion import champion_of
from training.retraining.tidying import serves
from training.retraining.work import CHALLENGER, Work
from training.tracking import connect


def write_snapshot(work: Work) -> Mapping[str, object]:
    """The challenger's forecasts of all series, which nothing serves yet."""
    version = str((work.ledger.result("record") or {})["version"])
    chosen = Chosen(work.bundle_id(CHALLENGER), version, work.cutoff, work.ledger.fact("data_version"))
    device, devices = work.training.device, work.training.devices
    return {"snapshot": write_forecasts(work.home, chosen, device=device, devices=devices)}


def make_champion(work: Work, reason: str) -> Mapping[str, object]:
    """Move the alias, then the pointer; `gone_back`: why not, where somebody went back to another snapshot
    since the job began. reason: why in spite of the gate, empty where the gate agrees."""
    home, snapshot = work.home, str((work.ledger.result("snapshot") or {})["snapshot"])
    version = str((work.ledger.result("record") or {})["version"])
    pointer = readable_pointer(home)
    gone_back = _gone_back(home, snapshot, version)
    if not gone_back:
        promote(home, version, reason=reason or None)
        try:
            if not serves(home, work.bundle_id(CHALLENGER)):
                move_pointer(home, snapshot, moves=pointer.moves if pointer else 0)
        except BusyError:  # jobs are kept out, so this was a server
            gone_back = _gone_back(home, snapshot, version)
            if not gone_back:
                raise
    if gone_back:
        _follow(work, version)
    return {"gone_back": gone_back}


def _gone_back(home: Home, snapshot: str, version: str) -> str:
    """Who went back to another snapshot while the job was at work, or from its own while it was killed; empty
    where nobody did."""
    former = (one for one in read_rollbacks(home) if one.former == snapshot)
    rollback = open_rollback(home) or next(former, None)
    if rollback is not None:
        return f"rolled back to {rollback.snapshot} by {rollback.who} meanwhile ({rollback.why})"
    tags = connect(home).get_model_version(MODEL, version).tags
    if ROLLED_BACK in tags:
        return f"somebody went back from version {version} meanwhile ({tags.get(ROLLED_BACK_WHY, '')})"
    return ""


def _follow(work: Work, version: str) -> None:
    """The alias goes where the servers are; to the champion of before, where that is not registered."""
    follow_rollback(work.home)
    now, former = champion_of(work.home), work.ledger.fact("champion_version")
    if now is not None and now.version == version:
        client = connect(work.home)
        if former:
            client.set_registered_model_alias(MODEL, CHAMPION, former)
        else:
            client.delete_registered_model_alias(MODEL, CHAMPION)
