"""The ledger of a job: `HOME/jobs/KEY/job.json`, replaced whole after every step.

A step is `started`, then `done` with its result. Killed in between, it is done again: every step comes to the
same end however often it begins.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Literal, Self

from forecast.cli.output import plain
from forecast.errors import IntegrityError
from forecast.home import Home
from forecast.snapshot.pointer import replace_file

FORMAT: Final = 1
NAME: Final = "job.json"
Status = Literal["running", "promoted", "kept", "failed", "superseded"]
FINISHED: Final = ("promoted", "kept", "superseded")
"""A job in one of these is over; a failed one goes on when it is started again."""


class Ledger:
    """What a job is, what it has done and what came of it. `folder` is named by the job's key."""

    def __init__(self, folder: Path, content: dict[str, Any]) -> None:
        self.folder = folder
        self._content = content

    @classmethod
    def begin(cls, folder: Path, facts: Mapping[str, str]) -> Self:
        """A job that has done nothing yet; what was in its folder is gone. facts: what the job is."""
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        content = {"key": folder.name, **facts, "status": "running", "reason": "", "began": _now()}
        ledger = cls(folder, {**content, "ended": None, "runs": 0, "steps": {}})
        ledger._write()
        return ledger

    @classmethod
    def read(cls, folder: Path) -> Self:
        """A job's ledger. IntegrityError when it is damaged or of another format; FileNotFoundError."""
        path = folder / NAME
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            found = content["format"]
            if found == FORMAT:
                _check(content)
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            found = f"{type(error).__name__}: {error}"
            raise IntegrityError(str(path), expected="the ledger of a job", found=found) from error
        if found != FORMAT:
            raise IntegrityError(str(path), expected=f"format {FORMAT}", found=f"format {found}")
        return cls(folder, content)

    @property
    def key(self) -> str:
        """The job's key."""
        return self.folder.name

    @property
    def status(self) -> Status:
        """What became of the job."""
        status: Status = self._content["status"]
        return status

    @property
    def open(self) -> bool:
        """Whether there is something left to do."""
        return self.status not in FINISHED and not self._content.get("closed", False)

    @property
    def reason(self) -> str:
        """Why it ended as it did."""
        return str(self._content["reason"])

    def fact(self, name: str) -> str:
        """What the job is: `basis`, `champion` and so on; empty where it is not known."""
        return str(self._content.get(name, ""))

    def result(self, step: str) -> Mapping[str, Any] | None:
        """What a step came to; None while it is not done."""
        entry = self._content["steps"].get(step)
        if entry is None or entry["state"] != "done":
            return None
        found: Mapping[str, Any] = entry["result"]
        return found

    def started(self, step: str) -> bool:
        """Whether a step was ever begun."""
        return step in self._content["steps"]

    @property
    def runs(self) -> int:
        """How often the job was begun."""
        return int(self._content["runs"])

    @property
    def done(self) -> list[str]:
        """The steps that are done, in their order."""
        return [name for name, entry in self._content["steps"].items() if entry["state"] == "done"]

    def go_on(self, promote_anyway: str) -> None:
        """The job is at work, again. promote_anyway: a reason to promote that came with this run or is
        empty; one that came before stays."""
        self._content["promote_anyway"] = promote_anyway or self.fact("promote_anyway")
        self._content.update(status="running", reason="", ended=None, runs=self.runs + 1, told=False)
        self._write()

    def start(self, step: str) -> None:
        """A step begins."""
        self._content["steps"][step] = {"state": "started", "began": _now(), "ended": None, "result": {}}
        self._write()

    def finish(self, step: str, result: Mapping[str, object]) -> None:
        """A step is done."""
        entry = self._content["steps"][step]
        entry.update(state="done", ended=_now(), result=plain(result))
        self._write()

    def end(self, status: Status, reason: str) -> None:
        """The job is over, or has failed."""
        self._content.update(status=status, reason=reason, ended=_now())
        self._write()

    def close(self, reason: str) -> None:
        """Nobody will go on with the job: it stays `failed` where it was, else it is `superseded`."""
        if self.status == "failed":
            self._content["closed"] = True
            self._write()
        else:
            self.end("superseded", reason)

    @property
    def untold(self) -> bool:
        """Whether the job is over and MLflow was not told yet."""
        return self.status in ("promoted", "kept") and not self._content.get("told", False)

    def told(self) -> None:
        """MLflow knows how the job ended."""
        self._content["told"] = True
        self._write()

    def facts(self) -> Mapping[str, object]:
        """All of it, as plain values."""
        return self._content

    def _write(self) -> None:
        content = {"format": FORMAT, **self._content}
        replace_file(self.folder / NAME, json.dumps(content, ensure_ascii=False, indent=1))


def ledgers(home: Home) -> tuple[list[Ledger], list[str]]:
    """The readable ledgers of a home, the oldest first, and what is wrong with the others."""
    found: list[Ledger] = []
    damaged: list[str] = []
    for folder in sorted(path for path in home.jobs_dir.glob("*") if path.is_dir()):
        try:
            found.append(Ledger.read(folder))
        except FileNotFoundError:
            continue  # killed before its first word
        except IntegrityError as error:
            damaged.append(str(error))
    return sorted(found, key=lambda one: (one.fact("began"), one.key)), damaged


def _check(content: dict[str, Any]) -> None:
    for name in ("status", "reason", "began"):
        if not isinstance(content[name], str):
            raise TypeError(f"{name} is no text")
    if content["status"] not in ("running", "failed", *FINISHED) or not isinstance(content["runs"], int):
        raise ValueError(f"status {content['status']}, runs {content['runs']}")
    for step, entry in content["steps"].items():
        if entry["state"] not in ("started", "done") or not isinstance(entry["result"], dict):
            raise ValueError(f"step {step}")


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
