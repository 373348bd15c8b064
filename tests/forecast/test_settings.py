from __future__ import annotations

import json
import tomllib
from pathlib import Path

import pytest

from forecast.cli.main import run
from forecast.errors import UsageError
from forecast.home import Home
from forecast.settings import SECTIONS, Settings, default_file, describe_settings, load_settings


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    for variable in ("SURGECAST_HOME", "SURGECAST_SERVE_PORT", "SURGECAST_EVENTS_CALENDARS"):
        monkeypatch.delenv(variable, raising=False)
    return Home(tmp_path)


def write(home: Home, text: str) -> None:
    home.settings_file.write_text(text, encoding="utf-8")


def test_no_file_means_defaults(home: Home) -> None:
    assert load_settings(home) == Settings()
    assert {row.source for row in describe_settings(home)} == {"default"}


def test_flags_win_over_environment_over_file_over_default(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(home, '[serve]\nport = 7001\nhost = "localhost"\n')
    assert load_settings(home).serve.port == 7001
    monkeypatch.setenv("SURGECAST_SERVE_PORT", "7002")
    assert load_settings(home).serve.port == 7002
    assert load_settings(home, {"serve.port": 7003}).serve.port == 7003
    assert load_settings(home, {"serve.port": None}).serve.port == 7002
    assert load_settings(home).serve.host == "localhost"


def test_lists_from_the_environment_are_separated_by_commas(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SURGECAST_EVENTS_CALENDARS", "china, holidays:US")
    assert load_settings(home).events.calendars == ("china", "holidays:US")


@pytest.mark.parametrize(
    ("text", "line", "parts"),
    [
        ('[serve]\n\nport = "abc"\n', 3, ("serve.port", "integer", "'abc'")),
        ("[serve]\nport = 70000\n", 2, ("serve.port", "65535", "70000")),
        ("[serve]\nprot = 1\n", 2, ("'prot'", "did you mean port?")),
        ("# one\n[servee]\nport = 1\n", 2, ("'servee'", "did you mean serve?")),
        ("serve.port = true\n", 1, ("serve.port", "integer", "True")),
        ("[training]\nminutes = nan\n", 2, ("training.minutes", "finite", "nan")),
        ("[training]\nminutes = 0\n", 2, ("training.minutes", "greater than 0", "0")),
        ('[training]\ndevice = "gpu"\n', 2, ("training.device", "'auto', 'cpu' or 'cuda'", "'gpu'")),
        ('[demand]\ntimezone = "Mars/Olympus"\n', 2, ("demand.timezone", "time zone", "'Mars/Olympus'")),
        ("[events]\ncalendars = [1]\n", 2, ("events.calendars", "string", "1")),
        ("[serve]\nhost = \n", 2, ("TOML",)),
        ("demand = 3\n", 1, ("[demand]", "3")),
    ],
)
def test_a_wrong_file_is_named_with_line_key_expected_and_found(
    home: Home, capsys: pytest.CaptureFixture[str], text: str, line: int, parts: tuple[str, ...]
) -> None:
    write(home, text)
    assert run(["settings", "show", "--home", str(home.root)]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert str(home.settings_file) in error
    assert f"line {line}" in error
    for part in parts:
        assert part in error


def test_a_file_that_is_no_text_is_refused(home: Home) -> None:
    home.settings_file.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UsageError, match="UTF-8"):
        load_settings(home)


@pytest.mark.parametrize(
    ("variable", "value", "message"),
    [
        ("SURGECAST_SERVE_PORT", "abc", "SURGECAST_SERVE_PORT: serve.port: expected a valid integer"),
        ("SURGECAST_SERVE_PROT", "1", "did you mean SURGECAST_SERVE_PORT"),
        ("SURGECAST_SERVE_PORT", "0", "SURGECAST_SERVE_PORT: serve.port: expected greater"),
    ],
)
def test_a_wrong_variable_is_named(
    home: Home, monkeypatch: pytest.MonkeyPatch, variable: str, value: str, message: str
) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(UsageError, match=message):
        load_settings(home)


def test_a_wrong_flag_is_named_once(home: Home) -> None:
    with pytest.raises(
        UsageError, match=r"^command line: serve\.log_format: expected 'text' or 'json', found"
    ):
        load_settings(home, {"serve.log_format": "yaml"})


def test_variables_that_resemble_no_setting_are_left_to_others(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SURGECAST_SERVE_UNIT_FILE", "x")
    assert load_settings(home) == Settings()


def test_the_written_file_explains_every_setting_and_says_the_defaults(
    home: Home, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["settings", "init", "--home", str(home.root / "new")]) == 0
    text = (home.root / "new" / "surgecast.toml").read_text()
    assert text == default_file()
    assert tomllib.loads(text) == {section: {} for section in SECTIONS}
    uncommented = "\n".join(line.removeprefix("# ") if " = " in line else line for line in text.splitlines())
    write(home, uncommented)
    assert load_settings(home) == Settings()
    for row in describe_settings(home):
        assert row.description in text
    capsys.readouterr()


def test_init_never_overwrites(home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    write(home, "[serve]\nport = 7001\n")
    assert run(["settings", "init", "--home", str(home.root)]) == 1
    assert "left as it is" in capsys.readouterr().err
    assert home.settings_file.read_text() == "[serve]\nport = 7001\n"


def test_show_says_where_each_value_comes_from(home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    write(home, "[serve]\nport = 7001\n")
    assert run(["settings", "show", "--json", "--home", str(home.root)]) == 0
    shown = json.loads(capsys.readouterr().out)["settings"]
    assert shown["serve.port"] == {"value": 7001, "source": f"{home.settings_file}, line 2"}
    assert shown["serve.host"]["source"] == "default"
