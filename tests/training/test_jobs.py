"""Train, backtest and publish through the real command, with a real MLflow on SQLite."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from mlflow import MlflowClient
from mlflow.entities import Run as MlflowRun

from forecast.cli.main import run
from forecast.demand.simulate import SimulationConfig, simulate, write_table
from forecast.errors import NotFoundError
from forecast.home import Home
from forecast.model.bundle import Bundle
from forecast.snapshot.pointer import Pointer
from forecast.snapshot.reader import Snapshot
from training.registry import bundle_folder, find, version_of
from training.tracking import connect

# MLflow's own use of SQLAlchemy; nothing that we could change.
pytestmark = pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SADeprecationWarning")

SERIES = 12
CUTOFF = "2023-04-20"
FEW = ["--cutoff", CUTOFF, "--horizon", "7", "--steps", "6", "--device", "cpu"]


def imported(root: Path) -> Home:
    """A home with simulated demand of 12 series and 120 days, known features 30 days ahead."""
    table = root / "demand.parquet"
    write_table(simulate(SimulationConfig(n_series=SERIES, n_periods=120, horizon=30)).panel, table)
    home = root / "home"
    names = ["--known", "price,discount", "--static", "category"]
    assert run(["data", "import", "table", str(table), "--home", str(home), *names]) == 0
    return Home(home)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """A home with one training job behind it."""
    home = imported(tmp_path_factory.mktemp("jobs"))
    assert run(["train", "--home", str(home.root), *FEW, "--backtest-origins", "2"]) == 0
    return home


def finished(home: Home) -> MlflowRun:
    """The run of the training job."""
    return connect(home).get_run(find(home).run_id)


def paths(client: MlflowClient, run_id: str, folder: str) -> set[str]:
    return {item.path for item in client.list_artifacts(run_id, folder)}


def test_a_run_says_what_was_trained_on_what(home: Home) -> None:
    found = finished(home)
    assert found.info.status == "FINISHED"
    assert found.info.run_name == f"train {CUTOFF} {SERIES} series"
    assert found.data.params["training.steps"] == "6"
    assert found.data.params["model.horizon"] == "7"
    assert found.data.tags["cutoff"].startswith(CUTOFF)
    assert found.data.tags["data_version"] == "1"
    assert found.inputs.dataset_inputs[0].dataset.digest == "1"


def test_metrics_are_there_for_each_epoch_and_the_backtest(home: Home) -> None:
    client, found = connect(home), finished(home)
    history = client.get_metric_history(found.info.run_id, "train/loss")
    assert history[-1].step == 6
    assert found.data.metrics["backtest/wql/surgecast"] > 0
    assert found.data.metrics["backtest/wql/seasonal_naive"] > 0


def test_pictures_and_tables_are_there(home: Home) -> None:
    client, run_id = connect(home), find(home).run_id
    names = ("loss", "forecasts", "calibration", "calibration-by-level", "backtest", "error-by-step")
    assert paths(client, run_id, "pictures") > {f"pictures/{name}.png" for name in names}
    table = json.loads(Path(client.download_artifacts(run_id, "backtest/by-slice.json")).read_text())
    assert table["columns"][:2] == ["slice", "forecaster"]
    assert {row[1] for row in table["data"]} == {"surgecast", "seasonal naive", "moving average", "croston"}


def test_the_backtests_model_saw_nothing_of_what_it_forecasts(home: Home) -> None:
    client, parent = connect(home), finished(home)
    wanted = f"tags.mlflow.parentRunId = '{parent.info.run_id}'"
    children = client.search_runs([parent.info.experiment_id], wanted)
    (child,) = [one for one in children if one.data.tags["purpose"] == "train"]
    assert child.data.tags["cutoff"].startswith("2023-04-06")  # two horizons of seven days before the cutoff


def test_the_bundle_is_registered_as_champion(home: Home) -> None:
    champion = find(home)
    bundle = Bundle.load(bundle_folder(home, champion.bundle_id))
    assert bundle.bundle_id == champion.bundle_id
    assert version_of(home, champion.bundle_id) == champion.version
    assert "bundle/bundle.json" in paths(connect(home), champion.run_id, "bundle")


def test_publish_moves_the_pointer_to_the_champions_forecasts(
    home: Home, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["publish", "--home", str(home.root), "--cutoff", CUTOFF, "--device", "cpu"]) == 0
    published = capsys.readouterr().out.strip()
    assert Pointer.read(home).snapshot == published
    manifest = Snapshot.open(home.snapshots_dir / published).manifest
    assert manifest.bundle_id == find(home).bundle_id
    assert manifest.model_version == find(home).version
    assert manifest.n_series == SERIES


def test_no_promote_registers_and_leaves_the_champion(home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    before = find(home)
    line = ["train", "--home", str(home.root), *FEW, "--seed", "1", "--backtest-origins", "0", "--no-promote"]
    assert run([*line, "--json"]) == 0
    made = json.loads(capsys.readouterr().out)
    assert made["backtest"] is None
    assert find(home) == before
    assert version_of(home, made["bundle"]) == made["version"] != before.version


def test_the_backtest_command_prints_each_forecaster(home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    line = ["backtest", "--home", str(home.root), *FEW, "--origins", "2", "--stride", "3", "--json"]
    assert run(line) == 0
    found = json.loads(capsys.readouterr().out)
    assert [day[:10] for day in found["origins"]] == ["2023-04-10", "2023-04-13"]
    assert {row["forecaster"] for row in found["table"] if row["slice"] == "all"} > {"surgecast", "croston"}
    assert {one["against"] for one in found["comparisons"]} == {"seasonal naive", "moving average", "croston"}
    assert {one["verdict"] for one in found["comparisons"]} <= {"better", "worse", "even"}
    levels = [row["level"] for row in found["calibration"] if row["forecaster"] == "surgecast"]
    assert (levels[0], levels[-1]) == ("total", "series")


def test_ctrl_c_ends_with_130_and_leaves_nothing_half_written(home: Home) -> None:
    bundles = set(home.bundles_dir.iterdir())
    line = [sys.executable, "-m", "forecast.cli.main", "train", "--home", str(home.root), *FEW[:-4]]
    line += ["--steps", "40", "--backtest-origins", "0", "--device", "cpu"]
    process = subprocess.Popen(
        line, stderr=subprocess.PIPE, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"}
    )
    running = "select count(*) from metrics join runs using (run_uuid) where status = 'RUNNING'"
    with sqlite3.connect(home.mlflow_db) as database:
        while process.poll() is None and database.execute(running).fetchone()[0] == 0:
            time.sleep(0.1)  # until the first stage is over, at 16 steps
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (130, "error: interrupted\n")
    assert set(home.bundles_dir.iterdir()) == bundles
    client = connect(home)
    (latest,) = client.search_runs(["1"], order_by=["attributes.start_time DESC"], max_results=1)
    assert latest.info.status == "KILLED"


def training_processes(folder: Path) -> set[int]:
    """Ids of the processes of a fit on several devices that work in this temporary folder."""
    found = set()
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):  # one that has just ended
            words = path.read_bytes().decode(errors="replace").split("\0")
            if "training.worker" in words and any(word.startswith(str(folder)) for word in words):
                found.add(int(path.parent.name))
    return found


def wait_until(true: Callable[[], bool]) -> None:
    """Look again and again; the test's time-out ends it."""
    while not true():
        time.sleep(0.05)


