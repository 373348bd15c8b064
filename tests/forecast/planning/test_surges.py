"""Surges against a plain loop over scenarios, and what counts as one."""

from dataclasses import replace

import numpy as np
import pytest
from chain import DEAD, FLAT, NEW

from forecast.errors import InputError
from forecast.planning import aggregate, surges
from forecast.planning.surges import (
    Threshold,
    find_surges,
    group_outlooks,
    least_base,
    series_outlooks,
    usual_demand,
)


def never():
    """Somebody waits all the time."""


def plain(scenarios_hK, base, threshold):
    """Surging periods, probabilities and excess of one series or group, scenario by scenario."""
    probability = [np.mean([value > threshold.multiple * base for value in of_h]) for of_h in scenarios_hK]
    excess = [np.mean([max(value - base, 0) for value in of_h]) for of_h in scenarios_hK]
    surging = [p >= threshold.probability for p in probability]
    return surging, probability, sum(e for e, on in zip(excess, surging, strict=True) if on)


def check_against_plain(found, units, first, last, threshold):
    """`units`: scenarios (H, K), means (H,) and base of every unit that is looked at, by its number."""
    expected = {}
    for unit, (scenarios_HK, mean_H, base) in units.items():
        surging, probability, extra = plain(scenarios_HK[first:last], base, threshold)
        if any(surging):
            peak = max((h for h in range(last - first) if surging[h]), key=lambda h: mean_H[first + h])
            expected[unit] = (base, surging, extra, peak, mean_H[first + peak], probability[peak])
    assert sorted(found.unit_N.tolist()) == sorted(expected)
    assert (np.diff(found.extra_N) <= 0).all()
    for n, unit in enumerate(found.unit_N.tolist()):
        base, surging, extra, peak, mean, probability = expected[unit]
        assert found.surging_Nh[n].tolist() == surging
        assert found.peak_N[n] == peak
        found_numbers = (
            found.base_N[n],
            found.extra_N[n],
            found.peak_mean_N[n],
            found.peak_probability_N[n],
        )
        assert found_numbers == pytest.approx((base, extra, mean, probability), rel=1e-5)


@pytest.mark.parametrize(
    ("multiple", "probability", "first", "last"),
    [(2, 0.5, 0, 14), (1.3, 0.25, 3, 12), (4, 1.0, 0, 14), (0.5, 0.05, 9, 10)],
)
def test_surges_of_series(snapshot, scenarios_SHK, monkeypatch, multiple, probability, first, last):
    monkeypatch.setattr(surges, "CHUNK_VALUES", 7 * 14 * 20)
    threshold = Threshold(multiple=multiple, probability=probability)
    base_S = np.fmax(usual_demand(snapshot), least_base(snapshot))
    rows = np.arange(4, 70)
    found = find_surges(series_outlooks(snapshot, rows, first, last, never), base_S, threshold)
    assert len(found)
    units = {row: (scenarios_SHK[row], snapshot.mean_SH[row], base_S[row]) for row in rows.tolist()}
    check_against_plain(found, units, first, last, threshold)


def test_surges_of_groups(snapshot, scenarios_SHK, monkeypatch):
    monkeypatch.setattr(aggregate, "BLOCK_VALUES", 2 * 14 * 20)
    group_S = np.arange(72) % 5 - 1
    base_G = np.bincount(group_S[group_S >= 0], usual_demand(snapshot)[group_S >= 0])
    outlooks = group_outlooks(snapshot, group_S, 4, (2, 14), cells=None, check=never)
    threshold = Threshold(multiple=1.4)
    found = find_surges(outlooks, base_G, threshold)
    assert len(found)
    units = {
        g: (scenarios_SHK[group_S == g].sum(axis=0), snapshot.mean_SH[group_S == g].sum(axis=0), base_G[g])
        for g in range(4)
    }
    check_against_plain(found, units, 2, 14, threshold)


def test_nobody_surges_where_nobody_is(snapshot):
    base_S = usual_demand(snapshot)
    nobody = np.empty(0, np.intp)
    assert not len(find_surges(series_outlooks(snapshot, nobody, 0, 14, never), base_S, Threshold()))
    outlooks = group_outlooks(snapshot, np.full(72, -1), 0, (0, 14), cells=None, check=never)
    assert not len(find_surges(outlooks, np.empty(0), Threshold()))


def changed(snapshot, row, mean_H):
    """The snapshot with a sure forecast for one series."""
    mean_SH = snapshot.mean_SH.copy()
    mean_SH[row] = mean_H
    packed_SHQ = snapshot.packed_SHQ.copy()
    packed_SHQ[row] = 0
    return replace(snapshot, mean_SH=mean_SH, packed_SHQ=packed_SHQ)


def surging_rows(snapshot, threshold=None):
    base_S = np.fmax(usual_demand(snapshot), least_base(snapshot))
    outlooks = series_outlooks(snapshot, np.arange(72), 0, 14, never)
    return find_surges(outlooks, base_S, threshold or Threshold()).unit_N.tolist()


def test_what_is_new_is_no_surge_unless_it_peaks_over_its_own_median(snapshot):
    assert np.isnan(snapshot.summary.base_S[NEW])
    assert NEW not in surging_rows(changed(snapshot, NEW, [500.0] * 14))
    assert NEW in surging_rows(changed(snapshot, NEW, [500.0] * 13 + [1_500.0]))


def test_what_hardly_sells_counts_as_one_unit_in_the_recent_window(snapshot):
    base_S = snapshot.summary.base_S.copy()
    base_S[FLAT] = 0
    dead_shop = replace(snapshot, summary=replace(snapshot.summary, base_S=base_S))
    assert least_base(dead_shop) == 1 / 56
    assert FLAT not in surging_rows(changed(dead_shop, FLAT, [2 / 57] * 14))
    assert FLAT in surging_rows(changed(dead_shop, FLAT, [2 / 55] * 14))


def test_no_demand_is_no_surge(snapshot):
    assert DEAD not in surging_rows(snapshot, Threshold(multiple=1e-300, probability=1e-9))


def test_a_multiple_beyond_all_numbers_finds_nothing(snapshot):
    assert surging_rows(snapshot, Threshold(multiple=1.7e308)) == []


@pytest.mark.parametrize("multiple", [0.0, -1.0, np.nan, np.inf])
def test_multiples_are_checked(multiple):
    with pytest.raises(InputError, match="multiple"):
        Threshold(multiple=multiple)


@pytest.mark.parametrize("probability", [0.0, -0.5, 1.001, np.nan])
def test_probabilities_are_checked(probability):
    with pytest.raises(InputError, match="probability"):
        Threshold(probability=probability)
