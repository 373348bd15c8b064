"""What a trained model's explanations say, and `surgecast explain` through the real command."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from forecast.cli.main import run
from forecast.demand.panel import Panel
from forecast.demand.simulate import SimulationConfig, simulate, write_table
from forecast.home import Home
from forecast.model.config import ModelConfig
from forecast.model.explanation import Explanation, explain
from forecast.model.forecaster import Forecaster
from tests.support.panels import make_panel
from training.config import TrainingConfig
from training.fit import fit
from training.registry import find

# MLflow's own use of SQLAlchemy; nothing that we could change.
pytestmark = pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SADeprecationWarning")

HORIZON = 14
REACH = 3
SALE, N_PERIODS = 6, 420
"""Step ahead of the sale, counted from 0, and periods before the horizon."""


@pytest.fixture(scope="module")
def panel() -> Panel:
    """Demand that doubles on Saturdays and is six times as much on the day of a sale, each 41 days until the
    last one; nothing else ever changes."""
    generator = np.random.default_rng(0)
    days = np.arange(N_PERIODS)
    sales = [*range(13, N_PERIODS - 30, 41), N_PERIODS + SALE]
    rate = generator.uniform(5, 30, (24, 1)) * np.where(days % 7 == 5, 2.0, 1.0)
    rate[:, sales[:-1]] *= 6
    return make_panel(generator.poisson(rate), events={"sale/day": sales})


@pytest.fixture(scope="module")
def found(panel: Panel) -> Explanation:
    config = ModelConfig(
        period="day", horizon=HORIZON, origins=12, channels=16, hidden=24, event_reach=REACH, scenarios=20
    )
    training = TrainingConfig(steps=500, epoch_steps=75, batch=32, warmup_steps=10, device="cpu")
    forecaster = Forecaster(fit(panel, model=config, training=training), "cpu")
    return explain(forecaster, panel, range(panel.n_series), HORIZON)


def test_the_event_part_is_high_on_its_day_and_near_nothing_elsewhere(found: Explanation) -> None:
    base_SH, event_SH = found.parts_SHP[:, :, 0], found.parts_SHP[:, :, found.names.index("event")]
    share_H = event_SH.sum(axis=0) / base_SH.sum(axis=0)
    assert share_H[SALE] > 2.0
    distance_H = np.abs(np.arange(HORIZON) - SALE)
    assert np.abs(share_H[distance_H > REACH]).max() < 1e-5
    assert np.abs(share_H[(distance_H > 0) & (distance_H <= REACH)]).max() < 0.25 * share_H[SALE]


def test_the_weekday_part_is_high_on_the_busy_day(found: Explanation) -> None:
    base_SH, weekday_SH = found.parts_SHP[:, :, 0], found.parts_SHP[:, :, 1]
    share_H = weekday_SH.sum(axis=0) / base_SH.sum(axis=0)
    is_saturday = np.array([time.item().weekday() == 5 for time in found.times])
    assert share_H[is_saturday].min() > 0.3
    assert share_H[~is_saturday].max() < 0.0


SERIES = ["--item", "item-000001", "--location", "shop-0002", "--platform", "platform-0"]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """A home with a champion that has seen 100 days of 8 series."""
    root = tmp_path_factory.mktemp("explain")
    config = SimulationConfig(
        n_series=8, n_periods=100, horizon=30, n_locations=4, n_platforms=1, stock_outs=0.02
    )
    write_table(simulate(config).panel, root / "demand.parquet")
    place = ["--home", str(root / "home")]
    names = ["--known", "price,discount", "--static", "category"]
    assert run(["data", "import", "table", str(root / "demand.parquet"), *place, *names]) == 0
    few = ["--horizon", "7", "--steps", "4", "--device", "cpu", "--backtest-origins", "0"]
    assert run(["train", *place, *few]) == 0
    return Home(root / "home")


def test_the_command_prints_parts_that_sum_to_the_forecast(
    home: Home, capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    assert run(["explain", "--home", str(home.root), *SERIES, "--horizon", "3", "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert (printed["item"], printed["location"]) == ("item-000001", "shop-0002")
    assert printed["bundle"] == find(home).bundle_id
    names = ["base level", "weekday", "season", "discount", "price", "event", "stock-out"]
    assert printed["parts"] == names
    assert [step["time"][:10] for step in printed["steps"]] == ["2023-04-11", "2023-04-12", "2023-04-13"]
    for step in printed["steps"]:
        assert list(step["parts"]) == names
        assert sum(step["parts"].values()) == pytest.approx(step["mean"], rel=1e-9)


def test_the_command_prints_a_table_and_draws_a_picture(
    home: Home, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    picture = tmp_path / "parts.png"
    assert run(["explain", "--home", str(home.root), *SERIES, "--png", str(picture)]) == 0
    printed = capsys.readouterr()
    assert "item-000001 at shop-0002, platform-0: mean units per day" in printed.out
    lines = [line.split() for line in printed.out.splitlines()]
    assert ["Tue", "2023-04-11"] in [line[:2] for line in lines]
    assert len([line for line in lines if line and line[0] in ("Mon", "Tue", "total")]) == 3
    assert printed.err == f"wrote {picture}\n"
    assert picture.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("changed", "status", "message"),
    [
        ({"--item": "item-00001"}, 1, "item: expected one of item-000001, item-000000, found item-00001"),
        ({"--location": "shop-9"}, 1, "of item item-000001, found shop-9"),
        (
            {"--platform": "tv"},
            1,
            "platform: expected one of platform-0 of item-000001 at shop-0002, found tv",
        ),
        ({"--horizon": "8"}, 2, "horizon: expected 1..7 periods (the model's), found 8"),
        ({"--horizon": "0"}, 2, "--horizon"),
        ({"--bundle": "nonsense"}, 1, "found nonsense"),
        ({"--cutoff": "2031-01-01"}, 1, "cutoff: expected 2023-01-01"),
        ({"--cutoff": "2023-05-08"}, 1, "known features: expected discount, price for the 7 periods"),
        ({"--png": "parts.jpg"}, 2, "--png: expected a file name ending in .png, found parts.jpg"),
        ({"--png": "/nowhere/parts.png"}, 2, "out: expected an existing folder"),
    ],
)
def test_what_cannot_be_explained_is_one_line(
    home: Home, changed: dict[str, str], status: int, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    options = dict(zip(SERIES[::2], SERIES[1::2], strict=True)) | changed
    line = [word for option in options.items() for word in option]
    assert run(["explain", "--home", str(home.root), *line]) == status
    printed = capsys.readouterr()
    assert printed.out == ""
    (error,) = printed.err.splitlines()
    assert error.startswith("error: ")
    assert message in error


def test_without_a_model_there_is_nothing_to_explain(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["explain", "--home", str(tmp_path), *SERIES]) == 1
    assert "surgecast train" in capsys.readouterr().err
