"""`surgecast bench train`, `score` and `panel` on tiny data: the numbers that a user gets, not how large."""

from __future__ import annotations

import json
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from panels import make_panel

from forecast.bench.samples import Samples
from forecast.cli.main import run
from forecast.demand.panel import Panel
from forecast.quantiles import LEVELS
from training.bench.race import Course, Point, Race, best, decile_wql, race, verdict
from training.bench.speed_data import open_panel, save_panel, simulated
from training.bench.timing import LapClock, peak_gb
from training.config import TrainingConfig

SMALL = ["--series", "20", "--device", "cpu", "--repeats", "1", "--json"]
QUICK = [*SMALL, "--seconds", "0"]


def bench(capsys: pytest.CaptureFixture[str], name: str, *flags: str) -> dict[str, float]:
    """The results that the command prints; every other number is finite."""
    assert run(["bench", name, *flags]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert (printed["bench"], set(printed)) == (name, {"bench", "machine", "results"})
    assert printed["machine"]["cores"] >= 1
    results: dict[str, float] = printed["results"]
    assert all(value is not None for value in results.values())
    return results


def test_train_counts_whole_origins_and_the_feed(capsys: pytest.CaptureFixture[str]) -> None:
    found = bench(capsys, "train", *QUICK)
    assert found["series"] == 20
    assert found["parameters"] > 10_000
    assert found["train_pairs_per_s"] == pytest.approx(28 * found["train_origins_per_s"])
    # A window has so many origins, and a step trains a quarter of the horizon of each.
    expected = found["train_windows_per_s"] * found["origins_per_window"] / 4
    assert found["train_origins_per_s"] == pytest.approx(expected)
    assert found["batch"] / found["train_windows_per_s"] == pytest.approx(found["step_ms"] / 1e3)
    parts = [found[f"{part}_share_of_step"] for part in ("feed", "draw", "gather")]
    assert all(part > 0 for part in parts)
    assert 0 < found["counted_share"] <= 1
    assert found["step_ms_spread"] >= 0


def test_score_counts_series_into_a_snapshot_at_every_scale(capsys: pytest.CaptureFixture[str]) -> None:
    found = bench(capsys, "score", *SMALL, "--scale", "30")
    assert found["series"] == 20
    for end, n in (("", 20), ("_30", 30)):
        assert found[f"score_series_per_s{end}"] == pytest.approx(n / found[f"score_s{end}"])
        assert found[f"score_network_series_per_s{end}"] > 0
        assert found[f"tensors_s{end}"] > 0
        assert found[f"score_peak_gb{end}"] > 0.05  # torch alone takes more
    assert found["score_peak_gb"] >= found["score_before_gb"]
    assert 0.01 < found["snapshot_mb"] < 10


def test_panel_counts_bytes_on_the_device(capsys: pytest.CaptureFixture[str]) -> None:
    found = bench(capsys, "panel", *SMALL)
    assert found["panel_series"] == 20
    assert found["panel_load_s"] > 0
    assert found["panel_peak_gb"] >= found["panel_before_gb"] > 0
    per_day = found["device_gb"] * 1e9 / (20 * found["panel_periods"])
    assert found["device_bytes_per_series_day"] == pytest.approx(per_day)


@pytest.mark.parametrize(
    ("name", "counted", "more"),
    [("train", "series", ["--seconds", "0"]), ("score", "series", []), ("panel", "panel_series", [])],
)
def test_one_series_can_be_measured(
    capsys: pytest.CaptureFixture[str], name: str, counted: str, more: list[str]
) -> None:
    flags = ["--series", "1", "--device", "cpu", "--repeats", "1", "--json"]
    assert bench(capsys, name, *flags, *more)[counted] == 1


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["train", "--series", "0"], "--series"),
        (["score", "--series", "0"], "--series"),
        (["train", "--peers", "tide"], "--peers: expected --vs neuralforecast beside it"),
        (["train", "--store", "CA_1"], "--store: expected --data DIR beside it"),
        (["train", "--vs", "neuralforecast", "--peers", "tide,abc"], "expected some of tide, nhits, tft"),
        (["train", "--vs", "someone"], "--vs"),
        (["train", "--repeats", "0"], "--repeats"),
        (["score", "--scale", "many"], "--scale: expected numbers of series such as 10000,100000"),
        (["score", "--scale", "0"], "--scale: expected numbers of series"),
        (["score", "--device", "abacus"], "--device"),
        (["panel", "--series", "0"], "--series"),
    ],
)
def test_wrong_flags_are_one_line(flags: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["bench", *flags]) == 2
    shown = capsys.readouterr()
    assert message in shown.err
    assert (shown.err.count("\n"), shown.out) == (1, "")