@contextlib.contextmanager
def training_on_two(home: Home, folder: Path) -> Iterator[subprocess.Popen[str]]:
    """`surgecast train --devices 2` with both of its processes at work, their files in `folder`."""
    line = [sys.executable, "-m", "forecast.cli.main", "train", "--home", str(home.root), *FEW[:-4]]
    line += ["--steps", "100000", "--backtest-origins", "0", "--device", "cpu", "--devices", "2"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "TMPDIR": str(folder)}
    with subprocess.Popen(line, stderr=subprocess.PIPE, text=True, env=environment) as process:
        try:
            wait_until(
                lambda: process.poll() is not None or any(folder.glob("surgecast-fit-*/meeting-point"))
            )
            assert process.poll() is None, process.communicate()[1]
            assert len(training_processes(folder)) == 2
            yield process
        finally:
            process.kill()


@pytest.mark.skipif(not Path("/proc/self/cmdline").exists(), reason="needs /proc to see other processes")
def test_ctrl_c_ends_all_processes_of_several_devices(home: Home, tmp_path: Path) -> None:
    bundles = set(home.bundles_dir.iterdir())
    with training_on_two(home, tmp_path) as process:
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (130, "error: interrupted\n")
    assert training_processes(tmp_path) == set()
    assert list(tmp_path.glob("surgecast-fit-*")) == []
    assert set(home.bundles_dir.iterdir()) == bundles


@pytest.mark.skipif(not Path("/proc/self/cmdline").exists(), reason="needs /proc to see other processes")
def test_a_job_that_is_killed_leaves_no_process_and_no_demand_behind(home: Home, tmp_path: Path) -> None:
    with training_on_two(home, tmp_path) as process:
        process.kill()
        process.wait()
    wait_until(lambda: not training_processes(tmp_path) and not list(tmp_path.glob("surgecast-fit-*")))


@pytest.mark.skipif(not Path("/proc/self/cmdline").exists(), reason="needs /proc to see other processes")
def test_a_process_that_is_killed_fails_the_job_in_one_line(home: Home, tmp_path: Path) -> None:
    with training_on_two(home, tmp_path) as process:
        os.kill(max(training_processes(tmp_path)), signal.SIGKILL)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 1
    found = r"error: training process [12] of 2: expected to finish, found signal SIGKILL\n"
    assert re.fullmatch(found, errors)
    assert training_processes(tmp_path) == set()


