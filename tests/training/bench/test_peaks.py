"""`surgecast bench peaks` through the command line, on data of M5's form."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from panels import make_panel, point_forecasts
from test_bench import DAYS, write_m5

from forecast.cli.main import run
from forecast.demand.sources.m5 import read_m5_panel
from forecast.evaluation.metrics import Statistics, scales, scored, statistics
from forecast.evaluation.peaks import after_peak_ratio, peak_slices
from forecast.quantiles import LEVELS

CUTOFFS = (DAYS - 35, DAYS - 28)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """M5's form with two occurrences of an event and a peak on its day."""
    write_m5(tmp_path)
    calendar = pl.read_parquet(tmp_path / "calendar.parquet").with_row_index("day")
    named = pl.when(pl.col("day").is_in([60, DAYS - 20])).then(pl.lit("SuperBowl")).otherwise(None)
    calendar.with_columns(pl.col("date").str.to_date(), event_name_1=named).drop("day").write_parquet(
        tmp_path / "calendar.parquet"
    )
    sales = pl.read_parquet(tmp_path / "sales.parquet")
    raised = [
        [40 if day in (60, DAYS - 20) else units for day, units in enumerate(row)]
        for row in sales["sales"].to_list()
    ]
    peaked = pl.Series("sales", raised, dtype=pl.List(pl.UInt16))
    sales.with_columns(peaked).write_parquet(tmp_path / "sales.parquet")
    return tmp_path


def write_oracle(folder: Path) -> str:
    """Forecasts of both cutoffs that know the truth; the flag's value."""
    for cutoff in CUTOFFS:
        truth = scored(read_m5_panel(folder, DAYS), cutoff, 28)
        np.savez(
            folder / f"oracle-{cutoff}.npz",
            mean_SH=truth,
            quantiles_SHQ=np.repeat(truth[:, :, None], len(LEVELS), 2),
        )
    return f"oracle={folder}/oracle-{{cutoff}}.npz"


def bench(folder: Path, *flags: str) -> int:
    cutoffs = [flag for cutoff in CUTOFFS for flag in ("--cutoff", str(cutoff))]
    line = ["bench", "peaks", "--data", str(folder), *cutoffs, "--steps", "3", "--device", "cpu"]
    return run([*line, *flags])


def test_peaks_and_event_windows_are_scored_against_all(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert bench(folder, "--forecasts", write_oracle(folder), "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["bench"], set(found)) == ("peaks", {"bench", "machine", "results"})
    results = found["results"]
    for where in ("peak", "super-bowl_day", "week_before_super-bowl", "two_weeks_after_super-bowl"):
        for name in ("surgecast", "seasonal_naive", "moving_average", "croston", "oracle"):
            assert results[f"n/{where}/{name}"] > 0
            assert np.isfinite(results[f"wql/{where}/{name}"])
            assert np.isfinite(results[f"bias/{where}/{name}"])
        assert results[f"wql/{where}/oracle"] == 0
    assert results["verdict/super-bowl_day/oracle"] == -1
    assert results["n/super-bowl_day/surgecast"] == 12  # six series at two cutoffs
    assert results["bias/peak/croston"] < -0.5
    assert results["peak_units_bias/oracle"] == pytest.approx(0, abs=1e-5)
    assert results["after_peak_ratio/croston"] > 0
    assert 0 <= results["coverage_80_level/total/surgecast"] <= 1
    assert "coverage_80_level/total/oracle" not in results  # a file holds no joint scenarios
    assert results["coverage_80_level/series/oracle"] == pytest.approx(0.8, abs=0.01)  # ties count in part


def test_the_table_is_for_people(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert bench(folder) == 0
    printed = capsys.readouterr().out
    for word in ("super-bowl day", "after seen peak", "verdict", "location", "peaks called"):
        assert word in printed


@pytest.mark.parametrize(
    ("flags", "status", "message"),
    [
        (["--cutoff", str(DAYS)], 2, f"cutoff: expected 28..{DAYS - 28}"),
        (["--forecasts", "oracle"], 2, "expected NAME=FILE.npz, found 'oracle'"),
        (["--forecasts", "croston={cutoff}.npz"], 2, "expected each name once, found 'croston' again"),
        (["--forecasts", "a=b.npz"], 2, "expected {cutoff} in the name for several cutoffs"),
        (["--forecasts", "a=none-{cutoff}.npz"], 1, "expected a file none-95.npz, found none"),
        (["--bundle", "nowhere"], 1, "nowhere"),
    ],
)
def test_bad_flags_are_named(
    folder: Path, flags: list[str], status: int, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert bench(folder, *flags) == status
    assert message in capsys.readouterr().err


def test_forecasts_that_do_not_fit_are_refused(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for cutoff in CUTOFFS:
        mean = np.ones((5, 28), np.float32)
        np.savez(folder / f"short-{cutoff}.npz", mean_SH=mean, quantiles_SHQ=np.ones((5, 28, len(LEVELS))))
        (folder / f"text-{cutoff}.npz").write_text("no archive")
    assert bench(folder, "--forecasts", f"short={folder}/short-{{cutoff}}.npz") == 1
    assert "mean_SH: expected (6, 28), finite, found (5, 28)" in capsys.readouterr().err
    assert bench(folder, "--forecasts", f"text={folder}/text-{{cutoff}}.npz") == 1
    assert "expected an .npz with mean_SH and quantiles_SHQ" in capsys.readouterr().err


def two_rows(error_after: float, error_quiet: float) -> tuple[Statistics, dict[str, np.ndarray]]:
    """Statistics of a series that peaks on the second day ahead, off by so much after it and before."""
    panel = make_panel(np.full((2, 60), 10.0))
    truth = np.full((2, 28), 10.0, np.float32)
    truth[0, 1] = 100.0
    mean = np.full((2, 28), 10.0 + error_quiet)
    mean[0, 2:16] = 10.0 + error_after
    masks = peak_slices(truth, panel)
    return statistics(truth, point_forecasts(panel, mean), scales(panel)), dict(masks)


def test_days_after_a_peak_are_held_against_quiet_days_of_the_same_series() -> None:
    found, masks = two_rows(error_after=1.5, error_quiet=1.0)
    assert masks["after peak"].sum() == 14
    assert masks["quiet"].sum() == 13 + 28
    assert not masks["after seen peak"].any()
    ratio = after_peak_ratio(found, masks)
    assert ratio.after_peak_ratio == pytest.approx(1.5)
    assert ratio.after_peak_ratio_plain == pytest.approx(1.5)
    assert np.isnan(ratio.after_seen_peak_ratio)


def test_a_peak_before_the_origin_is_one_that_was_seen() -> None:
    history = np.full((2, 60), 10.0)
    history[1, 58] = 90.0
    masks = peak_slices(np.full((2, 28), 10.0, np.float32), make_panel(history))
    assert np.flatnonzero(masks["after seen peak"][1]).tolist() == list(range(13))
    assert not masks["after seen peak"][0].any()
