"""The panels that speed is measured on: M5, or simulated demand of any size; and a panel as a file.

The file is for benchmarks, so that a fresh process starts from a panel without having built one.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from forecast.demand.panel import EventGrid, Panel, SeriesKeys
from forecast.demand.shards import PanelShards
from forecast.errors import InputError

if TYPE_CHECKING:
    from forecast.demand.simulate import SimulationConfig

HORIZON: Final = 28
"""Days ahead, M5's."""
PERIODS: Final = 730
"""Observed days of simulated demand."""
EVERY_STORE: Final = "all"


@dataclass(frozen=True, kw_only=True)
class SpeedData:
    """folder: M5's, up to day `cutoff` and of one store or all; simulated demand of `series` series where it
    is None."""

    folder: Path | None = None
    series: int = 2000
    seed: int = 0
    cutoff: int = 1913
    store: str = EVERY_STORE


def speed_panel(data: SpeedData) -> Panel:
    """The panel, with features known for `HORIZON` days after it.

    Raises InputError for a store or a cutoff that M5 does not have.
    """
    if data.folder is None:
        return simulated(data.series, data.seed)
    from forecast.demand.sources.m5 import read_m5_panel  # needs polars, which a bare machine may lack

    panel = read_m5_panel(data.folder, data.cutoff)
    if data.store == EVERY_STORE:
        return panel
    rows = np.flatnonzero(panel.keys.location == data.store)
    if not len(rows):
        stores = ", ".join(np.unique(panel.keys.location).tolist())
        raise InputError("--store", expected=f"{EVERY_STORE} or one of {stores}", found=data.store)
    return panel.select(rows)


def simulated(n_series: int, seed: int) -> Panel:
    """Simulated daily demand of two years."""
    from forecast.demand.simulate import simulate

    return simulate(_config(n_series, seed)).panel


def simulated_in_shards(n_series: int, seed: int) -> PanelShards:
    """The same, simulated as it is asked for; a panel that may be held whole is there already."""
    from forecast.demand.simulate import simulated_shards

    shards = simulated_shards(_config(n_series, seed))
    return shards if len(shards) > 1 else PanelShards.of(next(panel for _, panel in shards))


def _config(n_series: int, seed: int) -> SimulationConfig:
    from forecast.demand.simulate import SimulationConfig

    return SimulationConfig(n_series=n_series, n_periods=PERIODS, horizon=HORIZON, seed=seed)


def save_panel(panel: Panel, path: Path) -> None:
    """Write a panel as an uncompressed `.npz`."""
    arrays: dict[str, NDArray[np.generic]] = {
        "period": np.array(panel.period),
        "start": np.array(panel.start),
        "item": panel.keys.item,
        "location": panel.keys.location,
        "platform": panel.keys.platform,
        "demand": panel.demand_ST,
        "event names": np.array(panel.events.names, np.str_),
        "event intensity": panel.events.intensity_GLE,
        "event group": panel.events.group_S,
        "data version": np.array(panel.data_version),
        **{f"known:{name}": values for name, values in panel.known.items()},
        **{f"static:{name}": labels for name, labels in panel.statics.items()},
    }
    if panel.stocked_out_ST is not None:
        arrays["stocked out"] = panel.stocked_out_ST
    np.savez(path, allow_pickle=False, **arrays)


def open_panel(path: Path) -> Panel:
    """The panel of a file that `save_panel` wrote."""
    with np.load(path, allow_pickle=False) as stored:

        def named(prefix: str) -> dict[str, NDArray[np.generic]]:
            return {name[len(prefix) :]: stored[name] for name in stored.files if name.startswith(prefix)}

        return Panel(
            period=stored["period"].item(),
            start=stored["start"][()],
            keys=SeriesKeys(item=stored["item"], location=stored["location"], platform=stored["platform"]),
            demand_ST=stored["demand"],
            stocked_out_ST=stored["stocked out"] if "stocked out" in stored.files else None,
            known={name: values.astype(np.float32, copy=False) for name, values in named("known:").items()},
            statics={name: labels.astype(np.str_, copy=False) for name, labels in named("static:").items()},
            events=EventGrid(
                names=tuple(stored["event names"].tolist()),
                intensity_GLE=stored["event intensity"],
                group_S=stored["event group"],
            ),
            data_version=stored["data version"].item(),
        )
