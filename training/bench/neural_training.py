"""TiDE, NHITS and TFT of neuralforecast in training: the panel that ours has, steps until somebody says stop.

Inputs are those of the comparison of accuracy (`neural_table`): calendar, events, known features, how the
same days of the last year stood out, statics, past stock-outs; quantile loss at our levels, a constant
learning rate.

Letters: S series, H horizon, Q levels.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np
import torch

from forecast.cli.output import say
from forecast.demand.panel import Floats, Panel
from forecast.errors import InputError, NotFoundError, UsageError
from forecast.quantiles import LEVELS
from training.bench.frames import pandas_step
from training.bench.neural_table import NeuralTable
from training.bench.speed_data import HORIZON
from training.bench.training_loop import quiet

if TYPE_CHECKING:
    from neuralforecast import NeuralForecast
    from pytorch_lightning import Callback

PEERS: Final = ("tide", "nhits", "tft")
Kind = Literal["TiDE", "NHITS", "TFT"]
LIKE: Final = 0.15
"""Share by which TiDE's number of parameters may differ from ours."""
SEED: Final = 0
FOREVER: Final = 1_000_000_000


@dataclass(frozen=True, kw_only=True)
class NeuralSettings:
    """context: periods that a window looks back. history: periods trained on, at most. series: from which a
    step draws its windows; both as in the comparison of accuracy. accelerator: cpu or cuda."""

    kind: Kind
    hidden: int
    context: int = 112
    history: int = 546
    series: int = 16
    windows: int = 256
    learning_rate: float = 1e-3
    accelerator: str = "cpu"


class NeuralTraining:
    """A peer on a panel. `judge` makes the forecasts: a second engine that gets the weights, so that training
    goes on undisturbed."""

    def __init__(self, panel: Panel, settings: NeuralSettings) -> None:
        shortest = settings.context + 2 * HORIZON
        if panel.n_periods < shortest:
            raise InputError(
                "history", expected=f"at least {shortest} periods", found=f"{panel.n_periods} periods"
            )
        self.settings = settings
        self._panel = panel
        self._history = min(settings.history, panel.n_periods)
        self._table = NeuralTable(panel, HORIZON, self._history)
        self._trained: torch.nn.Module | None = None
        self._judge: NeuralForecast | None = None
        self._future = self._table.future(panel.n_periods)

    @property
    def parameters(self) -> int:
        """Trainable ones."""
        with quiet():
            return count(_model(self.settings, self._table, None, FOREVER))

    def run(self, on_step: Callable[[], bool]) -> None:
        """Train until `on_step`, called after every step, says so."""
        past = self._table.past(self._panel.n_periods, self._history)
        with quiet():
            callback = _callback(self, on_step)
            model = _model(self.settings, self._table, callback, FOREVER)
            self._engine(model).fit(df=past, static_df=self._table.statics)

    def quantiles(self) -> Floats:
        """(S, H, Q) forecasts after the panel's end by the weights as they are now, in units."""
        if self._trained is None:
            raise RuntimeError("quantiles() is for use while run() goes on")
        with _same_random_numbers(), quiet():
            judge = self._judge or self._new_judge()
            judge.models[0].load_state_dict(self._trained.state_dict())
            answer = judge.predict(futr_df=self._future)
        return self._table.read(answer)

    def attach(self, module: torch.nn.Module) -> None:
        """The module whose weights `quantiles` reads."""
        self._trained = module

    def _new_judge(self) -> NeuralForecast:
        """An engine that knows the end of the panel, fitted for one step."""
        past = self._table.past(self._panel.n_periods, self.settings.context + HORIZON)
        self._judge = self._engine(_model(self.settings, self._table, None, 1))
        self._judge.fit(df=past, static_df=self._table.statics)
        return self._judge

    def _engine(self, model: Any) -> NeuralForecast:
        from neuralforecast import NeuralForecast

        return NeuralForecast(models=[model], freq=pandas_step(self._panel))


def check_installed() -> None:
    """Raise NotFoundError where neuralforecast is not installed."""
    if find_spec("neuralforecast") is None:
        found = "none (pip install -c constraints.txt -e '.[peers]')"
        raise NotFoundError("extra peers", expected="neuralforecast", found=found)


