"""The settings of an installation: `surgecast.toml` in its home.

A value comes from the first of: a flag on the command line, the environment (`SURGECAST_SERVE_PORT` is `port`
in `[serve]`), the file, the default. Everything is checked when it is read; an error names where the value
stands, what was expected and what was found. To add a setting, add a field with its description here: the
commented file that `surgecast settings init` writes, the environment variable and the checks follow from it.
"""

from __future__ import annotations

import difflib
import os
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError
from pydantic_core import ErrorDetails

from forecast.client_settings import ClientSettings
from forecast.data_gate_settings import DataGateSettings
from forecast.errors import UsageError
from forecast.home import Home
from forecast.monitor_settings import MonitorSettings
from forecast.promotion_settings import PromotionSettings
from forecast.retrain_settings import RetrainSettings
from forecast.schedule_settings import ScheduleSettings
from forecast.serve_settings import ServeSettings
from forecast.training_settings import TrainingSettings
from forecast.tune_settings import TuneSettings
from forecast.zones import Zone


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class DemandSettings(_Section):
    """`[demand]`: how demand is read."""

    timezone: Zone = Field(
        default="UTC",
        description="Zone whose days and weeks demand is counted in; times with a zone are converted to it.",
    )
    max_units: float = Field(
        default=100_000.0,
        gt=0,
        allow_inf_nan=False,
        description="A row with more units than this goes to quarantine as absurd.",
    )


class EventsSettings(_Section):
    """`[events]`: which surges are known ahead."""

    calendars: tuple[str, ...] = Field(
        default=(),
        description="Shipped calendars to use (china, us-retail, holidays:US, holidays:DE-BY ...),"
        " besides the files in the home's events folder.",
    )


class Settings(_Section):
    """All settings of an installation."""

    demand: DemandSettings = DemandSettings()
    events: EventsSettings = EventsSettings()
    training: TrainingSettings = TrainingSettings()
    retrain: RetrainSettings = RetrainSettings()
    data_gate: DataGateSettings = DataGateSettings()
    promotion: PromotionSettings = PromotionSettings()
    schedule: ScheduleSettings = ScheduleSettings()
    tune: TuneSettings = TuneSettings()
    monitor: MonitorSettings = MonitorSettings()
    serve: ServeSettings = ServeSettings()
    client: ClientSettings = ClientSettings()


SECTIONS: dict[str, type[BaseModel]] = {
    "demand": DemandSettings,
    "events": EventsSettings,
    "training": TrainingSettings,
    "retrain": RetrainSettings,
    "data_gate": DataGateSettings,
    "promotion": PromotionSettings,
    "schedule": ScheduleSettings,
    "tune": TuneSettings,
    "monitor": MonitorSettings,
    "serve": ServeSettings,
    "client": ClientSettings,
}


class Setting(NamedTuple):
    """One setting as `surgecast settings show` prints it."""

    name: str
    value: object
    source: str
    description: str


@dataclass(frozen=True)
class _Given:
    """A value that somebody gave, and where: `surgecast.toml, line 3`, an environment variable or a flag."""

    value: object
    source: str


def load_settings(
    home: Home, flags: Mapping[str, object] | None = None, *, file: Path | None = None
) -> Settings:
    """The settings in force.

    flags: values from the command line by dotted name (`serve.port`); None means not given. file: a further
    file like the home's that was named on the command line: it wins over all but flags.
    Raises UsageError that names the file and line (or the variable or flag), the key, and expected and found.
    """
    return _validated(_collect(home, flags or {}, file))


def describe_settings(home: Home) -> list[Setting]:
    """Every setting with its value and where the value comes from."""
    given = _collect(home, {})
    settings = _validated(given)
    rows = []
    for section, model in SECTIONS.items():
        values = getattr(settings, section).model_dump()
        for key, field in model.model_fields.items():
            name = f"{section}.{key}"
            value = values[key]
            source = given[name].source if name in given else "default"
            rows.append(Setting(name, value, source, field.description or ""))
    return rows


def default_file() -> str:
    """The text of a fully commented `surgecast.toml` in which every value is the default."""
    lines = [
        "# The settings of this installation. Every value is the default: take the # away to change it.",
        "# Flags on the command line win over the environment, the environment over this file.",
    ]
    for section, model in SECTIONS.items():
        lines += ["", f"[{section}]"]
        for key, field in model.model_fields.items():
            lines += [f"# {field.description}", f"# Environment: {_variable(section, key)}"]
            lines += [f"# {key} = {_toml(field.get_default())}", ""]
        lines.pop()
    return "\n".join(lines) + "\n"


def _toml(value: object) -> str:
    if isinstance(value, str):
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
    if isinstance(value, tuple):
        return "[" + ", ".join(_toml(item) for item in value) + "]"
    if isinstance(value, Mapping):  # of the one default there is, which is empty
        return "{" + ", ".join(f"{name} = {_toml(item)}" for name, item in value.items()) + "}"
    return str(value).lower() if isinstance(value, bool) else str(value)


