"""How periods are written."""

from __future__ import annotations

from datetime import datetime

import numpy as np
import pytest

from forecast.times import iso


@pytest.mark.parametrize("unit", ["D", "h", "m", "s", "us", "ns"])
def test_a_day_is_written_without_its_hour_whatever_it_is_counted_in(unit: str) -> None:
    assert iso(np.datetime64("2026-11-11", unit)) == "2026-11-11"


def test_an_hour_is_written_even_where_its_minutes_are_nought() -> None:
    written = "2026-11-11T20:00:00"
    assert [iso(time) for time in (np.datetime64(written), datetime(2026, 11, 11, 20), written)] == [
        written
    ] * 3
    assert iso("2026-11-11T10:00:00") == "2026-11-11T10:00:00"
