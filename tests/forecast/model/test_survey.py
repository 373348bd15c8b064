"""Scoring in shards: the forecasts, and the snapshot, of the panel in one piece."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from forecast.demand.panel import EventGrid, Panel
from forecast.demand.shards import PanelShards, outline_of
from forecast.demand.simulate import SimulationConfig, simulate
from forecast.errors import InputError
from forecast.forecasts import Forecasts
from forecast.home import Home
from forecast.model.bundle import Bundle
from forecast.model.config import ModelConfig
from forecast.model.coupling import scenario_ranks
from forecast.model.ensemble import Ensemble
from forecast.model.forecaster import SCORING_BATCH, Batches, Forecaster, score
from forecast.model.memory import panel_bytes, period_bytes, snapshot_bytes
from forecast.model.schema import FeatureSchema
from forecast.model.tensors import build_tensors
from forecast.snapshot import Snapshot, write_snapshot
from forecast.snapshot.format import FILES
from forecast.snapshot.writer import stream_snapshot

H, SERIES, T = 10, 700, 80
CUTS = [slice(0, SCORING_BATCH), slice(SCORING_BATCH, SERIES)]
"""Whole batches, so that the arithmetic is the same to the last bit."""


@pytest.fixture(scope="module")
def panel() -> Panel:
    """Series with stock-outs, prices, a new event with a lift on half of them, and two without history."""
    config = SimulationConfig(n_series=SERIES, n_periods=T, horizon=40, n_locations=3, stock_outs=0.02)
    whole = simulate(config).panel
    demand_ST = whole.demand_ST.copy()
    demand_ST[[3, 600]] = np.nan
    names = (*whole.events.names, "flash/day")
    grid = np.zeros((2, whole.events.intensity_GLE.shape[1], len(names)), np.float32)
    grid[..., :-1] = whole.events.intensity_GLE
    grid[1, T + 2, -1] = 1
    lift = np.where(grid > 0, np.float32(3), np.float32(1))
    group_S = (np.arange(SERIES) % 2).astype(np.int32)
    events = EventGrid(names=names, intensity_GLE=grid, group_S=group_S, lift_GLE=lift)
    return replace(whole, demand_ST=demand_ST, events=events)


@pytest.fixture(scope="module")
def bundle(panel: Panel) -> Bundle:
    """Random weights far from their quiet start, for all but the last series."""
    config = ModelConfig(period="day", horizon=H, origins=5, channels=8, hidden=16, scenarios=20)
    schema = FeatureSchema.fit(panel, H)
    assert any(feature.relative for feature in schema.known)
    torch.manual_seed(0)
    network = Ensemble(config, schema)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    rng = np.random.default_rng(0)
    return Bundle(
        config=config,
        schema=schema,
        weights=network.state_dict(),
        ranks_SHK=scenario_ranks(rng.random((5, SERIES - 1, H), dtype=np.float32), 20, rng),
        keys=panel.keys.select(slice(0, SERIES - 1)),
        facts={},
    )


def in_shards(panel: Panel, cuts: list[slice] = CUTS) -> PanelShards:
    return PanelShards(outline_of(panel), panel.select, cuts)


def joined(forecaster: Forecaster, shards: PanelShards) -> Forecasts:
    parts = [part for part, _ in forecaster.parts(forecaster.survey(shards, H))]
    keys = shards.outline.keys
    assert np.concatenate([part.keys.item for part in parts]).tolist() == keys.item.tolist()
    return Forecasts(
        period="day",
        origin=shards.outline.origin,
        keys=keys,
        mean_SH=np.concatenate([part.mean_SH for part in parts]),
        quantiles_SHQ=np.concatenate([part.quantiles_SHQ for part in parts]),
        ranks_SHK=np.concatenate([part.ranks_SHK for part in parts]),
    )


@pytest.mark.parametrize("devices", [1, 2])
def test_shards_forecast_what_the_whole_does(bundle: Bundle, panel: Panel, devices: int) -> None:
    forecaster = Forecaster(bundle, "cpu", devices)
    whole, parts = forecaster(panel, H), joined(forecaster, in_shards(panel))
    np.testing.assert_array_equal(parts.mean_SH, whole.mean_SH)
    np.testing.assert_array_equal(parts.quantiles_SHQ, whole.quantiles_SHQ)
    np.testing.assert_array_equal(parts.ranks_SHK, whole.ranks_SHK)
    plain = replace(panel, events=replace(panel.events, lift_GLE=None))
    ratio_SH = whole.mean_SH / forecaster(plain, H).mean_SH
    np.testing.assert_allclose(ratio_SH[:, 2], np.where(np.arange(SERIES) % 2, 3, 1), rtol=1e-5)


def test_all_tensors_of_shards_are_those_of_the_whole(bundle: Bundle, panel: Panel) -> None:
    cpu = torch.device("cpu")
    whole = build_tensors(panel, bundle.config, bundle.schema, cpu, horizon=H)
    odd = [slice(0, 1), slice(1, 333), slice(333, SERIES)]  # blocks of series may be cut anywhere
    found = Forecaster(bundle, "cpu").survey(in_shards(panel, odd), H)
    for rows, part, packed in found.packed():
        tensors = found.shared.of(rows, packed)
        assert (tensors.n_series, tensors.n_periods) == (part.n_series, T)
        for name, value in vars(whole).items():
            if name == "past":
                for one, other in zip(tensors.past, whole.past, strict=True):
                    torch.testing.assert_close(one, other[rows], rtol=0, atol=0)
            elif isinstance(value, torch.Tensor):
                own = len(value) == SERIES and name != "group_sum_GT"
                torch.testing.assert_close(
                    getattr(tensors, name), value[rows] if own else value, rtol=0, atol=0
                )
            else:
                assert getattr(tensors, name) == value


def test_the_snapshot_of_shards_is_that_of_the_whole(bundle: Bundle, panel: Panel, tmp_path: Path) -> None:
    forecaster = Forecaster(bundle, "cpu")
    shards, home = in_shards(panel), Home(tmp_path / "streamed")
    found = forecaster.survey(shards, H)
    facts = {"bundle_id": "b1", "model_version": "1"}
    streamed = stream_snapshot(home, shards.outline, forecaster.parts(found), **facts)
    plain = write_snapshot(Home(tmp_path / "plain"), forecaster(panel, H), panel, **facts)
    assert streamed == plain
    for name in FILES:
        one, other = (tmp_path / way / "snapshots" / plain / name for way in ("streamed", "plain"))
        assert one.read_bytes() == other.read_bytes()
    assert np.flatnonzero(Snapshot.open(home.snapshots_dir / streamed).no_history_S).tolist() == [3, 600]
    assert np.flatnonzero(found.no_history_S).tolist() == [3, 600]


def test_a_feature_needs_to_reach_over_the_horizon_somewhere(bundle: Bundle, panel: Panel) -> None:
    forecaster = Forecaster(bundle, "cpu")
    name = bundle.schema.known[0].name

    def known_until(n: int, rows: slice) -> Panel:
        values = panel.known[name].copy()
        values[rows, n:] = np.nan
        return replace(panel, known={**panel.known, name: values})

    some = known_until(T + 4, slice(0, 600))
    np.testing.assert_array_equal(joined(forecaster, in_shards(some)).mean_SH, forecaster(some, H).mean_SH)
    for shards in (in_shards, PanelShards.of):
        with pytest.raises(InputError, match=f"{name}: expected known values.*found values for 4"):
            forecaster.survey(shards(known_until(T + 4, slice(None))), H)
        without = replace(panel, known={k: v for k, v in panel.known.items() if k != name})
        with pytest.raises(InputError, match=f"{name}: .*no such column"):
            forecaster.survey(shards(without), H)

    def refuse(outline: Panel) -> None:
        reaches = np.isfinite(outline.known[name][:, T : T + H]).all(axis=0)
        raise InputError("own", expected="a check", found=str(int(reaches.sum())))

    with pytest.raises(InputError, match="own: expected a check, found 4"):
        forecaster.survey(in_shards(known_until(T + 4, slice(None))), H, refuse)


def test_what_a_shard_cannot_be_read_for_is_raised(bundle: Bundle, panel: Panel) -> None:
    asked: list[slice] = []

    def load(rows: slice) -> Panel:
        asked.append(rows)
        if len(asked) > len(CUTS) + 1:
            raise OSError("gone")
        return panel.select(rows)

    forecaster = Forecaster(bundle, "cpu")
    found = forecaster.survey(PanelShards(outline_of(panel), load, CUTS), H)
    with pytest.raises(OSError, match="gone"):
        list(forecaster.parts(found))


def failing_above(network: Ensemble, most: int) -> Callable[..., object]:
    """The network's forward pass on a device that has memory for so many series."""
    forward = network.forward

    def run(tensors: object, windows: object, n_origins: int) -> object:
        if len(windows.scale_BW) > most:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return forward(tensors, windows, n_origins)

    return run


