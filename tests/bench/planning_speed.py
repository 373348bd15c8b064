"""How quick the answers about many series are: `python -m tests.bench.planning_speed [--series 30490]`.

A server process of its own on simulated forecasts of the form of M5 (28 days, 100 scenarios, 10 stores,
7 departments); medians of what one client sees, replies read, in milliseconds, as JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import grpc
import numpy as np
from google.protobuf.message import Message
from surgecast.v1 import forecast_pb2 as pb

from forecast.demand.panel import EventGrid, Panel, SeriesKeys
from forecast.forecasts import Forecasts
from forecast.home import Home
from forecast.quantiles import LEVELS, M5_NINE
from forecast.snapshot import move_pointer, write_snapshot

HORIZON, K, OBSERVED, REPEATS = 28, 100, 60, 7
SERVICE = "/surgecast.v1.ForecastService/"


def publish(home: Home, n_series: int) -> None:
    """Publish random forecasts of items in ten stores."""
    random = np.random.default_rng(0)
    item, store = np.arange(n_series) // 10, np.arange(n_series) % 10
    level_S1 = random.gamma(0.6, 2, (n_series, 1))
    mean_SH = (level_S1 * random.uniform(0.5, 1.6, (n_series, HORIZON))).astype(np.float32)
    mean_SH[:, 20] *= 4 * random.random(n_series)
    quantiles_SHQ = np.sort(random.gamma(1, 1, (n_series, HORIZON, 17)).astype(np.float32), axis=2)
    intensity_GLE = np.zeros((1, OBSERVED + HORIZON + 5, 1), np.float32)
    intensity_GLE[0, OBSERVED + 20, 0] = 1
    panel = Panel(
        period="day",
        start=np.datetime64("2016-01-01", "s"),
        keys=SeriesKeys(
            item=np.array([f"ITEM_{i:05d}" for i in item]),
            location=np.array([f"STORE_{j}" for j in store]),
            platform=np.array(["in-store"] * n_series),
        ),
        demand_ST=random.poisson(level_S1, (n_series, OBSERVED)).astype(np.float32),
        statics={
            "dept": np.array([f"DEPT_{d}" for d in item % 7]),
            "state": np.array([f"STATE_{s}" for s in store % 3]),
        },
        events=EventGrid(
            names=("double-11/day",), intensity_GLE=intensity_GLE, group_S=np.zeros(n_series, np.int32)
        ),
    )
    forecasts = Forecasts(
        period="day",
        origin=panel.origin,
        keys=panel.keys,
        mean_SH=mean_SH,
        quantiles_SHQ=quantiles_SHQ * mean_SH[:, :, None],
        ranks_SHK=np.argsort(random.random((n_series, HORIZON, K), np.float32), axis=2).astype(np.uint8),
    )
    move_pointer(home, write_snapshot(home, forecasts, panel, bundle_id="bench", model_version="1"))


def measure(channel: grpc.Channel, n_series: int) -> dict[str, float]:
    """The results by name."""

    def milliseconds(method: str, request: Callable[[int], Message], repeats: int = REPEATS) -> float:
        reply = getattr(pb, method + "Response")
        call = channel.unary_unary(SERVICE + method, response_deserializer=reply.FromString)
        took = []
        for n in range(repeats):
            content = request(n).SerializeToString()
            begin = time.perf_counter()
            call(content, timeout=60)
            took.append(1e3 * (time.perf_counter() - begin))
        return statistics.median(took)

    ask, surges = pb.AggregateForecastRequest, pb.ListSurgesRequest
    results = {"first_aggregate_ms": milliseconds("AggregateForecast", lambda _: ask(), 1)}
    by_store = pb.SeriesFilter(minimum_recent_mean=1)
    for name, request in {
        "aggregate_top_ms": ask(),
        "aggregate_70_ms": ask(group_by=["location", "dept"]),
        "aggregate_filtered_ms": ask(group_by=["location"], filter=by_store),
        "aggregate_items_ms": ask(group_by=["item"]),
    }.items():
        results[name] = milliseconds("AggregateForecast", lambda _, request=request: request)
    results["surges_series_first_ms"] = milliseconds("ListSurges", lambda n: surges(multiple=2 + n / 100))
    results["surges_items_first_ms"] = milliseconds(
        "ListSurges", lambda n: surges(multiple=2 + n / 100, group_by=["item"]), 3
    )
    results["surges_again_ms"] = milliseconds("ListSurges", lambda _: surges())
    rates = []
    for _ in range(3):
        begin = time.perf_counter()
        wanted = pb.ExportForecastsRequest(levels=[LEVELS[q] for q in M5_NINE])
        for _piece in channel.unary_stream(SERVICE + "ExportForecasts")(wanted.SerializeToString()):
            pass
        rates.append(n_series * HORIZON / (time.perf_counter() - begin))
    results["export_series_days_per_s"] = statistics.median(rates)
    return results


def main() -> None:
    """Publish, serve, ask, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--series", type=int, default=30_490)
    n_series = parser.parse_args().series
    with tempfile.TemporaryDirectory() as folder:
        publish(Home(Path(folder)), n_series)
        serve = [
            sys.executable,
            "-m",
            "forecast.cli.main",
            "serve",
            "--home",
            folder,
            "--port",
            "0",
            "--json",
        ]
        with subprocess.Popen(serve, stdout=subprocess.PIPE, text=True, env=os.environ) as server:
            text = ""
            while server.stdout and not text.endswith("}\n"):
                text += server.stdout.readline()
            with grpc.insecure_channel(
                json.loads(text)["address"], options=[("grpc.max_receive_message_length", -1)]
            ) as channel:
                results = measure(channel, n_series)
            server.terminate()
    print(json.dumps({"bench": "planning", "results": results}, indent=2))


if __name__ == "__main__":
    main()
