"""Every peer once, on a small market; skipped where its library is not installed (extra `peers`)."""

from importlib.util import find_spec

import numpy as np
import pytest
from panels import make_panel

from forecast.demand.panel import Panel
from forecast.errors import InputError
from tests.bench.peers.common import finish
from tests.bench.peers.registry import NEEDS, make_peer
from tests.bench.peers.task import as_known

HORIZON = 7
pytestmark = pytest.mark.filterwarnings("default")  # the libraries' own warnings are none of ours


def market(*, stock: bool = False) -> Panel:
    """Twelve series of 300 days that sell three times as much at week-ends; one launched late."""
    random = np.random.default_rng(0)
    n = 300 + HORIZON
    weekend = (np.arange(n) % 7) > 4
    demand = random.poisson(np.where(weekend, 12.0, 4.0), (12, n)).astype(np.float32)
    demand[3, :200] = np.nan
    stocked_out = (random.random((12, n)) < 0.1).astype(np.float32) if stock else None
    demand = demand if stocked_out is None else np.where(stocked_out > 0, 0.0, demand)
    return make_panel(
        demand,
        stocked_out_ST=stocked_out,
        price_SP=random.uniform(1, 3, (12, n)),
        items=[f"item {s % 4}" for s in range(12)],
        locations=[f"shop {s // 4}" for s in range(12)],
        statics={"dept": [f"d{s % 2}" for s in range(12)], "store": [f"shop {s // 4}" for s in range(12)]},
        events={"fair/day": [100, 200, 303], "gala/day": [50, 250]},
    )


@pytest.mark.parametrize("stock", [False, True], ids=["in stock", "stock-outs"])
@pytest.mark.parametrize("name", NEEDS)
def test_a_peer_forecasts_the_weekly_rhythm(name: str, stock: bool) -> None:
    if find_spec(NEEDS[name]) is None:
        pytest.skip(f"{NEEDS[name]} is not installed (extra peers)")
    panel = as_known(market(stock=stock), 300, HORIZON)
    peer, files = make_peer(name, minutes=0.2)
    answer = peer(panel, HORIZON)
    assert answer.quantiles_SHQ.shape == (12, HORIZON, 17)
    assert answer.places_NSH.shape[1:] == (12, HORIZON)
    assert len(answer.places_NSH) >= 1
    assert ((answer.places_NSH >= 0) & (answer.places_NSH <= 1)).all()
    forecasts = finish(panel, answer)
    assert np.isfinite(forecasts.mean_SH).all()
    assert np.isfinite(forecasts.quantiles_SHQ).all()
    assert files
    enough = answer.facts.get("trees", 0) > 30 if "trees" in answer.facts else "steps" not in answer.facts
    if enough:  # seconds teach a network, or trees on a busy machine, nothing
        weekend = (np.arange(300, 300 + HORIZON) % 7) > 4
        assert forecasts.mean_SH[:, weekend].mean() > 1.5 * forecasts.mean_SH[:, ~weekend].mean()


@pytest.mark.parametrize("name", ["lightgbm", "mlforecast", "nhits"])
def test_too_short_a_history_is_refused(name: str) -> None:
    if find_spec(NEEDS[name]) is None:
        pytest.skip(f"{NEEDS[name]} is not installed (extra peers)")
    peer, _ = make_peer(name, minutes=0.2)
    with pytest.raises(InputError, match="history"):
        peer(as_known(market(), 15, HORIZON), HORIZON)
