"""How quick the live model is: `python -m tests.bench.live_speed [--series 30490] [--days 1000]`.

A server process of its own on simulated demand and a network of random weights of the usual size; what one
client sees, in milliseconds, as JSON: of what-ifs that move an event and cut a price of one series, of new
series, of reads beside sixteen callers of what-ifs, and how many what-ifs those get.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import date, timedelta
from pathlib import Path

import grpc
import numpy as np
import torch
from grpc_health.v1 import health_pb2, health_pb2_grpc
from surgecast.v1 import forecast_pb2 as pb

from forecast.cli.main import run
from forecast.demand.panel import Panel
from forecast.demand.panel_build import load_panel
from forecast.demand.simulate import SimulationConfig, simulate, write_table
from forecast.home import Home
from forecast.model.bundle import Bundle
from forecast.model.config import ModelConfig
from forecast.model.ensemble import Ensemble
from forecast.model.forecaster import Forecaster
from forecast.model.schema import FeatureSchema
from forecast.snapshot import move_pointer, write_snapshot

HORIZON, REPEATS, CALLERS, SECONDS = 28, 500, 16, 5.0
ORIGIN = date(2023, 11, 1)
SERVICE = "/surgecast.v1.ForecastService/"


def publish(home: Home, n_series: int, n_days: int) -> Panel:
    """Import simulated demand, and publish what an untrained model says of it."""
    home.root.mkdir()
    home.settings_file.write_text('[events]\ncalendars = ["china"]\n')
    start = ORIGIN - timedelta(days=n_days - 1)
    config = SimulationConfig(n_series=n_series, n_periods=n_days, horizon=60, start=start)
    table = home.root.parent / "demand.parquet"
    write_table(simulate(config).panel, table)
    line = ["data", "import", "table", str(table), "--period", "day", "--known", "price,discount"]
    if run([*line, "--static", "category", "--home", str(home.root)]):
        raise SystemExit("the simulated demand could not be imported")
    panel = load_panel(home, cutoff=np.datetime64(ORIGIN), horizon=HORIZON)
    model = ModelConfig(period="day", horizon=HORIZON)
    schema = FeatureSchema.fit(panel, HORIZON)
    torch.manual_seed(0)
    bundle = Bundle(
        config=model,
        schema=schema,
        weights=Ensemble(model, schema).state_dict(),
        ranks_SHK=np.broadcast_to(np.arange(100, dtype=np.uint8), (panel.n_series, HORIZON, 100)),
        keys=panel.keys,
        facts={},
    )
    bundle.save(home.bundles_dir / bundle.bundle_id)
    forecasts = Forecaster(bundle)(panel, HORIZON)
    snapshot = write_snapshot(home, forecasts, panel, bundle_id=bundle.bundle_id, model_version="1")
    move_pointer(home, snapshot)
    return panel


def wait_until_live(channel: grpc.Channel) -> None:
    """Wait for the model to be loaded."""
    stub = health_pb2_grpc.HealthStub(channel)
    while stub.Check(health_pb2.HealthCheckRequest(service="surgecast.live")).status != 1:
        time.sleep(0.1)


def measure(channel: grpc.Channel, panel: Panel) -> dict[str, float]:
    """The results by name."""
    random = np.random.default_rng(0)
    keys = [
        pb.SeriesKey(item=str(i), location=str(x), platform=str(p))
        for i, x, p in zip(panel.keys.item, panel.keys.location, panel.keys.platform, strict=True)
    ]
    move = pb.Change(event=pb.EventChange(kind="double-11", move_days=2))
    cut = pb.Change(feature=pb.FeatureChange(name="price", multiply=0.8))

    def call(method: str, request: pb.SimulateScenarioRequest | pb.ForecastNewSeriesRequest) -> float:
        begin = time.perf_counter()
        channel.unary_unary(SERVICE + method)(request.SerializeToString(), timeout=30)
        return 1e3 * (time.perf_counter() - begin)

    def what_if() -> float:
        key = keys[int(random.integers(len(keys)))]
        return call("SimulateScenario", pb.SimulateScenarioRequest(keys=[key], changes=[move, cut]))

    def new_series(n: int) -> float:
        key = pb.SeriesKey(item=f"new-{n}", location=keys[n % len(keys)].location, platform="new")
        return call("ForecastNewSeries", pb.ForecastNewSeriesRequest(key=key))

    what_ifs = [what_if() for _ in range(REPEATS)]
    new = [new_series(n) for n in range(REPEATS // 5)]
    end = time.monotonic() + SECONDS

    def keep_asking() -> int:
        count = 0
        while time.monotonic() < end:
            request = pb.SimulateScenarioRequest(keys=keys[:1], changes=[move, cut])
            call("SimulateScenario", request)
            count += 1
        return count

    with ThreadPoolExecutor(CALLERS) as pool:
        asking = [pool.submit(keep_asking) for _ in range(CALLERS)]
        reads = []
        while time.monotonic() < end:
            reads.append(call("GetForecast", pb.GetForecastRequest(key=keys[len(reads) % len(keys)])))
        calls = sum(one.result() for one in asking)
    return {
        "whatif_p50_ms": float(np.percentile(what_ifs, 50)),
        "whatif_p99_ms": float(np.percentile(what_ifs, 99)),
        "new_series_p99_ms": float(np.percentile(new, 99)),
        "whatif_calls_per_s": calls / SECONDS,
        "read_p50_ms_beside_whatifs": float(np.percentile(reads, 50)),
        "read_p99_ms_beside_whatifs": float(np.percentile(reads, 99)),
    }


def resident_mib(process: int) -> float:
    """Memory of a process."""
    for line in Path(f"/proc/{process}/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1]) / 1024
    return float("nan")


def main() -> None:
    """Publish, serve, ask, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--series", type=int, default=30_490)
    parser.add_argument("--days", type=int, default=1_000)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        home = Home(Path(folder) / "home")
        panel = publish(home, asked.series, asked.days)
        serve = [sys.executable, "-m", "forecast.cli.main", "serve", "--home", str(home.root)]
        begin = time.monotonic()
        with subprocess.Popen(
            [*serve, "--port", "0", "--json"], stdout=subprocess.PIPE, text=True, env=os.environ
        ) as server:
            text = ""
            while server.stdout and not text.endswith("}\n"):
                text += server.stdout.readline()
            reads_after = time.monotonic() - begin
            with grpc.insecure_channel(json.loads(text)["address"]) as channel:
                wait_until_live(channel)
                live_after = time.monotonic() - begin
                results = measure(channel, panel)
            results |= {"serves_after_s": reads_after, "live_after_s": live_after}
            results["server_resident_mib"] = resident_mib(server.pid)
            server.terminate()
    print(json.dumps({"bench": "live", "results": results}, indent=2))


if __name__ == "__main__":
    main()
