"""Drift against a plain reference in numpy."""

import numpy as np
import polars as pl
import pytest
from numpy.typing import NDArray

from forecast.evaluation.drift import drift

Floats = NDArray[np.float64]


def plain_psi(x: Floats, y: Floats) -> float:
    edges = np.unique(np.quantile(x, np.arange(1, 10) / 10))
    n_bins = len(edges) + 1
    p = (np.bincount(np.digitize(x, edges), minlength=n_bins) + 0.5) / (len(x) + 0.5 * n_bins)
    q = (np.bincount(np.digitize(y, edges), minlength=n_bins) + 0.5) / (len(y) + 0.5 * n_bins)
    return float(np.sum((q - p) * np.log(q / p)))


def plain_wasserstein(x: Floats, y: Floats) -> float:
    """The mean distance of the two samples' quantiles, on a grid that holds all steps of both."""
    n = np.lcm(len(x), len(y))
    return float(np.mean(np.abs(np.repeat(np.sort(x), n // len(x)) - np.repeat(np.sort(y), n // len(y)))))


@pytest.mark.parametrize("seed", range(5))
def test_both_distances_are_those_of_the_reference(seed: int) -> None:
    random = np.random.default_rng(seed)
    x = {"a": random.normal(3, 2, 120), "b": random.poisson(0.7, 90).astype(float)}  # b: mostly ties
    y = {"a": random.normal(4, 1, 80), "b": random.poisson(1.5, 60).astype(float)}

    def frame(samples: dict[str, Floats]) -> pl.DataFrame:
        parts = [pl.DataFrame({"shop": name, "demand": values}) for name, values in samples.items()]
        rows = pl.concat(parts).sample(fraction=1.0, shuffle=True, seed=seed)
        holes = pl.DataFrame({"shop": ["a", "b"], "demand": [None, float("nan")]}, schema=rows.schema)
        return pl.concat([rows, holes]).with_columns(price=pl.col("demand") + 100)

    found = drift(frame(x), frame(y), ["price", "demand"], segment="shop")
    assert found.select("segment", "feature").rows() == [
        ("a", "price"), ("a", "demand"), ("b", "price"), ("b", "demand"),
    ]  # fmt: skip
    for row in found.iter_rows(named=True):
        shop = row["segment"]
        assert (row["n_reference"], row["n_recent"]) == (len(x[shop]), len(y[shop]))
        assert row["psi"] == pytest.approx(plain_psi(x[shop], y[shop]))
        assert row["wasserstein"] == pytest.approx(plain_wasserstein(x[shop], y[shop]))
        assert row["moved"] == pytest.approx(row["wasserstein"] / x[shop].std())


def test_chance_stays_below_the_noise_and_a_shift_above() -> None:
    random = np.random.default_rng(1)
    values = pl.DataFrame({"set": np.repeat(np.arange(400), 60), "x": random.normal(size=24_000)})
    again = values.with_columns(x=pl.Series(random.normal(size=24_000)))
    still = drift(values, again, ["x"], segment="set")
    assert (still["psi"] > still["noise"]).mean() < 0.01
    moved = drift(values, again.with_columns(pl.col("x") + 2), ["x"], segment="set")
    assert (moved["psi"] > moved["noise"]).all()
    assert moved["moved"].mean() == pytest.approx(2.0, abs=0.1)


def test_without_segments_and_where_nothing_varies() -> None:
    flat = pl.DataFrame({"x": [2.0] * 10})
    row = drift(flat, flat.with_columns(pl.col("x") + 1), ["x"]).row(0, named=True)
    assert (row["segment"], row["wasserstein"], row["moved"]) == ("all", 1.0, None)
    assert drift(flat, flat, ["x"])["wasserstein"].item() == 0
    assert drift(flat, flat.head(0), ["x"]).is_empty()


def test_a_segment_that_one_side_lacks_is_not_listed() -> None:
    rows = pl.DataFrame({"shop": ["a", "a", "b"], "x": [1.0, 2.0, 3.0]})
    assert drift(rows, rows.filter(pl.col("shop") == "a"), ["x"], segment="shop")["segment"].to_list() == [
        "a"
    ]