def parse_peers(text: str) -> tuple[str, ...]:
    """Names from `tide,nhits`, each once. Raises UsageError for one that is not known."""
    names = tuple(dict.fromkeys(name.strip() for name in text.split(",")))
    for name in names:
        if name not in PEERS:
            raise UsageError(f"--peers: expected some of {', '.join(PEERS)}, found {name!r}")
    return names


def peer_like(name: str, panel: Panel, parameters: int, *, windows: int, device: str) -> NeuralSettings:
    """A peer's settings: TiDE as wide as makes its number of parameters nearest to `parameters`; the others
    as in the comparison of accuracy."""
    if name == "nhits":
        return NeuralSettings(kind="NHITS", hidden=256, windows=windows, accelerator=device)
    if name == "tft":
        return NeuralSettings(kind="TFT", hidden=64, context=56, windows=windows, accelerator=device)
    tide = NeuralSettings(kind="TiDE", hidden=8, windows=windows, accelerator=device)
    table = NeuralTable(panel, HORIZON, min(tide.history, panel.n_periods))

    def size(hidden: int) -> int:
        return count(_model(replace(tide, hidden=hidden), table, None, FOREVER))

    low, high = 1, 4096
    with quiet():
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if size(middle) < parameters else (low, middle)
        hidden = min((low, high), key=lambda width: abs(size(width) - parameters))
        found = size(hidden)
    if abs(found - parameters) > LIKE * parameters:
        say(f"TiDE: expected about {parameters:,} parameters, found {found:,} at the nearest width {hidden}")
    return replace(tide, hidden=hidden)


def count(model: torch.nn.Module) -> int:
    """Trainable parameters."""
    return sum(int(one.numel()) for one in model.parameters() if one.requires_grad)


def _model(settings: NeuralSettings, table: NeuralTable, callback: Callback | None, steps: int) -> Any:
    from neuralforecast.losses.pytorch import MQLoss
    from neuralforecast.models import NHITS, TFT, TiDE

    shared: dict[str, object] = {
        "h": HORIZON,
        "input_size": settings.context,
        "futr_exog_list": table.future_names,
        "hist_exog_list": table.past_names or None,
        "stat_exog_list": table.static_names or None,
        "loss": MQLoss(quantiles=list(LEVELS)),
        "max_steps": steps,
        "learning_rate": settings.learning_rate,
        "batch_size": settings.series,
        "windows_batch_size": settings.windows,
        "inference_windows_batch_size": 4096,
        "scaler_type": "robust",
        "start_padding_enabled": True,
        "random_seed": SEED,
        "alias": "m",
        "callbacks": [] if callback is None else [callback],
        "accelerator": "gpu" if settings.accelerator == "cuda" else settings.accelerator,
        "devices": 1,
        "logger": False,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "gradient_clip_val": 1.0,
    }
    if settings.kind == "NHITS":
        return NHITS(**shared, mlp_units=3 * [[settings.hidden, settings.hidden]])
    if settings.kind == "TiDE":
        return TiDE(**shared, hidden_size=settings.hidden, dropout=0.1)
    return TFT(**shared, hidden_size=settings.hidden)


def _callback(training: NeuralTraining, on_step: Callable[[], bool]) -> Callback:
    from pytorch_lightning import Callback, LightningModule, Trainer

    class OnStep(Callback):
        def __deepcopy__(self, _memo: object) -> OnStep:
            return self  # neuralforecast copies its models, and the copy must tell the same listener

        def on_train_batch_end(
            self,
            trainer: Trainer,
            module: LightningModule,
            _outputs: object,
            _batch: Mapping[str, object],
            _index: int,
        ) -> None:
            training.attach(module)
            trainer.should_stop = on_step()

    return OnStep()


@contextmanager
def _same_random_numbers() -> Iterator[None]:
    """neuralforecast seeds anew for every forecast; without this, training would draw the same windows after
    each."""
    numpy_state = np.random.get_state()
    with torch.random.fork_rng():
        try:
            yield
        finally:
            np.random.set_state(numpy_state)
