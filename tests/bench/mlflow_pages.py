"""How long MLflow's pages take to load: `python -m tests.bench.mlflow_pages [RUNS]`, with tests/support on
the path.

Two models are trained on simulated demand by the real command, then jobs with all that they log are added to
make RUNS (200) runs that have no parent, a child for each of four origins besides, and a version for every
tenth. A real, headless Chromium opens each page three times; all that it should show must be there. Prints
seconds at the median and at most, and what the pages said on the console.
"""

from __future__ import annotations

import json
import math
import sys
import tempfile
from contextlib import redirect_stdout
from pathlib import Path
from statistics import median

from browser import browser, missing
from mlflow.entities import Metric
from mlflow_pages import faults, mlflow_server, pages, visit

from forecast.cli.main import run
from forecast.demand.simulate import SimulationConfig, simulate, write_table
from forecast.home import Home
from training.tracking import Run, connect

VISITS = 3
EPOCHS = 40
BAR_SECONDS = 3.0


def train(home: Home, folder: Path) -> None:
    """Two real models: what a person opens."""
    table = folder / "demand.parquet"
    write_table(simulate(SimulationConfig(n_series=60, n_periods=400, horizon=60)).panel, table)
    place = ["--home", str(home.root)]
    assert run(["data", "import", "table", str(table), *place, "--known", "price,discount"]) == 0
    for seed in ("1", "2"):
        few = ["--steps", "40", "--seed", seed, "--device", "cpu", "--horizon", "14"]
        assert run(["train", *place, *few, "--backtest-origins", "2"]) == 0


def add_runs(home: Home, n: int) -> None:
    """Runs as jobs leave them, with the metrics and parameters of the trained one."""
    client = connect(home)
    version = client.get_model_version_by_alias("surgecast", "champion")
    model = client.get_run(str(version.run_id)).data
    for i in range(n):
        wave = 1 + 0.1 * math.sin(i / 9)
        tags = {
            "data_version": "1",
            "period": "day",
            "purpose": "retrain",
            "cutoff": f"2024-{1 + i % 12:02}-{1 + i % 28:02}",
        }
        with Run(home, f"retrain {tags['cutoff']}", tags=tags) as made:
            made.parameters(model.params)
            made.metrics({name: value * wave for name, value in model.metrics.items()})
            curve = [(100 * step, wave / (step + 1)) for step in range(EPOCHS)]
            made.client.log_batch(made.run_id, metrics=[Metric("train/loss", y, 0, x) for x, y in curve])
            for origin in range(4):
                with Run(home, f"origin {origin}", tags={"purpose": "backtest"}, parent=made) as child:
                    child.metrics(model.metrics)
            made.text("# Gate", "gates/promotion.md")
        if i % 10 == 0:
            source = f"runs:/{made.run_id}/bundle"
            client.create_model_version("surgecast", source=source, run_id=made.run_id)


def main() -> None:
    """Measure and print one JSON object."""
    if missing():
        raise SystemExit(f"no browser: {missing()}")
    n = int(sys.argv[1]) if len(sys.argv) > 1 else 200
    with tempfile.TemporaryDirectory(prefix="surgecast-pages-") as folder:
        home = Home(Path(folder) / "home")
        with redirect_stdout(sys.stderr):
            train(home, Path(folder))
        shown = pages(home)
        add_runs(home, n - 2)
        found: dict[str, dict[str, object]] = {}
        with mlflow_server(home) as address, browser() as opened:
            for page in shown:
                seconds = [visit(opened, address, page) for _ in range(VISITS)]
                errors = [line.text for line in faults(opened)]
                found[page.name] = {
                    "median_s": round(median(seconds), 2),
                    "most_s": round(max(seconds), 2),
                    "errors": errors,
                }
    slow = [name for name, one in found.items() if float(str(one["most_s"])) > BAR_SECONDS]
    print(json.dumps({"runs": n, "pages": found, "over_3_s": slow}, indent=2))


if __name__ == "__main__":
    main()