def test_devices_that_cannot_be_are_refused(home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["train", "--home", str(home.root), *FEW, "--devices", "0"]) == 2
    assert "--devices" in capsys.readouterr().err
    if not torch.cuda.is_available():
        assert run(["train", "--home", str(home.root), *FEW[:-1], "cuda", "--devices", "2"]) == 2
        assert "expected one that this machine has (cpu), found cuda" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["--cutoff", "2031-01-01"], 1, "cutoff: expected 2023-01-01"),
        (["--cutoff", "1999-01-01"], 1, "cutoff: expected 2023-01-01"),
        (["--cutoff", "soon"], 2, "cutoff: expected a time such as"),
        (["--cutoff", "2023-04-20T00:00+08:00"], 2, "without a zone"),
        (["--cutoff", "2023-01-10"], 1, "history: expected at least"),
        (["--minutes", "0"], 2, "greater than 0"),
        (["--steps", "0"], 2, "--steps"),
        (["--horizon", "0"], 2, "--horizon"),
        (["--horizon", "9999"], 2, "training.horizon: expected less than or equal to 720, found 9999"),
        (["--device", "tpu"], 2, "--device"),
        pytest.param(
            ["--device", "cuda"],
            2,
            "device: expected one that this machine has (cpu), found cuda",
            marks=pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has CUDA"),
        ),
    ],
)
def test_wrong_wishes_are_refused(
    home: Home, arguments: list[str], status: int, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["train", "--home", str(home.root), *arguments]) == status
    errors = capsys.readouterr().err
    assert message in errors
    assert errors.splitlines()[-1].startswith("error: ")


def test_a_home_without_demand_or_model_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["train", "--home", str(tmp_path)]) == 1
    assert "imported demand" in capsys.readouterr().err
    assert run(["publish", "--home", str(tmp_path)]) == 1
    assert "surgecast train" in capsys.readouterr().err
    assert run(["mlflow", "--home", str(tmp_path)]) == 1
    assert "surgecast train" in capsys.readouterr().err
    with pytest.raises(NotFoundError):
        find(Home(tmp_path))


def test_all_zeros_are_refused_in_one_line_and_a_single_day_is_enough(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    home = Home(tmp_path / "home")
    few = ["--horizon", "3", "--steps", "2", "--backtest-origins", "0", "--device", "cpu"]

    def imported_and_trained(rows: str) -> int:
        table = tmp_path / "t.csv"
        table.write_text(f"item,time,demand\n{rows}")
        line = ["data", "import", "table", str(table), "--period", "day"]
        assert run([*line, "--home", str(home.root)]) == 0
        capsys.readouterr()
        return run(["train", "--home", str(home.root), *few])

    assert imported_and_trained("".join(f"zero,2024-01-{day:02},0\n" for day in range(1, 31))) == 1
    assert capsys.readouterr().err == "error: demand: expected at least one period with demand, found none\n"
    assert not home.bundles_dir.exists()
    assert imported_and_trained("once,2024-01-30,7\n") == 0
    assert run(["publish", "--home", str(home.root)]) == 0


def test_a_cutoff_without_the_plan_that_the_model_needs_names_the_ways_out(
    home: Home, capsys: pytest.CaptureFixture[str]
) -> None:
    before = Pointer.read(home)
    assert run(["publish", "--home", str(home.root), "--cutoff", "2023-05-28", "--device", "cpu"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(
        "error: known features: expected discount, price for the 7 periods after 2023-05-28"
    )
    assert "earlier --cutoff, or train again" in line
    assert Pointer.read(home) == before


def test_a_damaged_mlflow_database_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    damaged = Home(tmp_path).mlflow_db
    damaged.parent.mkdir()
    damaged.write_bytes(b"no database at all" * 100)
    for command in ("publish", "mlflow"):
        assert run([command, "--home", str(tmp_path)]) == 1
        (line,) = capsys.readouterr().err.splitlines()
        assert line == f"error: {damaged}: expected MLflow's SQLite database, found file is not a database"


def test_an_unknown_alias_is_not_found(home: Home) -> None:
    with pytest.raises(NotFoundError, match="challenger"):
        find(home, "challenger")


def test_a_bundle_is_asked_for_before_there_is_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["publish", "--home", str(tmp_path / "none"), "--bundle", "nonsense"]) == 1
    message = capsys.readouterr().err
    assert message == "error: bundle: expected one that `surgecast train` made, found no bundle yet\n"


def test_an_unknown_bundle_is_refused(home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["publish", "--home", str(home.root), "--bundle", "nonsense"]) == 1
    errors = capsys.readouterr().err
    assert find(home).bundle_id in errors
    assert "found nonsense" in errors
