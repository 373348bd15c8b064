"""What the README tells a newcomer to type works as it stands."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from command_line import known_options, parse
from conftest import README, Surgecast, readme_blocks

from forecast.demand.events.files import parse_toml

LINES = [
    line for block in readme_blocks() if block.language == "bash" for line in block.text.splitlines() if line
]
COMMANDS = [shlex.split(line, comments=True) for line in LINES]
ASKED = [words[1:] for words in COMMANDS if words[0] == "surgecast"]
MENTIONED = sorted(set(re.findall(r"`surgecast ([^`]+)`", README.read_text(encoding="utf-8"))))


def test_all_lines_are_of_a_kind_that_is_checked() -> None:
    assert {words[0] for words in COMMANDS} <= {"make", "export", "surgecast"}
    assert len(ASKED) >= 10


@pytest.mark.parametrize("arguments", ASKED, ids=shlex.join)
def test_commands_are_ones_that_the_program_accepts(arguments: list[str]) -> None:
    parse(arguments)


@pytest.mark.parametrize("text", MENTIONED)
def test_commands_within_sentences_exist_with_their_flags(text: str) -> None:
    words = shlex.split(text)
    assert {word for word in words if word.startswith("--")} <= known_options(words)


def test_make_targets_exist() -> None:
    targets = set(re.findall(r"^(\w+):", README.with_name("Makefile").read_text(), re.MULTILINE))
    assert {words[1] for words in COMMANDS if words[0] == "make"} <= targets


def test_pictures_and_files_that_it_links_to_exist() -> None:
    links = re.findall(r"\]\(([^)]+)\)", README.read_text(encoding="utf-8"))
    local = [link for link in links if "://" not in link]
    assert local
    assert [link for link in local if not (README.parent / link).is_file()] == []
    assert all((README.parent / link).stat().st_size < 150_000 for link in local if link.endswith(".png"))


def toml_block(name: str) -> str:
    """The TOML file that the README shows under a name."""
    (text,) = (block.text for block in readme_blocks() if block.text.startswith(f"# {name}\n"))
    return text


def test_the_calendar_of_new_surges_is_one() -> None:
    like, lifted = parse_toml(toml_block("festival.toml"), "festival.toml").events
    assert (like.like, like.intensity) == ("618", 0.5)
    assert [(spell.name, spell.lift) for spell in lifted.spells] == [("day", 4.0), ("warm-up", 0.8)]


def test_growing_exports_of_order_lines_work_as_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "MAP.toml").write_text(toml_block("MAP.toml"), encoding="utf-8")
    july = [f"{n},tea,2024-07-{n:02} 10:00:00,2,north,web,Acme,buyer" for n in range(1, 32)]
    august = ["32,tea,2024-08-01 10:00:00,5,north,web,Acme,buyer"]
    header = "line_id,sku,ordered_at,qty,warehouse,shop,brand,customer"
    (tmp_path / "orders-july.csv").write_text("\n".join([header, *july]) + "\n")
    (tmp_path / "orders-july-august.csv").write_text("\n".join([header, *july, *august]) + "\n")
    monkeypatch.chdir(tmp_path)
    surgecast = Surgecast(tmp_path / "home")
    for words in (words for words in ASKED if words[:3] == ["data", "import", "orders"]):
        surgecast(*words)
    assert surgecast.json("data", "show")["units"] == 31 * 2 + 5


def test_one_shot_forecasts_work_as_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = toml_block("forecast.toml")
    (tmp_path / "forecast.toml").write_text(config, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    surgecast = Surgecast(tmp_path)
    (simulate,) = (words for words in ASKED if words[:2] == ["data", "simulate"])
    (forecast,) = (words for words in ASKED if words[0] == "forecast")
    surgecast(*simulate, home=False)
    assert "50 series, 1,400 rows: forecast.parquet" in surgecast(*forecast, "--steps", 2, home=False)
    assert (tmp_path / "forecast.parquet").is_file()


def test_the_client_example_works_as_written(
    published: Surgecast, capsys: pytest.CaptureFixture[str]
) -> None:
    (example,) = (block.text for block in readme_blocks() if block.language == "python")
    with published.served() as address:
        exec(compile(example.replace("127.0.0.1:50051", address), "README.md", "exec"), {})
    shown = capsys.readouterr().out
    assert shown.count("in 9 of 10 cases") == 21
    assert "strongest coming surge: SeriesSummary(" in shown
