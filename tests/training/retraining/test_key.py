"""What makes a job the same job."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from forecast.home import Home
from forecast.settings import load_settings
from training.retraining.key import Basis, code_version, config_version

BASIS = Basis(data_version="3", cutoff="2024-06-18T00:00:00", config="c", code="d")


def test_a_key_is_a_day_and_a_hash_of_everything() -> None:
    key = BASIS.key("bundle")
    assert key.startswith("2024-06-18-")
    assert key == BASIS.key("bundle")
    others = [
        BASIS.key("another"),
        BASIS.key(""),
        replace(BASIS, data_version="4").key("bundle"),
        replace(BASIS, config="e").key("bundle"),
        replace(BASIS, code="e").key("bundle"),
        replace(BASIS, cutoff="2024-06-19T00:00:00").key("bundle"),
    ]
    assert len({key, *others}) == 7
    assert replace(BASIS, cutoff="2024-06-18T15:00:00").key("").startswith("2024-06-18-15-")


@pytest.mark.parametrize(
    ("settings", "same"),
    [
        ("[training]\nseed = 1\n", False),
        ("[retrain]\nstride = 3\n", False),
        ('[events]\ncalendars = ["china"]\n', False),
        ("[retrain]\nkeep_jobs = 3\n", True),
        ("[serve]\nport = 1234\n", True),
    ],
)
def test_settings_count_that_change_what_is_made(tmp_path: Path, settings: str, same: bool) -> None:
    home = Home(tmp_path)
    before = config_version(home, load_settings(home))
    home.settings_file.write_text(settings)
    assert (config_version(home, load_settings(home)) == before) is same


def test_the_homes_own_calendars_count(tmp_path: Path) -> None:
    home = Home(tmp_path)
    settings = load_settings(home)
    before = config_version(home, settings)
    home.events_dir.mkdir()
    (home.events_dir / "own.toml").write_text("[[event]]\n")
    assert config_version(home, settings) != before


def test_the_code_has_one_version() -> None:
    assert code_version() == code_version()
