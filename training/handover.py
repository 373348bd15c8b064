"""A fit as a folder, so that other processes can do it: what to fit goes in, records and the bundle come out.

job.json           configurations, names of the panel's arrays, when the fit began
*.npy              the panel's arrays, mapped by all processes, so that the machine holds them once
records.jsonl      one record a line, as they happen
error-R.json       why process R failed, where it was foreseen
weights-R.txt      SHA-256 of the weights that process R ended with
start              the bundle whose weights the fit goes on from, where there is one
bundle             the result

JSON and plain arrays, never pickle. Only the user who fits can read the folder, and it goes
when the fit ends.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from forecast import errors
from forecast.demand.panel import EventGrid, Panel, SeriesKeys
from forecast.errors import SurgecastError
from forecast.model.bundle import Bundle
from forecast.model.config import ModelConfig
from training.config import TrainingConfig
from training.records import EpochRecord

START = "start"
KEYS = ("item", "location", "platform")


@dataclass(frozen=True, kw_only=True)
class Job:
    """A fit to do. began: `time.time()` of its start. start: what it goes on from, None for chance."""

    panel: Panel
    model: ModelConfig
    training: TrainingConfig
    began: float
    start: Bundle | None = None


def write_job(folder: Path, job: Job) -> None:
    """Write a job into an empty folder. Raises SurgecastError, which names its place, where there is no
    room."""
    try:
        _write(folder, job)
    except OSError as error:
        raise no_room(folder.parent, error) from error


def no_room(place: Path | None, error: OSError) -> SurgecastError:
    """The error to raise where `place`, a folder for temporary files, cannot take a fit."""
    where = "any folder for temporary files" if place is None else str(place)
    expected = f"room in {where} for the panel that several processes share"
    reason = error.strerror or str(error)
    return SurgecastError(
        f"temporary folder: expected {expected}, found none ({reason}); TMPDIR names another"
    )


def _write(folder: Path, job: Job) -> None:
    panel = job.panel
    arrays: dict[str, np.ndarray[Any, Any]] = {
        "demand": panel.demand_ST,
        "intensity": panel.events.intensity_GLE,
        "event-group": panel.events.group_S,
        **{f"key-{name}": getattr(panel.keys, name) for name in KEYS},
        **{f"known-{i}": values for i, values in enumerate(panel.known.values())},
        **{f"static-{i}": labels.astype(np.str_) for i, labels in enumerate(panel.statics.values())},
    }
    if panel.stocked_out_ST is not None:
        arrays["stocked-out"] = panel.stocked_out_ST
    if panel.events.lift_GLE is not None:
        arrays["lift"] = panel.events.lift_GLE
    for name, array in arrays.items():
        np.save(folder / f"{name}.npy", array, allow_pickle=False)
    facts = {
        "model": asdict(job.model),
        "training": asdict(job.training),
        "began": job.began,
        "period": panel.period,
        "start": str(panel.start),
        "known": list(panel.known),
        "statics": list(panel.statics),
        "events": panel.events.names,
        "like": dict(panel.events.like),
        "data_version": panel.data_version,
    }
    if job.start is not None:
        job.start.save(folder / START)
    (folder / "job.json").write_text(json.dumps(facts), encoding="utf-8")


def read_job(folder: Path) -> Job:
    """Read a job; its arrays are mapped, and a change to one stays with this process."""
    facts = json.loads((folder / "job.json").read_text(encoding="utf-8"))

    def array(name: str) -> Any:
        path = folder / f"{name}.npy"
        return np.load(path, mmap_mode="c", allow_pickle=False) if path.is_file() else None

    panel = Panel(
        period=facts["period"],
        start=np.datetime64(facts["start"], "s"),
        keys=SeriesKeys(**{name: np.array(array(f"key-{name}")) for name in KEYS}),
        demand_ST=array("demand"),
        stocked_out_ST=array("stocked-out"),
        known={name: array(f"known-{i}") for i, name in enumerate(facts["known"])},
        statics={name: np.array(array(f"static-{i}")) for i, name in enumerate(facts["statics"])},
        events=EventGrid(
            names=tuple(facts["events"]),
            intensity_GLE=array("intensity"),
            group_S=array("event-group"),
            like=facts["like"],
            lift_GLE=array("lift"),
        ),
        data_version=facts["data_version"],
    )
    model, training = ModelConfig(**facts["model"]), TrainingConfig(**facts["training"])
    start = Bundle.load(folder / START) if (folder / START).is_dir() else None
    return Job(panel=panel, model=model, training=training, began=facts["began"], start=start)


def write_record(folder: Path, record: EpochRecord) -> None:
    """Add a record."""
    with (folder / "records.jsonl").open("a", encoding="utf-8") as file:
        file.write(json.dumps(asdict(record)) + "\n")


def follow_records(folder: Path) -> Iterator[EpochRecord | None]:
    """The records as they come, whole lines only; None wherever there is none yet."""
    path = folder / "records.jsonl"
    path.touch()
    rest = ""
    with path.open(encoding="utf-8") as file:
        while True:
            rest += file.read()
            line, end, rest = rest.partition("\n")
            if not end:
                rest = line
            yield EpochRecord(**json.loads(line)) if end else None


def write_error(folder: Path, rank: int, error: SurgecastError) -> None:
    """Leave an error for the process that waits."""
    named = {name: getattr(error, name) for name in ("field", "expected", "found") if hasattr(error, name)}
    facts = {"class": type(error).__name__, "message": str(error), "named": named}
    (folder / f"error-{rank}.json").write_text(json.dumps(facts), encoding="utf-8")


def read_error(folder: Path, rank: int) -> SurgecastError | None:
    """The error that a process left."""
    path = folder / f"error-{rank}.json"
    if not path.is_file():
        return None
    facts = json.loads(path.read_text(encoding="utf-8"))
    kind = getattr(errors, facts["class"], SurgecastError)
    named = facts["named"]
    error = kind(named.pop("field"), **named) if named else kind(facts["message"])
    assert isinstance(error, SurgecastError)
    return error


def write_digest(folder: Path, rank: int, weights: Mapping[str, Tensor]) -> None:
    """Leave a digest of weights."""
    digest = hashlib.sha256()
    for name, value in sorted(weights.items()):
        digest.update(name.encode())
        digest.update(value.detach().cpu().contiguous().numpy().tobytes())
    (folder / f"weights-{rank}.txt").write_text(digest.hexdigest(), encoding="ascii")


def read_digest(folder: Path, rank: int) -> str:
    """The digest that a process left."""
    return (folder / f"weights-{rank}.txt").read_text(encoding="ascii")
