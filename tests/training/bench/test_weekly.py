"""Weekly retraining on data of M5's form."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest

from forecast.demand.sources.m5 import read_m5_panel
from forecast.errors import UsageError
from forecast.evaluation.metrics import aggregate, scales, scored, statistics
from forecast.model.forecaster import Forecaster
from tests.training.bench.test_bench import DAYS, write_m5
from training.bench.weekly import Part, Weeks
from training.bench.weekly_cli import weekly
from training.config import TrainingConfig
from training.fit import fit
from training.jobs import model_config
from training.warm import shortened


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("m5")
    write_m5(folder)
    return folder


def results(capsys: pytest.CaptureFixture[str]) -> dict[str, float]:
    found = json.loads(capsys.readouterr().out)
    assert (found["bench"], set(found)) == ("weekly", {"bench", "machine", "results"})
    return found["results"]


def test_each_week_goes_on_from_the_week_before_and_is_scored_after_its_cutoff(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    weekly(folder, weeks=2, until=123, minutes=None, steps=8, device="cpu", as_json=True)
    found = results(capsys)
    training = TrainingConfig(steps=8, device="cpu")
    panel = read_m5_panel(folder, DAYS)
    bundle = None
    for day in (109, 116, 123):
        past = panel.until(day)
        settings = training if bundle is None else shortened(training)
        model = model_config(past, 28, training)
        bundle = fit(past, model=model, training=settings, start=bundle)
    forecasts = Forecaster(bundle, "cpu")(panel.until(123), 28)
    expected = aggregate(statistics(scored(panel, 123, 28), forecasts, scales(panel.until(123))))
    assert found["warm_wql_123"] == pytest.approx(expected.wql, rel=1e-6)
    assert found["warm_wql_123"] == found["warm_wql_week_123"]  # seven days are known
    assert found["warm_wql"] == pytest.approx((found["warm_wql_116"] + found["warm_wql_123"]) / 2)
    assert found["warm_share_of_steps"] == 0.25
    assert found["warm_restarts"] == 0
    for name in ("frozen_wql", "scratch_wql", "warm_wql_over_frozen", "warm_share_of_time"):
        assert found[name] > 0


def test_fits_from_scratch_can_be_left_out(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    weekly(folder, weeks=1, store="TX_1", scratch=False, minutes=None, steps=4, device="cpu")
    text = capsys.readouterr().out
    assert "2 series" in text
    assert ("warm_wql" in text, "scratch_wql" in text) == (True, False)


def test_the_last_weeks_are_those_with_known_days(folder: Path) -> None:
    assert Weeks(count=3).cutoffs(DAYS) == (DAYS - 42, DAYS - 35, DAYS - 28)
    assert Weeks(count=2, until=DAYS - 7).cutoffs(DAYS) == (DAYS - 14, DAYS - 7)
    for weeks in (Weeks(until=DAYS - 6), Weeks(count=20)):
        with pytest.raises(UsageError, match="--until: expected"):
            weeks.cutoffs(DAYS)


def test_a_store_that_is_not_there_is_told_with_those_that_are(folder: Path) -> None:
    panel = read_m5_panel(folder, DAYS)
    assert Part(every=2).of(panel).n_series == pl.read_parquet(folder / "sales.parquet").height // 2
    with pytest.raises(UsageError, match="expected one of CA_1, TX_1, WI_1, found CA_9"):
        Part(store="CA_9").of(panel)
