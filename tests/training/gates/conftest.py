"""A home whose last four weeks come in poisoned or not."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from gate_home import CONFIG, DAYS, HORIZON, SETTINGS, TAIL, TODAY, Gate, Poison, cut, imported

from forecast.data_gate_settings import DataGateSettings
from forecast.demand.panel import Panel
from forecast.demand.simulate import simulate
from forecast.home import Home
from training.gates.data import check_data
from training.gates.findings import GateReport


@pytest.fixture(scope="module")
def panel() -> Panel:
    """400 days to 2023-11-04, the sales of 20 items at 5 shops on 2 platforms."""
    return simulate(CONFIG).panel


@pytest.fixture(scope="module")
def base(panel: Panel, tmp_path_factory: pytest.TempPathFactory) -> Home:
    """A home that had all but the last four weeks."""
    home = Home(tmp_path_factory.mktemp("gate") / "home")
    imported(home, cut(panel, 0, DAYS - TAIL, DAYS - TAIL), "base")
    home.settings_file.write_text('[events]\ncalendars = ["china"]\n')
    return home


@pytest.fixture
def gate(base: Home, panel: Panel, tmp_path: Path) -> Gate:
    """Brings the last four weeks, poisoned or not, into a copy of that home, and judges."""
    home = Home(tmp_path / "home")

    def judge(poison: Poison = lambda tail: tail, settings: DataGateSettings = SETTINGS) -> GateReport:
        shutil.copytree(base.root, home.root)
        imported(home, poison(cut(panel, DAYS - TAIL, DAYS, DAYS + HORIZON)), "tail")
        return check_data(home, settings, cutoff=None, today=TODAY)

    return judge
