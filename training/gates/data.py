"""The data gate."""

from __future__ import annotations

import numpy as np

from forecast.data_gate_settings import DataGateSettings
from forecast.demand.store import DemandStore
from forecast.home import Home
from training.gates.findings import Finding, GateReport


def check_data(
    home: Home, settings: DataGateSettings, *, cutoff: np.datetime64 | None, today: np.datetime64
) -> GateReport:
    """Whether there is demand at all."""
    rows = int(DemandStore(home.demand_dir).ledger()["rows"].sum())
    found = Finding(check="rows", subject="all", passed=rows > 0, expected="some", found=f"{rows:,}")
    return GateReport(gate="data", findings=(found,))
