"""Windows against a plain reference that loops over series and days."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
import torch

from forecast.demand.panel import Panel, Period
from forecast.model import ensemble
from forecast.model.ensemble import Ensemble
from forecast.model.groups import NEW_ITEM, NEW_PLACE, OWN
from forecast.model.schema import FeatureSchema
from forecast.model.tensors import PanelTensors, build_tensors
from forecast.model.windows import SPANS, Windows, gather_targets, gather_windows
from tests.forecast.model.conftest import small_config, small_panel
from tests.support.panels import make_panel


@pytest.fixture
def tensors(panel: Panel) -> PanelTensors:
    config = small_config(panel.period)
    schema = FeatureSchema.fit(panel, config.horizon)
    return build_tensors(panel, config, schema, torch.device("cpu"), horizon=0)


def seen(panel: Panel, series: int) -> np.ndarray:
    """Share of each period of one series that was in stock; 0 where missing or hardly seen."""
    assert panel.stocked_out_ST is not None
    share = np.where(np.isfinite(panel.demand_ST[series]), 1 - panel.stocked_out_ST[series].astype(float), 0)
    return np.where(share < 0.1, 0, share)


def in_stock(panel: Panel, series: int) -> np.ndarray:
    """Sales of one series, NaN where they tell nothing of the level of demand."""
    return np.where(seen(panel, series) > 0, panel.demand_ST[series].astype(float), np.nan)


def without_spikes(demand: np.ndarray, recent: int, year: int) -> np.ndarray:
    """A period counts for at most 8 times the mean before it or 4 times the mean sale before it."""
    filled, result = np.nan_to_num(demand), demand.copy()
    for t in range(len(demand)):
        before = filled[max(t - year, 0) : t]
        if (before > 0).sum() >= 8:
            most = max(8 * filled[max(t - recent, 0) : t].sum() / recent, 4 * before[before > 0].mean())
            result[t] = min(demand[t], most) if np.isfinite(demand[t]) else np.nan
    return result


def mean_before(demand: np.ndarray, share: np.ndarray, end: int, n: int) -> tuple[float, float]:
    """Sales over what was seen, and how much that was."""
    past = slice(max(end - n, 0), max(end, 0))
    total = float(share[past].sum())
    return float(np.nansum(demand[past])) / max(total, 1), total


def prior_of(panel: Panel, levels: np.ndarray, shares: np.ndarray, s: int, end: int, n: int) -> float:
    """The department's mean, times the item's and the place's over it, each drawn to the wider one."""
    first = next(iter(panel.statics.values()))
    department, here = first == first[s], panel.keys.location == panel.keys.location[s]

    def mean(rows: np.ndarray, wider: float | None) -> float:
        past = slice(max(end - n, 0), max(end, 0))
        total, count = float(np.nansum(levels[rows, past])), float(shares[rows, past].sum())
        return total / max(count, 1) if wider is None else (total + 7 * wider) / (count + 7)

    of_department = mean(department, mean(np.ones_like(department), None))
    of_item = mean(panel.keys.item == panel.keys.item[s], of_department)
    return of_item * mean(department & here, of_department) / max(of_department, 1e-6)


def test_scale_and_trailing_means_are_those_of_a_plain_loop(panel: Panel, tensors: PanelTensors) -> None:
    config = small_config(panel.period)
    end = panel.n_periods - 3
    series = torch.tensor([0, 5, 11])
    windows = gather_windows(tensors, series, torch.full((3,), end), config, config.origins)
    recent, year = min(8 * config.patch, panel.n_periods), min(config.year, panel.n_periods)
    levels = np.stack([without_spikes(in_stock(panel, s), recent, year) for s in range(panel.n_series)])
    shares = np.stack([seen(panel, s) for s in range(panel.n_series)])
    for b, s in enumerate(series.tolist()):
        demand, share = levels[s], shares[s]
        n_patches = config.context + config.origins - 1
        for w in range(n_patches):
            stop = end - config.patch * (n_patches - 1 - w)
            short, n = mean_before(demand, share, stop, config.scale * config.patch)
            longer, m = mean_before(demand, share, stop, 4 * config.scale * config.patch)
            prior = prior_of(panel, levels, shares, s, stop, config.scale * config.patch)
            longer = (longer * m + 7 * prior) / (m + 7)
            scale = (short * n + longer * 7 + 0.02) / (n + 7)
            assert float(windows.scale_BW[b, w]) == pytest.approx(scale, rel=1e-3)
            for m, span in enumerate(SPANS):
                mean, count = mean_before(demand, share, stop, span * config.patch)
                expected = math.log((mean + 0.1 * scale + 1e-3) / (1.1 * scale + 1e-3)) if count else 0.0
                assert float(windows.means_BWM[b, w, m]) == pytest.approx(expected, abs=1e-3)


