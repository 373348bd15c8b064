"""Events that a model never saw: their lift multiplies its forecast, their like acts in their stead."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from forecast.demand.panel import EventGrid, Panel
from forecast.errors import InputError
from forecast.model.calendar import analog_periods
from forecast.model.explanation import explain
from forecast.model.forecaster import Forecaster
from forecast.model.priors import check_likes, without_model, without_prior
from tests.forecast.model.conftest import small_config
from tests.forecast.model.test_explanation import wild_forecaster
from tests.support.panels import make_panel
from training.features import check_events

T, H = 500, 10
LIKE = {"flash": "sale"}


@pytest.fixture(scope="module")
def panel() -> Panel:
    """Four series; a sale in the past, a new kind `flash` three and four days after the origin."""
    demand = np.random.default_rng(0).poisson(5.0, (4, T)).astype(np.float32)
    demand[:, [100, 300]] *= 6
    return make_panel(demand, events={"sale/day": [100, 300], "flash/day": [T + 2, T + 3]})


@pytest.fixture(scope="module")
def forecaster(panel: Panel) -> Forecaster:
    return wild_forecaster(panel, small_config("day"))


def with_events(panel: Panel, **changes: object) -> Panel:
    return replace(panel, events=replace(panel.events, **changes))


def lifted(panel: Panel, lift: float, channel: str = "flash/day") -> Panel:
    """The panel with that multiple wherever the channel is on."""
    events = panel.events
    lift_GLE = np.full_like(events.intensity_GLE, np.nan)
    e = events.names.index(channel)
    lift_GLE[..., e] = np.where(events.intensity_GLE[..., e] > 0, lift, np.nan)
    return with_events(panel, lift_GLE=lift_GLE)


def test_a_new_kind_alone_has_no_effect(panel: Panel, forecaster: Forecaster) -> None:
    assert forecaster.bundle.schema.events == ("sale/day",)
    without = with_events(panel, names=("sale/day",), intensity_GLE=panel.events.intensity_GLE[..., :1])
    np.testing.assert_array_equal(forecaster(panel, H).mean_SH, forecaster(without, H).mean_SH)


def test_a_lift_multiplies_mean_and_quantiles_on_its_days_alone(panel: Panel, forecaster: Forecaster) -> None:
    whole = replace(forecaster.bundle, schema=replace(forecaster.bundle.schema, integer=False))
    exact = Forecaster(whole, "cpu")
    base, found = exact(panel, H), exact(lifted(panel, 4.0), H)
    factor = np.ones(H)
    factor[2:4] = 4.0
    np.testing.assert_allclose(found.mean_SH, base.mean_SH * factor, rtol=1e-6)
    np.testing.assert_allclose(found.quantiles_SHQ, base.quantiles_SHQ * factor[:, None], rtol=1e-6)


def test_a_lift_touches_the_series_of_its_event_alone(panel: Panel, forecaster: Forecaster) -> None:
    two = lifted(panel, 4.0).events
    assert two.lift_GLE is not None
    grid = np.concatenate([two.intensity_GLE, two.intensity_GLE * [1, 0]]).astype(np.float32)
    lift = np.concatenate([two.lift_GLE, np.full_like(two.lift_GLE, np.nan)])
    split = with_events(
        panel, intensity_GLE=grid, lift_GLE=lift, group_S=np.array([0, 1, 0, 1], dtype=np.int32)
    )
    ratio = forecaster(split, H).mean_SH / forecaster(panel, H).mean_SH
    np.testing.assert_allclose(ratio[:, 2], [4, 1, 4, 1], rtol=1e-5)


def test_kinds_multiply_and_phases_of_a_kind_do_not(panel: Panel, forecaster: Forecaster) -> None:
    names = ("sale/day", "flash/day", "flash/warm-up", "fair/day")
    grid = np.zeros((1, T + 60, 4), np.float32)
    grid[0, 300, 0] = grid[0, T + 2, 1:] = 1
    lift = np.full_like(grid, np.nan)
    lift[0, T + 2] = (9, 4, 0.5, 3)  # what is said of a kind that the model knows counts for nothing
    events = EventGrid(names=names, intensity_GLE=grid, group_S=panel.events.group_S)
    base, found = replace(panel, events=events), replace(panel, events=replace(events, lift_GLE=lift))
    ratio = forecaster(found, H).mean_SH / forecaster(base, H).mean_SH
    np.testing.assert_allclose(ratio[:, 2], 12, rtol=1e-5)
    np.testing.assert_allclose(ratio[:, 3], 1, rtol=1e-5)


def test_once_trained_on_a_kind_its_prior_is_ignored(panel: Panel) -> None:
    past = panel.events.intensity_GLE.copy()
    past[0, 200, 1] = 1.0
    seen = with_events(panel, intensity_GLE=past)
    forecaster = wild_forecaster(seen, small_config("day"))
    assert "flash/day" in forecaster.bundle.schema.events
    plain = forecaster(seen, H).mean_SH
    np.testing.assert_array_equal(forecaster(lifted(seen, 4.0), H).mean_SH, plain)
    np.testing.assert_array_equal(forecaster(with_events(seen, like=LIKE), H).mean_SH, plain)


def test_a_like_kind_has_the_response_and_the_memory_of_that_kind(
    panel: Panel, forecaster: Forecaster
) -> None:
    """The other kind's own event, a year after its last, is forecast as one that is like it in its place."""
    year = np.zeros((1, T + 60, 2), np.float32)
    year[0, [T + 2 - 364, T + 2], 0] = 1
    own = with_events(panel, intensity_GLE=year)
    year = year.copy()
    year[0, T + 2] = (0, 1)
    like = with_events(panel, intensity_GLE=year, like=LIKE)
    np.testing.assert_array_equal(forecaster(like, H).mean_SH, forecaster(own, H).mean_SH)
    alone = forecaster(replace(like, events=replace(like.events, like={})), H).mean_SH
    assert not np.allclose(forecaster(like, H).mean_SH, alone)