def _variable(section: str, key: str) -> str:
    return f"SURGECAST_{section}_{key}".upper()


def _collect(home: Home, flags: Mapping[str, object], file: Path | None = None) -> dict[str, _Given]:
    """All given values by dotted name; the strongest source of each."""
    given = _from_file(home.settings_file) | _from_environment(os.environ)
    if file is not None:
        if not file.is_file():
            raise UsageError(f"{file}: expected a file of settings, found none")
        given |= _from_file(file)
    given |= {name: _Given(value, "command line") for name, value in flags.items() if value is not None}
    return given


def _from_file(path: Path) -> dict[str, _Given]:
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: expected a readable UTF-8 text file, found {error}") from error
    try:
        content = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{path}: expected TOML, found {error}") from error
    lines = _key_lines(text)
    given: dict[str, _Given] = {}
    for section, body in content.items():
        source = f"{path}, line {lines.get(section, 1)}"
        _check_name(section, tuple(SECTIONS), f"{source}: [{section}]", "section")
        if not isinstance(body, dict):
            raise UsageError(f"{source}: {section}: expected a section [{section}], found {body!r}")
        for key, value in body.items():
            name = f"{section}.{key}"
            source = f"{path}, line {lines.get(name, 1)}"
            _check_name(
                key, tuple(SECTIONS[section].model_fields), f"{source}: {name}", f"key of [{section}]"
            )
            given[name] = _Given(tuple(value) if isinstance(value, list) else value, source)
    return given


def _key_lines(text: str) -> dict[str, int]:
    """The line, from 1 on, of each section and each dotted key of a TOML text."""
    lines: dict[str, int] = {}
    section = ""
    for number, line in enumerate(text.splitlines(), start=1):
        header = re.match(r"\s*\[+\s*([\w.\"'-]+)\s*\]+", line)
        assignment = re.match(r"\s*([\w.\"'-]+)\s*=", line)
        if header:
            section = re.sub(r"[\"']", "", header[1])
            parts = section.split(".")
            for depth in range(len(parts)):
                lines.setdefault(".".join(parts[: depth + 1]), number)
        elif assignment:
            key = re.sub(r"[\"']", "", assignment[1])
            name = f"{section}.{key}" if section else key
            lines.setdefault(name, number)
            lines.setdefault(name.split(".")[0], number)
    return lines


def _check_name(name: str, known: tuple[str, ...], where: str, kind: str) -> None:
    if name in known:
        return
    near = difflib.get_close_matches(name, known, n=1)
    hint = f"; did you mean {near[0]}?" if near else ""
    raise UsageError(f"{where}: expected a {kind} ({', '.join(known)}), found {name!r}{hint}")


def _from_environment(environment: Mapping[str, str]) -> dict[str, _Given]:
    given: dict[str, _Given] = {}
    variables = {_variable(s, k): (s, k) for s, model in SECTIONS.items() for k in model.model_fields}
    for variable, text in environment.items():
        if variable in variables:
            section, key = variables[variable]
            given[f"{section}.{key}"] = _Given(_parsed(section, key, text, variable), variable)
        else:
            _check_variable(variable)
    return given


def _check_variable(variable: str) -> None:
    """Refuse the misspelt name of a setting; other variables of a section are somebody else's."""
    for section, model in SECTIONS.items():
        prefix = _variable(section, "")
        if variable.startswith(prefix):
            key = variable.removeprefix(prefix).lower()
            near = difflib.get_close_matches(key, model.model_fields, n=1, cutoff=0.7)
            if near:
                right = _variable(section, near[0])
                raise UsageError(f"{variable}: expected the name of a setting, did you mean {right}?")


def _parsed(section: str, key: str, text: str, variable: str) -> object:
    """An environment variable's text as the type of its setting; lists are separated by commas, tables are
    JSON."""
    field = SECTIONS[section].model_fields[key]
    if isinstance(field.get_default(), tuple):
        return tuple(part.strip() for part in text.split(",") if part.strip())
    adapter = TypeAdapter[Any](field.annotation or str)
    try:
        if isinstance(field.get_default(), Mapping):
            return adapter.validate_json(text)
        return adapter.validate_python(text)
    except ValidationError as error:
        raise UsageError(_message(error.errors()[0], variable, f"{section}.{key}")) from error


def _message(detail: ErrorDetails, source: str, name: str) -> str:
    expected = detail["msg"].removeprefix("Value error, ").removeprefix("Input should be ")
    return f"{source}: {name}: expected {expected}, found {detail['input']!r}"


def _validated(given: Mapping[str, _Given]) -> Settings:
    content: dict[str, dict[str, object]] = {}
    for name, item in given.items():
        section, key = name.split(".", 1)
        content.setdefault(section, {})[key] = item.value
    try:
        return Settings.model_validate(content, strict=True)
    except ValidationError as error:
        first = error.errors()[0]
        parts = [str(part) for part in first["loc"]]
        source = given[".".join(parts[:2])].source
        raise UsageError(_message(first, source, ".".join(parts))) from error
