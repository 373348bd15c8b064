"""What is stored in few bytes is read back as it was, to the precision that it is stored in."""

from __future__ import annotations

import pytest
import torch

from forecast.model.past import (
    CHECKPOINT,
    PackedPast,
    half_units,
    pack_half,
    pack_shares,
    read_past,
    seen_before,
)


def pack(demand_ST: torch.Tensor, observed_ST: torch.Tensor) -> PackedPast:
    unit_S, observed = half_units(demand_ST), pack_shares(observed_ST)
    demand = pack_half(demand_ST, unit_S)
    return PackedPast(demand, demand, observed, None, unit_S, seen_before(observed))


@pytest.fixture
def values() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    demand = torch.poisson(torch.full((5, 1000), 3.0), generator=generator)
    observed = (torch.rand(5, 1000, generator=generator) < 0.9).float()
    return demand, observed


@pytest.mark.parametrize(("end", "back"), [(1000, 100), (700, 300), (40, 100), (1000, 5000), (64, 64)])
@pytest.mark.parametrize("shared", [True, False])
def test_sums_over_spans_are_those_of_a_plain_loop(
    values: tuple[torch.Tensor, torch.Tensor], end: int, back: int, shared: bool
) -> None:
    demand, observed = values
    ends = [end] if shared else [end, max(end - 37, 1), end - 1]
    rows = torch.tensor([4, 0, 2])
    past = read_past(pack(demand, observed), rows, torch.tensor(ends), back, 28)
    for n in (1, 7, min(back, 91)):
        mean, share = past.mean(torch.tensor(ends)[:, None], n)
        count = share * n
        total = mean * count.clamp(min=1)
        for b, row in enumerate(rows.tolist()):
            stop = ends[0] if shared else ends[b]
            span = slice(max(stop - n, 0), max(stop, 0))
            assert float(total[b, 0]) == pytest.approx(float(demand[row, span].sum()), rel=1e-6)
            assert float(count[b, 0]) == pytest.approx(float(observed[row, span].sum()), abs=1e-3)
    seen = past.course(torch.tensor(ends)[:, None]).count_BJ
    for b, row in enumerate(rows.tolist()):
        stop = ends[0] if shared else ends[b]
        assert float(seen[b, 0]) == pytest.approx(float(observed[row, :stop].sum()), abs=1e-2)


@pytest.mark.parametrize("largest", [1e-4, 0.7, 2000.0, 5e4, 3e8])
def test_values_of_any_size_keep_half_precision(largest: float) -> None:
    values = largest * torch.rand(3, 200, generator=torch.Generator().manual_seed(1))
    packed = pack(values, torch.ones_like(values))
    found = read_past(packed, torch.arange(3), torch.tensor([200]), 10_000, 0).demand_BN
    kept = values > largest * 1e-3
    torch.testing.assert_close(found[kept], values[kept], rtol=6e-4, atol=0.0)


def test_counts_are_exact_and_a_spike_later_changes_nothing_before_it() -> None:
    counts = torch.arange(2048.0)[None]
    spiked = torch.cat([counts, torch.tensor([[1e7]])], dim=1)
    for values in (counts, spiked):
        past = read_past(
            pack(values, torch.ones_like(values)), torch.tensor([0]), torch.tensor([2048]), 9999, 0
        )
        torch.testing.assert_close(past.demand_BN[:, :2048], counts, rtol=0, atol=0)


def test_a_share_that_is_small_is_not_nothing() -> None:
    assert pack_shares(torch.tensor([[0.0, 1e-4, 1.0]])).tolist() == [[0, 1, 255]]


def test_memory_of_a_series_period() -> None:
    """5 bytes and the checkpoints, as the module says."""
    packed = pack(torch.ones(10, 64 * 50), torch.ones(10, 64 * 50))
    held = sum(part.numel() * part.element_size() for part in packed if part is not None)
    assert held / (10 * 64 * 50) < 5 + 4 / CHECKPOINT + 0.02
