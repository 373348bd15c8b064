"""Which device a fit computes on, what is said where it is not the one hoped for, and a plain processor."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
from pathlib import Path

import lightning
import numpy as np
import pytest
import torch

from forecast.cli.main import run
from forecast.demand.panel import Panel
from forecast.demand.simulate import SimulationConfig, simulate, write_table
from forecast.errors import UsageError
from forecast.model.config import ModelConfig
from forecast.model.forecaster import Forecaster, choose_device
from forecast.model.schema import FeatureSchema
from forecast.model.tensors import build_tensors
from training.config import TrainingConfig
from training.feed import OriginFeed
from training.fit import fit
from training.module import use_bf16
from training.team import Team
from training.trainer import make_trainer

# MLflow's own use of SQLAlchemy; nothing that we could change.
pytestmark = pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SADeprecationWarning")

MODEL = ModelConfig(period="day", horizon=7, origins=6, channels=8, hidden=16)
TRAINING = TrainingConfig(steps=4, epoch_steps=2, batch=8, warmup_steps=2, device="cpu", precision="float32")
CPU = torch.device("cpu")
FALLBACK = "device auto: no GPU found, computing on the processor\n"


def small_panel() -> Panel:
    return simulate(SimulationConfig(n_series=10, n_periods=150, horizon=30, n_locations=2)).panel


@pytest.fixture
def two_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that says it has two GPUs; nothing is computed on them."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)


@pytest.mark.usefixtures("two_gpus")
@pytest.mark.parametrize(("name", "expected"), [("cuda:1", 1), ("cuda:0", 0), ("cuda", 0), ("auto", 0)])
def test_a_gpu_that_is_named_is_the_one_that_trains(name: str, expected: int) -> None:
    panel = small_panel()
    schema = FeatureSchema.fit(panel, MODEL.horizon)
    feed = OriginFeed(build_tensors(panel, MODEL, schema, CPU, horizon=0), MODEL, TRAINING, 100)
    trainer = make_trainer(choose_device(name), lightning.Callback(), Team(), feed)
    assert trainer.strategy.root_device == torch.device("cuda", expected)
    assert trainer.device_ids == [expected]


@pytest.mark.usefixtures("two_gpus")
def test_a_gpu_beyond_those_there_is_refused() -> None:
    with pytest.raises(
        UsageError, match=r"device: expected cuda:0 to cuda:1 \(this machine's\), found cuda:2"
    ):
        choose_device("cuda:2")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("devices")
    write_table(small_panel(), root / "demand.parquet")
    line = ["data", "import", "table", str(root / "demand.parquet"), "--known", "price,discount"]
    assert run([*line, "--home", str(root / "home")]) == 0
    return root / "home"


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_train_and_publish_say_once_that_auto_found_no_gpu(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    few = ["--cutoff", "2023-05-20", "--horizon", "7", "--steps", "2", "--json"]
    for line in (["train", *few, "--backtest-origins", "1"], ["publish", "--cutoff", "2023-05-20", "--json"]):
        assert run([*line, "--home", str(home), "--device", "auto"]) == 0
        shown = capsys.readouterr()
        assert shown.err.count(FALLBACK) == 1
        assert "GPU" not in shown.out
    assert run(["publish", "--cutoff", "2023-05-20", "--home", str(home), "--device", "cpu"]) == 0
    assert "GPU" not in capsys.readouterr().err


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
@pytest.mark.parametrize("command", ["train", "publish", "backtest"])
def test_a_gpu_asked_for_in_vain_is_wrong_usage(
    home: Path, command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert (
        run(
            [command, "--home", str(home), "--device", "cuda", *(["--horizon", "7"] * (command != "publish"))]
        )
        == 2
    )
    assert capsys.readouterr().err == "error: device: expected one that this machine has (cpu), found cuda\n"


def test_auto_multiplies_in_float32_where_bf16_instructions_are_absent(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The steps of `auto` are then those of `float32`, bit for bit."""
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)
    panel = small_panel()
    found = [
        fit(panel, model=MODEL, training=dataclasses.replace(TRAINING, precision=precision)).bundle_id
        for precision in ("auto", "float32")
    ]
    assert found[0] == found[1]
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: True)
    assert use_bf16("auto", CPU)


def test_bf16_without_its_instructions_works_and_is_said_to_be_slow(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)
    panel = small_panel()
    asked = dataclasses.replace(TRAINING, precision="bf16")
    bundle = fit(panel, model=MODEL, training=asked)
    said = capsys.readouterr().err
    assert said == "precision bf16: cpu has no instructions for it, so that float32 would be faster\n"
    assert np.isfinite(Forecaster(bundle, "cpu")(panel, 7).quantiles_SHQ).all()
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: True)
    fit(panel, model=MODEL, training=asked)
    assert capsys.readouterr().err == ""


PLAIN = """
import sys
import numpy as np
import torch
sys.path[:0] = [{root!r}]
from tests.training.test_devices import MODEL, TRAINING, small_panel
from forecast.model.forecaster import Forecaster
from training.fit import fit

assert torch.backends.cpu.get_cpu_capability() == {expected!r}, torch.backends.cpu.get_cpu_capability()
panel = small_panel()
bundle = fit(panel, model=MODEL, training=TRAINING)
np.save({out!r}, Forecaster(bundle, "cpu")(panel, 7).quantiles_SHQ)
"""


def test_a_processor_without_avx2_trains_and_scores_on_the_plain_path(tmp_path: Path) -> None:
    """torch and oneDNN are told to use none of the instructions, as on a processor that lacks them."""
    root = str(Path(__file__).parents[2])
    plain = {
        "ATEN_CPU_CAPABILITY": "default",
        "ONEDNN_MAX_CPU_ISA": "SSE41",
        "MKL_ENABLE_INSTRUCTIONS": "SSE4_2",
    }
    code = PLAIN.format(root=root, expected="DEFAULT", out=str(tmp_path / "plain.npy"))
    done = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, **plain}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    panel = small_panel()
    usual = Forecaster(fit(panel, model=MODEL, training=TRAINING), "cpu")(panel, 7).quantiles_SHQ
    np.testing.assert_allclose(np.load(tmp_path / "plain.npy"), usual, rtol=0.05, atol=1.0)
