"""Versions as a table, and one version with all that is known of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from forecast.cli.output import Cell
from forecast.home import Home
from training.gates.findings import Finding
from training.jobs import MODEL_NAME
from training.models.choosing import choose
from training.models.inventory import COPIED, HERE, Inventory, bundle_state, take_inventory
from training.models.story import REASON, STOPPED, Row, card, gate_findings, kept_back, scores, told
from training.registry import (
    CHAMPION,
    PROMOTED,
    PROMOTED_WHY,
    ROLLED_BACK,
    ROLLED_BACK_WHY,
    Version,
    bundle_folder,
    folder_bytes,
)

COLUMNS: Final = ("version", "alias", "cutoff", "trained", "WQL", "gate", "MB", "bundle", "state", "serves")
OWN_TAGS: Final = (
    "bundle_id",
    "twin_id",
    PROMOTED,
    PROMOTED_WHY,
    ROLLED_BACK,
    ROLLED_BACK_WHY,
    STOPPED,
    REASON,
)
"""Those that `show` has lines of their own for."""
STAGES: Final = "stage "
"""Beginning of the names of what a fit measured on its way, which the scores of the backtest supersede."""
SCORES: Final = (
    "slice",
    "forecaster",
    "n",
    "wql",
    "wape",
    "bias",
    "coverage_50",
    "coverage_80",
    "coverage_95",
)


@dataclass(frozen=True, kw_only=True)
class Line:
    """A version as `list` shows it. wql: of its backtest. gate: `passed`, `failed` or empty. bundle_bytes: on
    disk, 0 where it is gone. state: `here`, or what is wrong with its bundle. serves: whether the pointer
    names a snapshot of it."""

    version: str
    aliases: tuple[str, ...]
    cutoff: str
    trained: str
    wql: float | None
    gate: str
    bundle_id: str
    bundle_bytes: int
    state: str
    serves: bool

    def cells(self) -> Sequence[Cell]:
        """As a row of the table."""
        return (
            self.version,
            ", ".join(self.aliases),
            self.cutoff,
            self.trained,
            self.wql,
            self.gate,
            round(self.bundle_bytes / 1e6, 3) if self.bundle_bytes else None,
            self.bundle_id,
            self.state,
            "serves" if self.serves else "",
        )


@dataclass(frozen=True, kw_only=True)
class Shown:
    """A version as `show` shows it. why: why it is or was champion; empty where it never was. kept_back: why
    not. snapshots: ids of those made with it, the oldest first. scores: rows of its backtest."""

    line: Line
    run_id: str
    twin_id: str
    facts: Mapping[str, str]
    promoted: str
    why: str
    rolled_back: str
    kept_back: str
    snapshots: tuple[str, ...]
    scores: tuple[Row, ...]
    findings: tuple[Finding, ...]
    card: str

    def fact_rows(self) -> list[tuple[str, Cell]]:
        """Names and values, of those that there are."""
        line = self.line
        rows: list[tuple[str, Cell]] = [
            ("version", line.version),
            ("alias", ", ".join(line.aliases)),
            ("bundle", f"{line.bundle_id} ({line.state})"),
            ("twin", self.twin_id),
            ("serves", "yes" if line.serves else "no"),
            ("promoted", self.promoted),
            ("because", self.why),
            ("rolled back", self.rolled_back),
            ("kept back", self.kept_back),
            ("snapshots", ", ".join(self.snapshots)),
            ("run", self.run_id),
            *((name, value) for name, value in self.facts.items()),
        ]
        return [(name, value) for name, value in rows if value]

    def score_rows(self) -> list[Sequence[Cell]]:
        """The backtest's rows, slice by slice, rounded to what is worth reading."""
        wanted = [row for row in self.scores if row.get("n")]
        return [[_rounded(row.get(name)) for name in SCORES] for row in wanted]


def lines(home: Home) -> tuple[list[Line], Inventory]:
    """All versions, the newest first, and the inventory that they are from."""
    inventory = take_inventory(home)
    return [_line(home, one, inventory) for one in reversed(inventory.versions)], inventory


def show(home: Home, wanted: str) -> Shown:
    """All that is known of a version. Raises as `choose`."""
    version = choose(home, wanted)
    inventory = take_inventory(home)
    tags = version.tags
    back = f"{tags[ROLLED_BACK]}: {tags.get(ROLLED_BACK_WHY, '')}" if ROLLED_BACK in tags else ""
    return Shown(
        line=_line(home, version, inventory),
        run_id=version.run_id,
        twin_id=version.twin_id,
        facts={name: value for name, value in plain_facts(version).items() if name not in OWN_TAGS},
        promoted=tags.get(PROMOTED, ""),
        why=_why(home, version),
        rolled_back=back,
        kept_back=kept_back(home, version),
        snapshots=tuple(one.id for one in inventory.snapshots if one.bundle_id == version.bundle_id),
        scores=tuple(scores(home, version.run_id)),
        findings=tuple(gate_findings(home, version)),
        card=card(home, version),
    )


def plain_facts(version: Version) -> dict[str, str]:
    """Tags of a version, without what its fit measured on its way."""
    return {name: value for name, value in sorted(version.tags.items()) if not name.startswith(STAGES)}


def _why(home: Home, version: Version) -> str:
    if PROMOTED not in version.tags:
        return ""
    agreed = "the promotion gate agreed" if told(home, version).gate == "passed" else "it was asked for"
    return version.tags.get(PROMOTED_WHY, "") or agreed


def _line(home: Home, version: Version, inventory: Inventory) -> Line:
    found = told(home, version)
    serving = inventory.serving
    state = bundle_state(home, version)
    return Line(
        version=version.version,
        aliases=version.aliases,
        cutoff=version.cutoff,
        trained=version.created.isoformat(sep=" ", timespec="minutes").removesuffix("+00:00"),
        wql=found.wql,
        gate=found.gate,
        bundle_id=version.bundle_id,
        bundle_bytes=folder_bytes(bundle_folder(home, version.bundle_id)) if state == HERE else 0,
        state=state,
        serves=serving is not None and serving.bundle_id == version.bundle_id,
    )


def troubles(home: Home, inventory: Inventory) -> list[str]:
    """What a person should do something about, in sentences."""
    found = [
        f"alias {alias} points to version {version}, which was deleted:"
        " `surgecast models promote VERSION` sets champion and previous anew"
        for alias, version in inventory.dangling.items()
    ]
    if inventory.pointer is None and home.pointer_file.exists():
        found.append(f"{home.pointer_file} is damaged: `surgecast publish` writes it anew")
    if inventory.versions and not any(CHAMPION in one.aliases for one in inventory.versions):
        found.append("no version is champion: `surgecast models promote VERSION` takes one")
    if inventory.pointer is not None and inventory.serving is None:
        name = inventory.pointer.snapshot
        found.append(
            f"the pointer names snapshot {name}, which cannot be read: `surgecast publish` makes one"
        )
    for one in inventory.versions:
        state = bundle_state(home, one)
        if state != HERE and one.aliases:
            way = f"{one.version}` fetches it" if state == COPIED else "VERSION` takes another one"
            found.append(
                f"version {one.version} ({', '.join(one.aliases)}) has a bundle that is {state}:"
                f" `surgecast models promote {way}"
            )
    return found


def own_scores(rows: Sequence[Row]) -> dict[str, Row]:
    """Slice -> the model's own row."""
    return {row["slice"]: row for row in rows if row["forecaster"] == MODEL_NAME and row.get("n")}


def _rounded(value: Cell) -> Cell:
    return round(value, 4) if isinstance(value, float) else value
