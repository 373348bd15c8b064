"""The model itself behind other people's servers: what is asked for is forecast when it is asked for.

The demand of all series lies ready in memory, as in `publish`; a call gathers its series and runs the
network.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from forecast.demand.panel_build import load_panel
from forecast.forecasts import Floats
from forecast.home import Home
from forecast.model.bundle import Bundle
from forecast.model.forecaster import Forecaster, score
from forecast.model.priors import prior_lift
from forecast.model.tensors import build_tensors
from forecast.snapshot.pointer import Pointer, manifest_of


class ModelForecasts:
    """The forecasts of the snapshot that a home serves, made anew by its bundle on one core."""

    def __init__(self, home: Home) -> None:
        manifest = manifest_of(home, Pointer.read(home).snapshot)
        bundle = Bundle.load(home.bundles_dir / manifest.bundle_id)
        self.horizon = manifest.horizon
        panel = load_panel(
            home, cutoff=manifest.origin, horizon=bundle.config.horizon, version=manifest.data_version
        )
        torch.set_num_threads(1)
        self._network = Forecaster(bundle, "cpu", 1).network
        self._tensors = build_tensors(
            panel, bundle.config, bundle.schema, torch.device("cpu"), horizon=bundle.config.horizon
        )
        self._lift_GH = prior_lift(panel, bundle.schema.events, self.horizon)
        self._group_S = panel.events.group_S
        self._n_periods, self._integer = panel.n_periods, bundle.schema.integer
        columns = (panel.keys.item.tolist(), panel.keys.location.tolist(), panel.keys.platform.tolist())
        self._rows = {key: row for row, key in enumerate(zip(*columns, strict=True))}

    def of(self, keys: Sequence[tuple[str, str, str]]) -> tuple[Floats, Floats]:
        """mean_RH and quantiles_RHQ of R series, (item, location, platform) each. KeyError for one that is
        not known."""
        series_R = torch.tensor([self._rows[key] for key in keys])
        means, quantiles = [], []
        for part in score(self._network, self._tensors, self._n_periods, 1, series_R):
            means.append(part.mean_BOH[:, 0, : self.horizon].numpy())
            quantiles.append(part.quantiles_BOHQ[:, 0, : self.horizon].numpy())
        mean_RH, quantiles_RHQ = np.concatenate(means), np.concatenate(quantiles)
        if self._lift_GH is not None:
            lift_RH = self._lift_GH[self._group_S[series_R.numpy()]]
            mean_RH, quantiles_RHQ = mean_RH * lift_RH, quantiles_RHQ * lift_RH[:, :, None]
        return mean_RH, np.round(quantiles_RHQ) if self._integer else quantiles_RHQ
