"""A model trained beside series without any demand forecasts them from their like, and is less sure of them.

One training serves all: a category never seen, a location that is new, and an item that is new.
"""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from forecast.demand.panel import Panel
from forecast.forecasts import Forecasts
from forecast.model.config import ModelConfig
from forecast.model.forecaster import Forecaster
from forecast.quantiles import LEVELS
from tests.support.panels import make_panel
from training.config import TrainingConfig
from training.fit import fit

CUT, HORIZON = 420, 14
SIZES = {"corner": 0.3, "market": 1.0, "mall": 3.0, "new": 1.0}
CATEGORIES = {"slow": 4.0, "fair": 16.0, "fast": 64.0}
NEW_ITEMS, NEVER_SEEN = ("slow-0", "fast-0"), ("toy-0", "toy-1")
Rows = NDArray[np.bool_]


@pytest.fixture(scope="module")
def panel() -> Panel:
    """Six items of each category in three stores: what an item sells, times the size of the store. No demand
    at all in the new store, of the new items, and of two items of another category."""
    random = np.random.default_rng(0)
    items = {f"{name}-{i}": level for name, level in CATEGORIES.items() for i in range(6)}
    items = {item: level * random.lognormal(0, 0.3) for item, level in items.items()}
    items |= dict.fromkeys(NEVER_SEEN, 1.0)
    pairs = [(item, store) for item in items for store in SIZES]
    level_S = np.array([items[item] * SIZES[store] for item, store in pairs])
    cold_S = np.array([store == "new" or item in NEW_ITEMS + NEVER_SEEN for item, store in pairs])
    demand_ST = random.poisson(level_S[:, None], (len(pairs), CUT)).astype(np.float32)
    return make_panel(
        np.where(cold_S[:, None], np.nan, demand_ST),
        statics={"category": [item.partition("-")[0] for item, _ in pairs]},
        items=[item for item, _ in pairs],
        locations=[store for _, store in pairs],
    )


@pytest.fixture(scope="module")
def forecasts(panel: Panel) -> Forecasts:
    model = ModelConfig(period="day", horizon=HORIZON, origins=12, channels=16, hidden=24)
    training = TrainingConfig(steps=160, epoch_steps=80, batch=32, warmup_steps=10, cold=0.3, device="cpu")
    return Forecaster(fit(panel, model=model, training=training), "cpu")(panel, HORIZON)


def rows_of(panel: Panel, *, items: tuple[str, ...] = (), store: str | None = None) -> Rows:
    rows: Rows = np.isin(panel.keys.item, items) if items else np.ones(panel.n_series, np.bool_)
    return rows & (panel.keys.location == store) if store else rows & (panel.keys.location != "new")


def level(panel: Panel, rows: Rows) -> float:
    """What these series sell in a period."""
    return float(np.nanmean(panel.demand_ST[rows]))


def check_near(found: np.floating, like: float, overall: float) -> None:
    """Nearer to the like than to everything, as ratios."""
    assert abs(np.log(found / like)) < abs(np.log(found / overall)), (found, like, overall)


def check_less_sure(panel: Panel, forecasts: Forecasts, rows: Rows) -> None:
    """The 80 % band, over the mean, is a quarter wider than those of warm series that sell as much."""
    low, high = (forecasts.quantiles_SHQ[..., LEVELS.index(q)].sum(1) for q in (0.1, 0.9))
    mean_S = forecasts.mean_SH.sum(1)
    width_S, warm_S = (high - low) / mean_S, ~panel.no_history_S
    for s in np.flatnonzero(rows):
        away = np.where(warm_S, np.abs(np.log(mean_S / mean_S[s])), np.inf)
        assert width_S[s] > 1.25 * np.median(width_S[np.argsort(away)[:5]])


@pytest.mark.parametrize("store", ["corner", "mall"])
def test_a_category_never_seen_has_the_level_of_its_location(
    panel: Panel, forecasts: Forecasts, store: str
) -> None:
    new = rows_of(panel, items=NEVER_SEEN, store=store)
    like, overall = level(panel, rows_of(panel, store=store)), level(panel, rows_of(panel))
    for mean in forecasts.mean_SH[new].mean(1):
        check_near(mean, like, overall)
    check_less_sure(panel, forecasts, new)


@pytest.mark.parametrize("item", ["slow-3", "fast-2", "fast-5"])
def test_a_known_item_at_a_new_location_has_its_level_elsewhere(
    panel: Panel, forecasts: Forecasts, item: str
) -> None:
    new = rows_of(panel, items=(item,), store="new")
    like, overall = level(panel, rows_of(panel, items=(item,))), level(panel, rows_of(panel))
    check_near(forecasts.mean_SH[new].mean(), like, overall)
    check_less_sure(panel, forecasts, new)


@pytest.mark.parametrize("item", NEW_ITEMS)
@pytest.mark.parametrize("store", ["corner", "market", "mall"])
def test_a_new_item_has_the_level_of_its_category_at_its_location(
    panel: Panel, forecasts: Forecasts, item: str, store: str
) -> None:
    new = rows_of(panel, items=(item,), store=store)
    others = tuple(f"{item.partition('-')[0]}-{i}" for i in range(1, 6))
    like, overall = level(panel, rows_of(panel, items=others, store=store)), level(panel, rows_of(panel))
    check_near(forecasts.mean_SH[new].mean(), like, overall)
    check_less_sure(panel, forecasts, new)


def test_the_warm_series_are_not_harmed(panel: Panel, forecasts: Forecasts) -> None:
    warm = ~panel.no_history_S
    truth = np.nanmean(panel.demand_ST[warm], axis=1)
    assert np.abs(np.log(forecasts.mean_SH[warm].mean(1) / truth)).max() < np.log(1.5)