def test_targets_are_the_periods_after_each_origin_and_stop_at_the_limit(
    panel: Panel, tensors: PanelTensors
) -> None:
    config = small_config(panel.period)
    end, limit = panel.n_periods - 2 * config.patch, panel.n_periods - config.patch
    windows = gather_windows(tensors, torch.arange(12), torch.full((12,), end), config, config.origins)
    targets = gather_targets(windows, config, config.origins, limit, slice(0, config.horizon))
    for o in range(config.origins):
        first = end - config.patch * (config.origins - 1 - o)
        for h in range(config.horizon):
            t = first + h
            if t >= limit:
                assert not targets.counted_BOH[:, o, h].any()
                continue
            truth = panel.demand_ST[:, t]
            np.testing.assert_allclose(targets.demand_BOH[:, o, h].numpy(), np.nan_to_num(truth), rtol=5e-4)
            counted = np.isfinite(truth) & (np.nan_to_num(panel.demand_ST[:, :first]).sum(1) > 0)
            assert (targets.counted_BOH[:, o, h].numpy() <= np.isfinite(truth)).all()
            assert (targets.counted_BOH[:, o, h].numpy() >= counted).all()


def test_no_feature_of_an_origin_reads_what_came_after_it(panel: Panel, network: Ensemble) -> None:
    config = network.config
    cut = panel.n_periods - 2 * config.patch - 1
    poisoned_demand = panel.demand_ST.copy()
    poisoned_demand[:, cut:] = 1e4
    stock = panel.stocked_out_ST
    assert stock is not None
    poisoned_stock = stock.copy()
    poisoned_stock[:, cut:] = 1.0
    poisoned = Panel(**{**panel.__dict__, "demand_ST": poisoned_demand, "stocked_out_ST": poisoned_stock})
    schema = FeatureSchema.fit(panel, config.horizon)
    forecasts = []
    for source in (panel, poisoned):
        whole = build_tensors(source, config, schema, torch.device("cpu"), horizon=0)
        windows = gather_windows(whole, torch.arange(12), torch.full((12,), cut), config, 2)
        forecasts.append(network(whole, windows, 2))
    assert torch.equal(forecasts[0].mean_BOH, forecasts[1].mean_BOH)
    assert torch.equal(forecasts[0].quantiles_BOHQ, forecasts[1].quantiles_BOHQ)


@pytest.mark.parametrize(
    ("period", "horizon"),
    [("day", 360), ("day", 361), ("day", 362), ("day", 364), ("week", 52), ("hour", 30)],
)
def test_the_level_around_an_analog_ends_before_the_origin(period: Period, horizon: int) -> None:
    """A horizon of about a year asks for the analogs nearest to the origin, a few periods around each."""
    config = dataclasses.replace(small_config(period), horizon=horizon)
    n = {"day": 1100, "week": 160, "hour": 600}[period]
    cut = n - 3 * config.patch
    demand = np.random.default_rng(0).poisson(5.0, (3, n)).astype(np.float32)
    demand[:, 0] = 50.0  # the largest before and after, so that all is stored in the same unit
    changed = demand.copy()
    changed[:, cut:] = 40.0
    # Two of an event, one horizon apart at a year's distance: the nearest memory there can be.
    events = {"sale/day": [cut - 1, cut - 1 + horizon]} if abs(horizon - config.year) < 5 else {}
    levels = []
    for values in (demand, changed):
        panel = make_panel(values, period=period, events=events)
        schema = FeatureSchema.fit(panel.until(cut), horizon)
        whole = build_tensors(panel, config, schema, torch.device("cpu"), horizon=0)
        windows = gather_windows(whole, torch.arange(3), torch.tensor([cut]), config, 1)
        levels.append(windows)
    for name in Windows._fields:
        if name.startswith("analog_"):
            assert torch.equal(getattr(levels[0], name), getattr(levels[1], name)), name
    if config.year < cut:
        assert levels[0].analog_seen_BD[:, -horizon:].any()


def test_an_origin_answers_the_same_alone_and_among_many(panel: Panel, network: Ensemble) -> None:
    """Forking sequences are a speed-up: the last origin of a window equals that origin asked by itself."""
    config = network.config
    schema = FeatureSchema.fit(panel, config.horizon)
    whole = build_tensors(panel, config, schema, torch.device("cpu"), horizon=0)
    end = panel.n_periods - 2 * config.patch
    ends = torch.full((12,), end)
    many = network(
        whole, gather_windows(whole, torch.arange(12), ends, config, config.origins), config.origins
    )
    alone = network(whole, gather_windows(whole, torch.arange(12), ends, config, 1), 1)
    torch.testing.assert_close(many.mean_BOH[:, -1:], alone.mean_BOH)
    assert (many.quantiles_BOHQ.diff(dim=-1) >= 0).all()


def test_a_spike_in_the_context_does_not_set_the_level_after_it() -> None:
    panel = small_panel("day")
    config = small_config("day")
    schema = FeatureSchema.fit(panel, config.horizon)
    spiked = panel.demand_ST.copy()
    day = panel.n_periods - 10
    spiked[:, day] = 50 * np.nanmax(panel.demand_ST[:, :day], axis=1)
    scales = []
    for demand in (panel.demand_ST, spiked):
        source = dataclasses.replace(panel, demand_ST=demand, stocked_out_ST=None)
        whole = build_tensors(source, config, schema, torch.device("cpu"), horizon=0)
        windows = gather_windows(whole, torch.arange(12), torch.full((12,), panel.n_periods), config, 1)
        scales.append(windows.scale_BW[:, -1])
    assert (scales[1] < 1.5 * scales[0] + 0.1).all()