def test_fewer_series_at_once_where_the_device_has_no_memory(
    bundle: Bundle, panel: Panel, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    forecaster = Forecaster(bundle, "cpu", 1)
    expected = forecaster(panel, H)
    monkeypatch.setattr(forecaster.network, "forward", failing_above(forecaster.network, 50))
    found = forecaster(panel, H)
    np.testing.assert_allclose(found.mean_SH, expected.mean_SH, rtol=1e-4)
    assert (
        capsys.readouterr().err == f"cpu: no memory for {SCORING_BATCH} series at once, going on with fewer\n"
    )
    assert forecaster._batches[0].size == 32
    forecaster(panel, H)
    assert capsys.readouterr().err == ""


def test_no_memory_for_one_series_is_an_error_with_numbers(
    bundle: Bundle, panel: Panel, monkeypatch: pytest.MonkeyPatch
) -> None:
    forecaster = Forecaster(bundle, "cpu", 1)
    monkeypatch.setattr(forecaster.network, "forward", failing_above(forecaster.network, 0))
    expected = r"cpu: expected room for 700 series x 80 periods x 10 bytes, 0\.00 GB with the sums of \d+"
    with pytest.raises(InputError, match=expected):
        forecaster(panel, H)
    tensors = build_tensors(panel, bundle.config, bundle.schema, torch.device("cpu"), horizon=H)
    with pytest.raises(InputError, match="windows of 1 series"):
        next(score(forecaster.network, tensors, T, 1, batches=Batches(4)))


def test_the_formulas_of_memory_count_every_byte(bundle: Bundle, panel: Panel, tmp_path: Path) -> None:
    for source in (panel, replace(panel, stocked_out_ST=None)):
        tensors = build_tensors(source, bundle.config, bundle.schema, torch.device("cpu"), horizon=H)
        held = [part for part in tensors.past if part is not None]
        held += [tensors.known_SPF, tensors.group_sum_GT, tensors.group_count_GT]
        assert panel_bytes(tensors) == sum(one.numel() * one.element_size() for one in held)
    assert period_bytes(1, stock=False) == 7
    home = Home(tmp_path)
    snapshot = write_snapshot(
        home, Forecaster(bundle, "cpu")(panel, H), panel, bundle_id="b", model_version="1"
    )
    arrays = sum(path.stat().st_size for path in (home.snapshots_dir / snapshot).glob("*.npy"))
    summary = vars(Snapshot.open(home.snapshots_dir / snapshot).summary)
    numbers = sum(values.nbytes for values in summary.values())
    headers = 6 * 128
    assert SERIES * snapshot_bytes(H, 20, T) == arrays + numbers - headers