def test_a_folder_without_m5_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("train", "score", "panel"):
        assert run(["bench", name, "--data", str(tmp_path), "--device", "cpu"]) == 1
        assert "sales.parquet" in capsys.readouterr().err


def test_peers_that_are_not_installed_are_asked_for(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("training.bench.neural_training.find_spec", lambda _name: None)
    assert run(["bench", "train", *QUICK, "--vs", "neuralforecast"]) == 1
    assert "extra peers: expected neuralforecast, found none (pip install" in capsys.readouterr().err


@pytest.mark.filterwarnings("default")  # the library's own warnings are none of ours
def test_a_peer_of_our_size_runs_beside_ours(capsys: pytest.CaptureFixture[str]) -> None:
    if find_spec("neuralforecast") is None:
        pytest.skip("neuralforecast is not installed (extra peers)")
    flags = ["--vs", "neuralforecast", "--minutes", "0.001", "--every", "1", "--windows", "16"]
    found = bench(capsys, "train", *QUICK, *flags)
    ratio = found["train_origins_per_s"] / found["tide_windows_per_s"]
    assert found["train_vs_tide_ratio"] == pytest.approx(ratio)
    assert abs(found["tide_parameters"] / found["parameters"] - 1) < 0.15
    assert found["tide_windows_per_s"] == max(found[f"tide_windows_per_s_{n}"] for n in (256, 1024))
    for name in ("tide", "ours"):
        assert 0 < found[f"{name}_best_wql"] < 10
        assert found[f"{name}_best_s"] > 0


def test_ours_is_held_against_the_peer_that_is_first_at_the_best_wql(
    capsys: pytest.CaptureFixture[str],
) -> None:
    ours = [Point(1.0, 0.9), Point(2.0, 0.6), Point(3.0, 0.5), Point(4.0, 0.55)]
    peers = {
        "tide": [Point(10.0, 0.7), Point(20.0, 0.69995)],  # fast, and never at the best WQL
        "tft": [Point(20.0, 0.8), Point(40.0, 0.5), Point(60.0, 0.6)],
    }
    found = verdict(ours, peers)
    assert found["time_to_best_peer_wql_ratio"] == 3.0 / 40.0
    assert (found["ours_to_best_peer_s"], found["peers_to_best_peer_s"]) == (3.0, 40.0)
    assert found["time_to_tide_wql_ratio"] == 2.0 / 10.0
    assert found["time_to_tft_wql_ratio"] == 3.0 / 40.0
    sooner = [Point(15.0, 0.6), Point(30.0, 0.5), Point(50.0, 0.4999)]
    assert verdict(ours, {**peers, "nhits": sooner})["time_to_best_peer_wql_ratio"] == 3.0 / 30.0
    capsys.readouterr()
    out_of_reach = verdict(ours, {**peers, "nhits": [Point(20.0, 0.4)]})
    assert not {"time_to_best_peer_wql_ratio", "peers_to_best_peer_s", "ours_to_nhits_s"} & set(out_of_reach)
    assert "ours did not reach the best peer's WQL of 0.4000" in capsys.readouterr().err
    assert best([Point(1.0, 0.9), Point(2.0, 0.5), Point(3.0, 0.4999)]) == Point(2.0, 0.5)


def test_nobody_in_a_race_sees_the_days_that_are_held_back(monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[Panel] = []

    class Peer:
        """Forecasts nothing, and stops when told to."""

        def __init__(self, panel: Panel, _settings: object) -> None:
            given.append(panel)

        def run(self, on_step: Callable[[], bool]) -> None:
            while not on_step():
                pass

        def quantiles(self) -> np.ndarray:
            return np.zeros((2, 28, len(LEVELS)), np.float32)

    class Ours(Peer):
        device, parameters, schema = torch.device("cpu"), 1, SimpleNamespace(integer=True)

        def run(self, on_step: Callable[[object], bool]) -> None:
            super().run(lambda: on_step(None))

    monkeypatch.setattr("training.bench.race.TrainingLoop", Ours)
    monkeypatch.setattr("training.bench.race.NeuralTraining", Peer)
    monkeypatch.setattr("training.bench.race.peer_like", lambda *_given, **_named: None)
    panel = make_panel(np.full((2, 300), 7.0))
    found = race(panel, ["tide", "tft"], Race(minutes=60, training=TrainingConfig(), every=1, patience=1))
    assert [one.n_periods for one in given] == [272] * 3
    assert found["ours_best_wql"] == found["tide_best_wql"] == pytest.approx(1.0)  # zeros, of 7 wanted


def test_a_race_ends_when_forecasts_stop_gaining() -> None:
    wqls = iter([0.9, 0.8, 0.8, 0.81, 0.1])
    limits = Race(minutes=60, training=TrainingConfig(), every=2, patience=2)
    course = Course(torch.device("cpu"), limits, lambda: next(wqls))
    ended = [course.step() for _ in range(9)]  # the first step warms up
    assert ended == [False] * 8 + [True]
    assert [point.wql for point in course.points] == [0.9, 0.8, 0.8, 0.81]
    assert sorted(point.seconds for point in course.points) == [point.seconds for point in course.points]


def test_the_held_out_days_are_scored_as_the_formula_says() -> None:
    truth = np.array([[2.0, np.nan], [0.0, 4.0]], np.float32)
    forecast = np.full((2, 2, len(LEVELS)), 1.2, np.float32)
    # Whole units: 1. Pinball at level a: a x 1, (1 - a) x 1, a x 3; over the deciles 0.5 + 0.5 + 1.5.
    assert decile_wql(truth, forecast, whole_units=True) == pytest.approx(2 * 2.5 / 6)


def test_medians_and_spreads_are_of_the_repeats() -> None:
    samples = Samples()
    for value in (1.0, 2.0, 3.0, 4.0, 100.0):
        samples.add({"step_ms": value})
    assert samples.results() == {"step_ms": 3.0, "step_ms_spread": pytest.approx(2 / 3)}
    assert peak_gb() > 0.05


def test_laps_leave_out_the_steps_that_warm_up() -> None:
    clock = LapClock(torch.device("cpu"), repeats=2, seconds=0.0, warm_up=3)
    ended = [clock.step(10) for _ in range(5)]
    assert ended == [False] * 4 + [True]
    assert [(lap.steps, lap.pairs) for lap in clock.laps] == [(1, 10), (1, 10)]


def test_a_panel_in_a_file_is_the_panel(tmp_path: Path) -> None:
    plain = make_panel([[1, 2, np.nan]], price_SP=np.ones((1, 5)), events={"fair/day": [1]})
    for panel in (plain, simulated(8, seed=1)):
        save_panel(panel, tmp_path / "panel.npz")
        found = open_panel(tmp_path / "panel.npz")
        assert (found.period, found.start, found.events.names) == (
            panel.period,
            panel.start,
            panel.events.names,
        )
        np.testing.assert_array_equal(found.demand_ST, panel.demand_ST)
        np.testing.assert_array_equal(found.keys.item, panel.keys.item)
        assert set(found.known) == set(panel.known)
        assert set(found.statics) == set(panel.statics)
        assert (found.stocked_out_ST is None) == (panel.stocked_out_ST is None)
        np.testing.assert_array_equal(found.events.intensity_GLE, panel.events.intensity_GLE)
