"""What logging takes of training: `python -m tests.bench.logging_cost [STEPS] [SERIES]`.

A fit of STEPS (600) steps on SERIES (500) simulated series of 400 days logs each epoch into a real MLflow, as
jobs do. Prints the share of the fit's time that was spent on logging, measured around each call, and the time
of fits with and without it, in turns.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

from forecast.demand.simulate import SimulationConfig, simulate
from forecast.home import Home
from forecast.model.config import ModelConfig
from training.config import TrainingConfig
from training.fit import fit
from training.records import EpochRecord
from training.tracking import Run

TURNS = 2
HORIZON = 28


def main() -> None:
    """Measure and print one JSON object."""
    steps = int(sys.argv[1]) if len(sys.argv) > 1 else 600
    n_series = int(sys.argv[2]) if len(sys.argv) > 2 else 500
    panel = simulate(SimulationConfig(n_series=n_series, n_periods=400, horizon=60)).panel
    model = ModelConfig.for_history(panel.period, horizon=HORIZON, n_periods=panel.n_periods)
    training = TrainingConfig(steps=steps, device="cpu")
    with_s, without_s, logging_s, epochs = [], [], [], 0
    with tempfile.TemporaryDirectory() as folder:
        for turn in range(TURNS):
            began = time.perf_counter()
            fit(panel, model=model, training=training)
            without_s.append(time.perf_counter() - began)
            with Run(Home(Path(folder)), f"fit {turn}") as run:
                spent: list[float] = []

                def log(record: EpochRecord, run: Run = run, spent: list[float] = spent) -> None:
                    began = time.perf_counter()
                    run.epoch(record)
                    spent.append(time.perf_counter() - began)

                began = time.perf_counter()
                fit(panel, model=model, training=training, on_epoch=log)
                with_s.append(time.perf_counter() - began)
                logging_s.append(sum(spent))
                epochs = len(spent)
    print(
        json.dumps(
            {
                "steps": steps,
                "series": n_series,
                "epochs": epochs,
                "share_percent": round(100 * sum(logging_s) / sum(with_s), 3),
                "ms_per_epoch": round(1000 * sum(logging_s) / (TURNS * epochs), 2),
                "fit_s": round(median(without_s), 2),
                "fit_logged_s": round(median(with_s), 2),
            },
            indent=2,
        )
    )


if __name__ == "__main__":
    main()
