"""FreshRetailNet is scored on days in stock; its rows carry the source's keys."""

from dataclasses import replace
from datetime import date

import numpy as np
import polars as pl
import pytest
from panels import make_panel, point_forecasts, random_forecasts

from forecast.errors import InputError
from forecast.evaluation.freshretail import freshretail_rows, score_freshretail
from forecast.evaluation.rows import forecast_rows


def panel_with_stock():
    demand = np.tile([[2.0], [4.0]], (1, 12))
    stock = np.zeros((2, 12))
    stock[1, 10] = 0.25
    return make_panel(demand, stocked_out_ST=stock, items=["38", "7"], locations=["0", "12"])


def test_only_days_in_stock_count():
    panel = panel_with_stock()
    forecasts = point_forecasts(panel.until(10), [[3, 2], [1, 4]])
    scores = score_freshretail(panel, forecasts)
    assert scores.in_stock.n == 3
    assert scores.in_stock.wape == pytest.approx(1 / 8)
    assert scores.in_stock.wql == pytest.approx(1 / 8)
    assert scores.n_stocked_out == 1
    assert scores.shortfall == pytest.approx(3 / 4)  # 4 sold before the shelf was empty, 1 forecast


def test_other_panels_are_refused():
    panel = panel_with_stock()
    forecasts = point_forecasts(panel.until(10), [[3, 2], [1, 4]])
    with pytest.raises(InputError, match="days with stock-outs recorded"):
        score_freshretail(replace(panel, stocked_out_ST=None), forecasts)
    with pytest.raises(InputError, match="row for row"):
        score_freshretail(panel.select(np.array([1, 0])), forecasts)
    with pytest.raises(InputError, match="origin: expected a day before the panel's last"):
        score_freshretail(panel, point_forecasts(panel, [[3, 2], [1, 4]]))


def test_rows_carry_the_keys_of_the_source():
    panel = panel_with_stock()
    rows = freshretail_rows(random_forecasts(panel, 3))
    assert rows.columns == ["store_id", "product_id", "date", "mean", "quantiles"]
    assert rows.select("store_id", "product_id").row(3) == (12, 7)
    assert rows["date"].to_list()[:3] == [date(2024, 1, 13), date(2024, 1, 14), date(2024, 1, 15)]
    assert rows["quantiles"].list.len().unique().to_list() == [17]


def test_rows_of_hours_start_where_the_period_starts():
    panel = make_panel(np.ones((1, 24)), period="hour")
    rows = forecast_rows(random_forecasts(panel, 2))
    assert rows.schema["time"] == pl.Datetime("us")
    assert [time.hour for time in rows["time"]] == [0, 1]
    assert rows.row(0)[:3] == ("item0", "store", "in-store")
    assert (np.diff(np.array(rows["quantiles"].to_list()), axis=1) >= 0).all()
