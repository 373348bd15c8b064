"""New series: forecast as publishing would forecast them if they stood in the panel without history."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from forecast.demand.panel import Panel, SeriesKeys
from forecast.model.forecaster import Forecaster
from forecast.planning.live import LiveModel
from forecast.planning.newseries import NewSeries, NewSeriesRows
from tests.support.live_home import wild_bundle
from tests.support.lively import HALF, Lively


def with_series(panel: Panel, new: NewSeries, labels: dict[str, str]) -> Panel:
    """The panel and the new series, without any demand."""
    n = panel.n_periods
    known = {}
    for name, values in panel.known.items():
        row = np.full((1, values.shape[1]), np.nan, np.float32)
        if name in new.plans:
            row[0, n : n + 14] = new.plans[name]
        known[name] = np.concatenate([values, row])
    empty = np.full((1, n), np.nan, np.float32)
    stock = panel.stocked_out_ST
    return replace(
        panel,
        keys=SeriesKeys(
            item=np.append(panel.keys.item, new.item),
            location=np.append(panel.keys.location, new.location),
            platform=np.append(panel.keys.platform, new.platform),
        ),
        demand_ST=np.concatenate([panel.demand_ST, empty]),
        stocked_out_ST=None if stock is None else np.concatenate([stock, empty]),
        known=known,
        statics={name: np.append(values, labels[name]) for name, values in panel.statics.items()},
        events=replace(panel.events, group_S=np.append(panel.events.group_S, np.int32(0))),
    )


@pytest.mark.parametrize("item", ["known", "brand-new"])
@pytest.mark.parametrize("location", ["known", "new-shop"])
@pytest.mark.parametrize("category", ["known", "never seen"])
def test_it_is_as_if_it_were_published(lively: Lively, item: str, location: str, category: str) -> None:
    panel, keys = lively.panel, lively.panel.keys
    labels = {
        name: str(values[5]) if category == "known" else category for name, values in panel.statics.items()
    }
    new = NewSeries(
        item=str(keys.item[2]) if item == "known" else item,
        location=str(keys.location[9]) if location == "known" else location,
        platform=str(keys.platform[9]),
        labels=labels,
        plans={
            "price": np.full(14, 7.5, np.float32),
            "discount": np.linspace(0, 0.5, 14, dtype=np.float32),
        },
    )
    (answer,) = lively.live.answer([NewSeriesRows(lively.live).row(new)])
    forecasts = lively.forecaster(with_series(panel, new, labels), 14)
    np.testing.assert_allclose(answer.mean_RH[0], forecasts.mean_SH[-1], rtol=HALF)
    assert np.mean(answer.quantiles_RHQ[0] != forecasts.quantiles_SHQ[-1]) < 0.02


def test_labels_that_are_left_out_are_those_of_the_item(lively: Lively) -> None:
    keys, statics = lively.panel.keys, lively.panel.statics
    rows = NewSeriesRows(lively.live)
    new = NewSeries(item=str(keys.item[2]), location="new-shop", platform=str(keys.platform[2]))
    of_item = [values[keys.item == new.item] for values in statics.values()]
    shared = {
        name: str(values[0]) for name, values in zip(statics, of_item, strict=True) if len({*values}) == 1
    }
    said, other = replace(new, labels=shared), replace(new, labels=dict.fromkeys(statics, "never seen"))
    assert 0 < len(shared) < len(statics)
    unsaid, told, differently = lively.live.answer([rows.row(new), rows.row(said), rows.row(other)])
    assert np.array_equal(unsaid.mean_RH, told.mean_RH)
    assert not np.array_equal(unsaid.mean_RH, differently.mean_RH)


def test_plans_count_and_their_end_may_be_unknown(lively: Lively) -> None:
    rows = NewSeriesRows(lively.live)
    new = NewSeries(item="brand-new", location="new-shop", platform="nowhere")
    discount_H = np.full(14, 0.5, np.float32)
    discount_H[5:] = np.nan
    plain, planned = lively.live.answer(
        [rows.row(new), rows.row(replace(new, plans={"discount": discount_H}))]
    )
    assert not np.isclose(plain.mean_RH[0, :5], planned.mean_RH[0, :5]).all()
    assert np.array_equal(plain.mean_RH[0, 5:], planned.mean_RH[0, 5:])


def test_a_panel_without_labels_or_features_has_new_series_too(lively: Lively) -> None:
    panel = replace(lively.panel, statics={}, known={}, stocked_out_ST=None)
    bundle = wild_bundle(panel)
    live = LiveModel(bundle, panel, torch.device("cpu"), ())
    new = NewSeries(
        item="brand-new", location=str(panel.keys.location[0]), platform=str(panel.keys.platform[0])
    )
    (answer,) = live.answer([NewSeriesRows(live).row(new)])
    forecasts = Forecaster(bundle, "cpu")(with_series(panel, new, {}), 14)
    np.testing.assert_allclose(answer.mean_RH[0], forecasts.mean_SH[-1], rtol=HALF)
