"""How fast the panel comes out of the store, and what it needs in memory and on the device."""

from __future__ import annotations

import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

from forecast.bench.samples import Samples
from forecast.cli.output import say
from forecast.demand.panel_build import load_panel
from forecast.home import Home
from training.bench.speed_data import HORIZON, SpeedData, simulated
from training.bench.timing import GB, peak_gb, run_fresh

VARYING: Final = ("panel_load_s", "panel_peak_gb", "tensors_s")
"""Metrics that differ between repeats."""


def bench_panel(data: SpeedData, *, repeats: int, device: str) -> dict[str, float]:
    """Import into the store of a temporary home (not counted), then load it, each time in a fresh process:
    `measure`. All of the data is taken, without a cutoff."""
    with tempfile.TemporaryDirectory(prefix="surgecast-bench-") as name:
        say("importing …")
        _import(data, Home(Path(name)))
        say("loading …")
        samples = Samples()
        for _ in range(repeats):
            found = run_fresh("training.bench.panel_speed", [name, device])
            samples.add({metric: found[metric] for metric in VARYING})
    return samples.results() | {metric: value for metric, value in found.items() if metric not in VARYING}


def _import(data: SpeedData, home: Home) -> None:
    """M5 with its events, or a table of simulated demand."""
    from forecast.demand.simulate import write_table
    from forecast.demand.sources.reading import Reading
    from forecast.demand.sources.table import TableColumns, table_incoming
    from forecast.demand.store import DemandStore

    store = DemandStore(home.demand_dir)
    if data.folder is not None:
        from forecast.demand.events.files import write_calendar
        from forecast.demand.sources.m5 import m5_events, m5_incoming

        store.add(m5_incoming(data.folder))
        write_calendar(home.events_dir / "m5.toml", m5_events(data.folder))
        return
    panel, path = simulated(data.series, data.seed), home.root / "table.parquet"
    write_table(panel, path)
    columns = TableColumns(known=tuple(panel.known), static=tuple(panel.statics))
    store.add(table_incoming([path], columns, Reading(now=Reading.today()), period="day"))
    path.unlink()


def measure(home: Home, device: str) -> dict[str, float]:
    """Load the panel once.

    panel_load_s: from the store on disk (its files may be in the system's cache) to the panel in memory,
        imports of libraries not counted. panel_peak_gb: the most memory of the process up to then, libraries
        counted; panel_before_gb: its peak before. panel_series, panel_periods.
    device_gb: bytes of the tensors made of it, on the device. device_bytes_per_series_day: over series times
        observed periods. tensors_s: from the panel to them.
    """
    before_gb = peak_gb()
    started = time.perf_counter()
    panel = load_panel(home, horizon=HORIZON)
    load_s, loaded_gb = time.perf_counter() - started, peak_gb()

    from forecast.model.config import ModelConfig
    from forecast.model.forecaster import choose_device
    from forecast.model.schema import FeatureSchema
    from forecast.model.tensors import build_tensors
    from training.bench.timing import Stopwatch

    place = choose_device(device)
    model = ModelConfig.for_history(panel.period, horizon=HORIZON, n_periods=panel.n_periods)
    schema = FeatureSchema.fit(panel, HORIZON)
    watch = Stopwatch(place)
    tensors = build_tensors(panel, model, schema, place, horizon=HORIZON)
    tensors_s = watch.seconds()
    n_bytes = tensors.n_bytes
    return {
        "panel_load_s": load_s,
        "panel_peak_gb": loaded_gb,
        "panel_before_gb": before_gb,
        "panel_series": float(panel.n_series),
        "panel_periods": float(panel.n_periods),
        "device_gb": n_bytes / GB,
        "device_bytes_per_series_day": n_bytes / (panel.n_series * panel.n_periods),
        "tensors_s": tensors_s,
    }


if __name__ == "__main__":
    print(json.dumps(measure(Home(Path(sys.argv[1])), sys.argv[2])))
