"""What the peers share: their answer, how it becomes `Forecasts`, and frames as the libraries want them.

Every peer forecasts the mean and the 17 quantiles of each series. The last steps are the same for all, ours
included where they apply: quantiles are sorted, cut at 0 and, where demand comes in whole units, rounded;
series are coupled by `forecast.model.coupling`, with the places of the truth in the peer's own past forecasts
as templates.

Letters: S series, T history, H horizon, Q quantile levels, N templates (past origins), K scenarios.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final, Protocol

import numpy as np

from forecast.demand.panel import Floats, Panel
from forecast.forecasts import Forecasts
from forecast.model.coupling import scenario_ranks

N_SCENARIOS: Final = 100
"""As many as our model has by default."""
SEED: Final = 0


@dataclass(frozen=True, kw_only=True)
class Marginals:
    """What a peer answers: forecasts of every series by itself.

    places_NSH: where the truth fell within the peer's own forecasts at N past origins, 0..1 (N may be 0).
    facts: what to tell beside the scores (steps done, settings that it chose).
    """

    mean_SH: Floats
    quantiles_SHQ: Floats
    places_NSH: Floats
    facts: Mapping[str, float] = field(default_factory=dict)


class Peer(Protocol):
    """A forecaster of another library; a frozen dataclass, whose fields are its settings."""

    @property
    def libraries(self) -> tuple[str, ...]:
        """Distributions that it needs; their versions are part of what a saved forecast is known by."""

    def __call__(self, panel: Panel, horizon: int) -> Marginals:
        """Fit on the panel and forecast the `horizon` periods after it."""


def finish(panel: Panel, marginals: Marginals) -> Forecasts:
    """Marginals as joint forecasts."""
    quantiles_SHQ = np.maximum(np.sort(marginals.quantiles_SHQ, axis=2), 0.0).astype(np.float32)
    if whole_units(panel):
        np.round(quantiles_SHQ, out=quantiles_SHQ)
    generator = np.random.default_rng(SEED)
    places_NSH = marginals.places_NSH.reshape(-1, *marginals.mean_SH.shape)
    return Forecasts(
        period=panel.period,
        origin=panel.origin,
        keys=panel.keys,
        mean_SH=np.maximum(marginals.mean_SH, 0.0).astype(np.float32),
        quantiles_SHQ=quantiles_SHQ,
        ranks_SHK=scenario_ranks(places_NSH, N_SCENARIOS, generator),
    )


def whole_units(panel: Panel) -> bool:
    """Whether all demand of the panel's last year is whole."""
    recent = panel.demand_ST[:, -364:]
    recent = recent[np.isfinite(recent)]
    return bool(np.all(recent == np.round(recent)))


def residual_places(residual_SW: Floats, horizon: int, n_templates: int) -> Floats:
    """(N, S, H) templates from the residuals of the last W periods (NaN: none): blocks of H periods that end
    a week apart, each residual by its place among its series' own.
    """
    generator = np.random.default_rng(SEED)
    n_W = residual_SW.shape[1]
    present_SW = np.isfinite(residual_SW)
    # Ties (zeros sold, zeros expected) are broken at random.
    filled_SW = np.where(present_SW, residual_SW, np.inf)
    order_SW = np.lexsort((generator.random(residual_SW.shape, dtype=np.float32), filled_SW), axis=1)
    rank_SW = order_SW.argsort(axis=1)
    places_SW = (rank_SW + 0.5) / np.maximum(present_SW.sum(axis=1, keepdims=True), 1)
    places_SW = np.where(present_SW, places_SW, generator.random(residual_SW.shape)).astype(np.float32)
    n_blocks = max(min(n_templates, (n_W - horizon) // 7 + 1), 0)
    ends = [n_W - 7 * i for i in range(n_blocks)]
    blocks = [places_SW[:, end - horizon : end] for end in ends]
    return np.stack(blocks) if blocks else np.zeros((0, len(residual_SW), horizon), np.float32)


def unevenness(demand_ST: Floats, origin: int) -> Floats:
    """(S,) variance over mean of the last 13 weeks before an origin; 1 where nothing is known."""
    window = demand_ST[:, max(origin - 91, 0) : origin].astype(np.float64)
    present = np.isfinite(window)
    n_S = np.maximum(present.sum(axis=1), 1)
    mean_S = np.sum(window, axis=1, where=present) / n_S
    variance_S = np.sum((window - mean_S[:, None]) ** 2, axis=1, where=present) / n_S
    ratio_S = np.divide(variance_S, mean_S, out=np.ones_like(mean_S), where=mean_S > 0)
    return ratio_S.astype(np.float32)


def tail(panel: Panel, n_periods: int) -> Panel:
    """The panel without what lies further back than its last `n_periods` observed periods."""
    first = max(panel.n_periods - n_periods, 0)
    stock_ST = panel.stocked_out_ST
    return replace(
        panel,
        start=panel.time(first),
        demand_ST=panel.demand_ST[:, first:],
        stocked_out_ST=None if stock_ST is None else stock_ST[:, first:],
        known={name: values[:, first:] for name, values in panel.known.items()},
        events=replace(panel.events, intensity_GLE=panel.events.intensity_GLE[:, first:]),
    )
