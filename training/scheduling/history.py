"""What the schedule did: a line of JSON in HOME/jobs/history.jsonl when a run begins and one when it ends."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Final, Literal

from forecast.cli.output import plain

Outcome = Literal[
    "running",
    "promoted",
    "kept",
    "nothing",
    "published",
    "failed",
    "skipped",
    "missed",
    "interrupted",
    "cut off",
]
MISSING: Final = -1
"""Exit status where there is none."""


@dataclass(frozen=True, kw_only=True)
class RunRecord:
    """A run of a job.

    planned, started, ended: in UTC, ISO 8601. outcome: `running` until it has ended; `skipped`: another job
    was at work; `missed`: too late to be made up for; `interrupted`: the schedule was stopped; `cut off`: the
    schedule or the machine died. exit: the child's exit status. reason: in one line. result: what the child
    printed as JSON. lines: the last of what it said.
    """

    id: str
    action: str
    why: str
    planned: str
    started: str
    ended: str = ""
    seconds: float = 0.0
    outcome: Outcome = "running"
    exit: int = MISSING
    reason: str = ""
    result: Mapping[str, Any] = field(default_factory=dict)
    lines: tuple[str, ...] = ()


@dataclass(frozen=True)
class History:
    """The record of all runs of a home's schedule. Each line is written at once and whole."""

    path: Path

    def add(self, record: RunRecord) -> None:
        """Write down how a run stands."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        line = json.dumps(plain(asdict(record)), ensure_ascii=False) + "\n"
        handle = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        try:
            if self._is_torn():
                os.write(handle, b"\n")
            os.write(handle, line.encode())
        finally:
            os.close(handle)

    def runs(self) -> list[RunRecord]:
        """All runs in order of their start, each as it stands now. Lines that are none are passed over: of a
        disk that was full."""
        found: dict[str, RunRecord] = {}
        try:
            text = self.path.read_text(encoding="utf-8", errors="replace")
        except FileNotFoundError:
            return []
        for line in text.splitlines():
            try:
                values = json.loads(line)
                record = RunRecord(**{**values, "lines": tuple(values.get("lines", ()))})
            except (ValueError, TypeError, AttributeError):
                continue
            found[record.id] = record
        return list(found.values())

    def unfinished(self) -> list[RunRecord]:
        """Runs that began and did not end."""
        return [run for run in self.runs() if run.outcome == "running"]

    def forget(self, keep: int) -> None:
        """Keep the last runs alone, once there are half as many again."""
        runs = self.runs()
        if len(runs) <= keep * 3 // 2:
            return
        part = self.path.with_name(f"{self.path.name}.part")
        lines = [json.dumps(plain(asdict(run)), ensure_ascii=False) + "\n" for run in runs[-keep:]]
        part.write_text("".join(lines), encoding="utf-8")
        part.replace(self.path)

    def _is_torn(self) -> bool:
        """Whether the last line has no end."""
        with self.path.open("rb") as file:
            if file.seek(0, os.SEEK_END) == 0:
                return False
            file.seek(-1, os.SEEK_END)
            return file.read(1) != b"\n"


def stamp(moment: datetime) -> str:
    """A moment as it is written down."""
    return moment.isoformat(timespec="milliseconds")
