"""Forecasts on disk, known by a fingerprint of everything that they depend on."""

from __future__ import annotations

import ast
import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np

from forecast.demand.panel import Panel
from forecast.forecasts import Forecasts

ROOT = Path(__file__).parents[3]
SHARED = ("common.py", "../../../training/bench/frames.py")
"""Files, from this folder, that every peer's forecasts depend on."""


@dataclass(frozen=True, kw_only=True)
class Saved:
    """Forecasts, the seconds that they took, and facts about them."""

    forecasts: Forecasts
    seconds: float
    facts: Mapping[str, float]


def fingerprint(panel: Panel, horizon: int, *parts: object) -> str:
    """Hash of the panel's content, the horizon and of anything else that JSON can hold."""
    digest = hashlib.sha256()
    digest.update(json.dumps([horizon, str(panel.origin), *parts], sort_keys=True).encode())
    for labels in (panel.keys.item, panel.keys.location, panel.keys.platform, *panel.statics.values()):
        digest.update("\x1f".join(labels.tolist()).encode())
    digest.update(json.dumps([*panel.known, *panel.statics, *panel.events.names]).encode())
    arrays = [panel.demand_ST, panel.stocked_out_ST, *panel.known.values(), panel.events.intensity_GLE]
    for values in arrays:
        if values is not None:
            digest.update(np.ascontiguousarray(values).data)
    return digest.hexdigest()


def settings_of(peer: object) -> dict[str, object]:
    """The fields of a peer (a dataclass) and its name."""
    return {"peer": type(peer).__name__, **asdict(peer)}  # type: ignore[call-overload]


def code_hash(paths: Iterable[Path]) -> str:
    """Hash of Python files as parsed: comments and layout do not count."""
    digest = hashlib.sha256()
    for path in sorted(paths):
        digest.update(path.name.encode())
        digest.update(ast.dump(ast.parse(path.read_text())).encode())
    return digest.hexdigest()


def versions(distributions: Iterable[str]) -> dict[str, str]:
    """Installed versions."""
    return {name: version(name) for name in distributions}


def load(path: Path, panel: Panel, wanted: str) -> Saved | None:
    """Forecasts of the panel's series saved under this fingerprint; None where there are none."""
    if not path.is_file():
        return None
    with np.load(path, allow_pickle=False) as stored:
        if str(stored["fingerprint"]) != wanted:
            return None
        forecasts = Forecasts(
            period=panel.period,
            origin=panel.origin,
            keys=panel.keys,
            mean_SH=stored["mean_SH"],
            quantiles_SHQ=stored["quantiles_SHQ"],
            ranks_SHK=stored["ranks_SHK"],
        )
        facts = json.loads(str(stored["facts"]))
        return Saved(forecasts=forecasts, seconds=float(stored["seconds"]), facts=facts)


def save(path: Path, saved: Saved, mark: str) -> None:
    """Write whole or not at all; replaces what was saved under another fingerprint."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_suffix(".part")
    with unfinished.open("wb") as file:
        np.savez_compressed(
            file,
            fingerprint=np.array(mark),
            mean_SH=saved.forecasts.mean_SH,
            quantiles_SHQ=saved.forecasts.quantiles_SHQ,
            ranks_SHK=saved.forecasts.ranks_SHK,
            seconds=np.array(saved.seconds),
            facts=np.array(json.dumps(dict(saved.facts))),
        )
    unfinished.replace(path)
