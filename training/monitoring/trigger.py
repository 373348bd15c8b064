"""A retraining that findings ask for: done once for the same findings and data."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, Literal

from forecast.cli.main import KEPT
from forecast.cli.output import say
from forecast.cli.processes import started
from forecast.home import Home
from forecast.snapshot.folders import locked
from forecast.snapshot.pointer import replace_file
from training.monitoring.judge import CHECKS
from training.monitoring.rounds import Round
from training.scheduling.child import BUSY, PROGRAM

FORMAT: Final = 1
ATTEMPTS: Final = 3
"""How often a retraining that fails is begun for the same findings and data."""
Status = Literal["done", "kept", "failed", "busy", "remembered"]
"""done: promoted, or there was nothing to do; busy: another job was at work; remembered: was run before."""


@dataclass(frozen=True, kw_only=True)
class Asked:
    """A retraining that was started. at: UTC in ISO 8601; exit: of the process, None while it is running or
    where it was killed with this program."""

    checks: tuple[str, ...]
    data_version: str
    at: str
    exit: int | None


def command(home: Home) -> list[str]:
    """What a user would type."""
    return [*PROGRAM, "retrain", "--home", str(home.root.absolute())]


def retrain_once(home: Home, found: Round, line: Sequence[str]) -> Status | None:
    """Run the retraining `line` to its end, if findings ask for it and it was not done for all of them on
    this data, nor begun `ATTEMPTS` times; None where nothing asks.

    Remembered before it begins, so that a crash does not repeat it for ever; forgotten where another job was
    at work, since then nothing was tried. What it prints goes to stderr.
    """
    checks = tuple(check for check in CHECKS if any(one.check == check for one in found.failures))
    if not checks:
        return None
    with locked(home.monitoring_dir):
        asked = read_asked(home)
        if all(_is_settled(check, found.data_version, asked) for check in checks):
            done = f"was done for {', '.join(checks)} on data version {found.data_version} already"
            say(f"retrain: {done}, or failed {ATTEMPTS} times; `surgecast retrain` tries again")
            return "remembered"
        now = datetime.now(UTC).isoformat(timespec="seconds")
        mine = Asked(checks=checks, data_version=found.data_version, at=now, exit=None)
        _write(home, [*asked, mine])
    say(f"retrain: started for {', '.join(checks)}")
    status, last = _run(line)
    busy = status not in (0, KEPT) and last.startswith(BUSY)
    with locked(home.monitoring_dir):
        others = [one for one in read_asked(home) if one != mine]
        finished = Asked(checks=checks, data_version=found.data_version, at=now, exit=status)
        _write(home, others if busy else [*others, finished])
    if busy:
        return "busy"
    if status == KEPT:
        return "kept"
    return "failed" if status else "done"


def _is_settled(check: str, data_version: str, asked: Sequence[Asked]) -> bool:
    """Whether a retraining for this finding has ended well, or failed as often as it may."""
    exits = [one.exit for one in asked if one.data_version == data_version and check in one.checks]
    return any(status in (0, KEPT) for status in exits) or len(exits) >= ATTEMPTS


def read_asked(home: Home) -> list[Asked]:
    """What was started so far; nothing where the record is damaged."""
    path = _file(home)
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if content["format"] != FORMAT:
            return []
        return [Asked(**{**one, "checks": tuple(one["checks"])}) for one in content["asked"]]
    except FileNotFoundError:
        return []
    except (ValueError, TypeError, KeyError):
        say(f"{path} is damaged; a new record of retrainings begins")
        return []


def _run(line: Sequence[str]) -> tuple[int, str]:
    """Exit status and last line on stderr of a process whose output is passed on."""
    last = ""
    with started(line, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
        for text in process.stdout or ():
            last = text.rstrip() or last
            say(f"retrain: {text.rstrip()}")
        return process.wait(), last


def _write(home: Home, asked: Sequence[Asked]) -> None:
    content = {"format": FORMAT, "asked": [asdict(one) for one in asked]}
    replace_file(_file(home), json.dumps(content, indent=1))


def _file(home: Home) -> Path:
    return home.monitoring_dir / "retrainings.json"
