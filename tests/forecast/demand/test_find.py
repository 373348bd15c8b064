"""A series is found by its key, or the message says which part of the key nothing fits."""

from __future__ import annotations

import numpy as np
import pytest

from forecast.demand.find import find_series
from forecast.demand.panel import SeriesKeys
from forecast.errors import NotFoundError

KEYS = SeriesKeys(
    item=np.array(["milk", "milk", "bread", "milk"]),
    location=np.array(["north", "south", "north", "north"]),
    platform=np.array(["app", "app", "app", "shop"]),
)


def test_the_row_of_a_key() -> None:
    assert find_series(KEYS, item="milk", location="north", platform="app") == 0
    assert find_series(KEYS, item="milk", location="north", platform="shop") == 3
    assert find_series(KEYS, item="bread", location="north", platform="app") == 2


@pytest.mark.parametrize(
    ("key", "message"),
    [
        (("mlk", "north", "app"), "item: expected one such as milk, found mlk"),
        (("tea", "north", "app"), "item: expected one of bread, milk, found tea"),
        (("bread", "south", "app"), "location: expected one of north of item bread, found south"),
        (("milk", "south", "shop"), "platform: expected one of app of milk at south, found shop"),
    ],
)
def test_what_is_unknown_is_named(key: tuple[str, str, str], message: str) -> None:
    item, location, platform = key
    with pytest.raises(NotFoundError) as error:
        find_series(KEYS, item=item, location=location, platform=platform)
    assert str(error.value) == message
