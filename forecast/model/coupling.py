"""How series move together: ranks of joint scenarios, taken from out-of-sample forecast errors of the past.

The Schaake shuffle (Clark et al. 2004, doi:10.1175/1525-7541(2004)005<0243:TSSAMF>2.0.CO;2): every past
origin is a template, the places that the truth took within the forecast distributions of all series and
steps at once. Scenario k gives each series the rank that template k gives it, so marginals stay as forecast
and dependence is the observed one.

Letters: S series, N templates, H horizon, Q levels, K scenarios.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from forecast.demand.panel import SeriesKeys
from forecast.quantiles import LEVELS

Floats = NDArray[np.float32]


def probability_integral_transform(
    truth_SH: Floats, quantiles_SHQ: Floats, censored_SH: NDArray[np.bool_], rng: np.random.Generator
) -> Floats:
    """Where the truth fell in its forecast distribution, (S, H) in 0..1.

    Ties (counts, zeros) and values beyond the outermost levels are spread uniformly over the probability
    that they share. A censored truth lies anywhere above its sales; a missing one (NaN) anywhere.
    """
    levels = np.concatenate([[0.0], LEVELS, [1.0]]).astype(np.float32)
    below = (quantiles_SHQ < truth_SH[..., None]).sum(-1)
    upto = (quantiles_SHQ <= truth_SH[..., None]).sum(-1)
    n = len(LEVELS)
    low_q = np.take_along_axis(quantiles_SHQ, np.clip(below - 1, 0, n - 1)[..., None], -1)[..., 0]
    high_q = np.take_along_axis(quantiles_SHQ, np.clip(below, 0, n - 1)[..., None], -1)[..., 0]
    width = np.where((below > 0) & (below < n) & (high_q > low_q), high_q - low_q, np.inf)
    inner = (levels[below + 1] - levels[below]) * np.clip((truth_SH - low_q) / width, 0, 1)
    spread = rng.random(truth_SH.shape, dtype=np.float32)
    tied = upto > below
    outside = (below == 0) | (below == n)
    flat = levels[np.where(tied, np.maximum(below, 0), below)]
    # A tie covers the levels from the last quantile below it to the last one equal to it.
    flat_top = levels[np.where(tied, upto, below + 1)]
    result = np.where(tied | outside, flat + spread * (flat_top - flat), levels[below] + inner)
    result = np.where(censored_SH, result + spread * (1 - result), result)
    return np.where(np.isfinite(truth_SH), result, spread).astype(np.float32)


def scenario_ranks(templates_NSH: Floats, n_scenarios: int, rng: np.random.Generator) -> NDArray[np.uint8]:
    """(S, H, K) ranks of K scenarios from N templates; without templates, independent ranks.

    With fewer templates than scenarios each serves several times, its ties broken at random.
    """
    n, s, h = templates_NSH.shape
    ranks = np.empty((s, h, n_scenarios), np.uint8)
    order = np.resize(rng.permutation(n), n_scenarios) if n else np.zeros(0, np.intp)
    chunk = 2048
    for first in range(0, s, chunk):
        rows = slice(first, min(first + chunk, s))
        noise = rng.random((rows.stop - first, h, n_scenarios), dtype=np.float32)
        if n:
            noise = np.moveaxis(templates_NSH[order, rows], 0, 2) + 0.02 * noise
        ranks[rows] = noise.argsort(axis=2).argsort(axis=2).astype(np.uint8)
    return ranks


def coupling_rows(own: SeriesKeys, keys: SeriesKeys) -> NDArray[np.intp]:
    """Rows of the ranks of series `own` for the series `keys`; one that is not among them borrows a row, by a
    hash of its key."""
    pairs = ((own.item, keys.item), (own.location, keys.location), (own.platform, keys.platform))
    if all(np.array_equal(one, other) for one, other in pairs):
        return np.arange(len(keys))
    known = {key: row for row, key in enumerate(_tuples(own))}
    n = len(known)
    found = ((known.get(key), key) for key in _tuples(keys))
    return np.array([_stable_hash(key) % n if row is None else row for row, key in found], np.intp)


def _tuples(keys: SeriesKeys) -> Iterator[tuple[str, str, str]]:
    return zip(keys.item.tolist(), keys.location.tolist(), keys.platform.tolist(), strict=True)


def _stable_hash(key: tuple[str, str, str]) -> int:
    """The same on every machine and run, unlike Python's hash of strings."""
    value = 0
    for byte in "\x1f".join(key).encode():
        value = (value * 131 + byte) % (1 << 61)
    return value