def test_some_steps_are_those_of_the_whole_horizon(panel: Panel, network: Ensemble) -> None:
    """Training asks for a part of the horizon at a time; it is the same forecast, and the same truth."""
    config = network.config
    schema = FeatureSchema.fit(panel, config.horizon)
    whole = build_tensors(panel, config, schema, torch.device("cpu"), horizon=0)
    ends = torch.full((12,), panel.n_periods - config.patch)
    windows = gather_windows(whole, torch.arange(12), ends, config, 3)
    member, part = network.members[0], slice(config.horizon // 2, config.horizon)
    every, some = member(whole, windows, 3), member(whole, windows, 3, part)
    torch.testing.assert_close(some.mean_BOH, every.mean_BOH[:, :, part])
    torch.testing.assert_close(some.quantiles_BOHQ, every.quantiles_BOHQ[:, :, part])
    truth = gather_targets(windows, config, 3, panel.n_periods, slice(0, config.horizon))
    cut = gather_targets(windows, config, 3, panel.n_periods, part)
    assert torch.equal(cut.demand_BOH, truth.demand_BOH[:, :, part])
    assert torch.equal(cut.counted_BOH, truth.counted_BOH[:, :, part])


def test_an_ensemble_is_the_average_of_its_members(
    panel: Panel, network: Ensemble, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ensemble, "has_bf16", lambda _device: False)
    config = network.config
    schema = FeatureSchema.fit(panel, config.horizon)
    whole = build_tensors(panel, config, schema, torch.device("cpu"), horizon=0)
    windows = gather_windows(whole, torch.arange(12), torch.full((12,), panel.n_periods), config, 1)
    network.level_H.fill_(1.5)
    one, other = (member(whole, windows, 1) for member in network.members)
    found = network(whole, windows, 1)
    assert not torch.allclose(one.mean_BOH, other.mean_BOH)
    torch.testing.assert_close(found.mean_BOH, 1.5 * (one.mean_BOH + other.mean_BOH) / 2)
    torch.testing.assert_close(found.quantiles_BOHQ, (one.quantiles_BOHQ + other.quantiles_BOHQ) / 2)


def test_hidden_history_leaves_no_trace(panel: Panel, network: Ensemble) -> None:
    """A window without history answers the same whatever the series sold, and is of its like's level."""
    config, schema = network.config, FeatureSchema.fit(panel, network.config.horizon)
    end = panel.n_periods - config.patch
    for kind in (OWN, NEW_ITEM, NEW_PLACE):
        forecasts = []
        for own in (1.0, 20.0):
            demand = panel.demand_ST.copy()
            demand[3] *= own
            source = dataclasses.replace(panel, demand_ST=demand)
            whole = build_tensors(source, config, schema, torch.device("cpu"), horizon=0)
            # Totals of all series over time, one of a dozen here, are no part of what is hidden.
            whole = dataclasses.replace(whole, lift_UT=torch.zeros_like(whole.lift_UT))
            row = torch.tensor([3])
            windows = gather_windows(whole, row, torch.tensor([end]), config, 2, torch.tensor([kind]))
            assert not windows.observed_BD.any()
            assert not windows.age_BW.any()
            forecasts.append(network(whole, windows, 2))
        torch.testing.assert_close(forecasts[0].mean_BOH, forecasts[1].mean_BOH, rtol=1e-3, atol=1e-4)
        assert float(forecasts[0].scale_BO.min()) > 0.01


def test_a_hidden_history_is_that_of_a_series_that_has_none() -> None:
    """What training shows as a new item, or a new location, is what a panel with one gives."""
    panel, config = small_panel("day"), small_config("day")
    schema = FeatureSchema.fit(panel, config.horizon)
    plain = build_tensors(panel, config, schema, torch.device("cpu"), horizon=0)
    end = torch.tensor([panel.n_periods])
    for kind, labels in ((NEW_ITEM, panel.keys.item), (NEW_PLACE, panel.keys.location)):
        demand = panel.demand_ST.copy()
        demand[labels == labels[3]] = np.nan
        new = dataclasses.replace(panel, demand_ST=demand)
        whole = build_tensors(new, config, schema, torch.device("cpu"), horizon=0)
        found = gather_windows(whole, torch.tensor([3]), end, config, 1)
        shown = gather_windows(plain, torch.tensor([3]), end, config, 1, torch.tensor([kind]))
        for name in ("demand_BD", "observed_BD", "age_BW", "means_BWM"):
            torch.testing.assert_close(getattr(found, name), getattr(shown, name))
        if kind == NEW_PLACE:
            torch.testing.assert_close(found.scale_BW, shown.scale_BW, rtol=0.3, atol=0.01)
            torch.testing.assert_close(found.past_lift_BDU[..., 0], shown.past_lift_BDU[..., 0])