def test_the_memory_of_a_like_event_is_the_last_event_of_that_kind() -> None:
    own, borrowed = np.zeros((1, 900, 1), np.float32), np.zeros((1, 900, 1), np.float32)
    own[0, [100, 464, 828], 0] = 1
    borrowed[0, [600, 601, 470], 0] = 1
    analog = analog_periods(own, least=28, year=364, reach=14, borrowed_GLE=borrowed)
    assert analog[0, 600] == 464
    assert analog[0, 601] == 465
    assert analog[0, 590] == 454
    assert analog[0, 614] == 478
    assert analog[0, 620] == 620 - 364
    assert analog[0, 470] == 100  # the one six days before was not known a horizon ahead
    assert analog[0, 828] == 464  # what borrows is no memory of the kind itself


def test_an_explanation_sums_to_the_lifted_forecast(panel: Panel, forecaster: Forecaster) -> None:
    found = explain(forecaster, lifted(panel, 4.0), [2, 0], H)
    base = explain(forecaster, panel, [2, 0], H)
    np.testing.assert_allclose(found.mean_SH, forecaster(lifted(panel, 4.0), H).mean_SH[[2, 0]], rtol=1e-5)
    more = found.parts_SHP - base.parts_SHP
    event = found.names.index("event")
    np.testing.assert_allclose(more[:, 2:4, event], 3 * base.mean_SH[:, 2:4], rtol=1e-5)
    np.testing.assert_allclose(np.delete(more, event, axis=2), 0, atol=1e-6)


def test_a_like_that_the_model_does_not_know_is_named_with_what_is_near(panel: Panel) -> None:
    with pytest.raises(
        InputError, match=r"like of the event kind flash: .*\(sale\).*'sales'; did you mean sale"
    ):
        check_likes(with_events(panel, like={"flash": "sales"}), ("sale/day",), H)
    check_likes(with_events(panel, like=LIKE), ("sale/day",), H)
    check_likes(with_events(panel, like={"flash": "sales"}), ("sale/day",), 2)  # not in these two days
    check_likes(with_events(panel, like={"flash": "sales"}), ("sale/day", "flash/day"), H)


def test_what_has_no_prior_is_named(panel: Panel) -> None:
    known = ("sale/day",)
    assert without_prior(panel, known, H) == ("flash",)
    assert without_prior(panel, known, 2) == ()
    assert without_prior(panel, (*known, "flash/day"), H) == ()
    assert without_prior(panel, (*known, "flash/after"), H) == ("flash (day)",)
    assert without_prior(lifted(panel, 4.0), known, H) == ()
    assert without_prior(with_events(panel, like=LIKE), known, H) == ()


def test_a_multiple_of_one_is_a_thing_said(panel: Panel, forecaster: Forecaster) -> None:
    """A planner who expects nothing of an event has said so; the forecast is as without it."""
    assert without_prior(lifted(panel, 1.0), ("sale/day",), H) == ()
    np.testing.assert_array_equal(forecaster(lifted(panel, 1.0), H).mean_SH, forecaster(panel, H).mean_SH)


def phased(panel: Panel, like: dict[str, str]) -> Panel:
    """The panel with a phase of the new kind besides, which the old kind never had."""
    grid = np.zeros((1, T + 60, 3), np.float32)
    grid[..., :2] = panel.events.intensity_GLE[:, : T + 60]
    grid[0, T : T + 2, 2] = 1
    return with_events(
        panel, names=("sale/day", "flash/day", "flash/pre-sale"), intensity_GLE=grid, like=like
    )


def test_a_like_kind_borrows_phase_by_phase_and_what_lends_nothing_is_named(
    panel: Panel, forecaster: Forecaster
) -> None:
    known = ("sale/day",)
    assert without_model(phased(panel, LIKE), known, H) == ("flash (pre-sale) like sale",)
    assert without_model(phased(panel, LIKE), (*known, "sale/pre-sale"), H) == ()
    assert without_model(phased(panel, LIKE), (*known, "flash/pre-sale"), H) == ()
    assert without_model(phased(panel, {}), known, H) == ()
    assert without_model(with_events(panel, like=LIKE), known, H) == ()
    day_alone = forecaster(with_events(panel, like=LIKE), H).mean_SH
    np.testing.assert_array_equal(forecaster(phased(panel, LIKE), H).mean_SH, day_alone)


def test_phases_that_borrow_nothing_are_told_on_stderr(
    panel: Panel, capsys: pytest.CaptureFixture[str]
) -> None:
    check_events(phased(panel, LIKE), ("sale/day",), H)
    reason = "because the kind that they are like never had them"
    assert capsys.readouterr().err == (
        f"phases without effect on the forecasts, {reason}: flash (pre-sale) like sale\n"
    )
