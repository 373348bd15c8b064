from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from forecast.demand.panel import Panel
from forecast.errors import InputError, IntegrityError, NotFoundError, UsageError
from forecast.model.bundle import FILES, Bundle
from forecast.model.coupling import scenario_ranks
from forecast.model.ensemble import Ensemble
from forecast.model.forecaster import Forecaster
from forecast.model.schema import FeatureSchema
from tests.forecast.model.conftest import small_config, small_panel


@pytest.fixture(scope="module")
def daily() -> Panel:
    return small_panel("day")


@pytest.fixture(scope="module")
def bundle(daily: Panel) -> Bundle:
    config = small_config("day")
    torch.manual_seed(0)
    schema = FeatureSchema.fit(daily, config.horizon)
    templates = np.random.default_rng(0).random((30, daily.n_series, config.horizon), dtype=np.float32)
    return Bundle(
        config=config,
        schema=schema,
        weights=Ensemble(config, schema).state_dict(),
        ranks_SHK=scenario_ranks(templates, config.scenarios, np.random.default_rng(0)),
        keys=daily.keys,
        facts={"origin": str(daily.origin), "steps": 0},
    )


def test_a_saved_bundle_forecasts_the_same(bundle: Bundle, daily: Panel, tmp_path: Path) -> None:
    bundle.save(tmp_path / bundle.bundle_id)
    loaded = Bundle.load(tmp_path / bundle.bundle_id)
    assert loaded.bundle_id == bundle.bundle_id
    assert loaded.schema == bundle.schema
    before, after = Forecaster(bundle, "cpu")(daily, 7), Forecaster(loaded, "cpu")(daily, 7)
    np.testing.assert_array_equal(before.quantiles_SHQ, after.quantiles_SHQ)
    np.testing.assert_array_equal(before.ranks_SHK, after.ranks_SHK)


def test_ranks_of_a_saved_bundle_are_mapped_not_read(bundle: Bundle, daily: Panel, tmp_path: Path) -> None:
    bundle.save(tmp_path / "bundle")
    loaded = Bundle.load(tmp_path / "bundle")
    assert isinstance(loaded.ranks_SHK, np.memmap)
    assert not loaded.ranks_SHK.flags.writeable
    np.testing.assert_array_equal(loaded.ranks_SHK, bundle.ranks_SHK)
    loaded.save(tmp_path / "again")
    for name in ("bundle.json", *FILES):
        assert (tmp_path / "again" / name).read_bytes() == (tmp_path / "bundle" / name).read_bytes()
    (tmp_path / "bundle" / "coupling.safetensors").unlink()  # a model that serves outlives its file
    assert Forecaster(loaded, "cpu")(daily, 7).ranks_SHK.max() == 19


def test_another_bundle_has_another_id(bundle: Bundle, tmp_path: Path) -> None:
    bundle.save(tmp_path / "bundle")
    loaded = Bundle.load(tmp_path / "bundle")
    other = dataclasses.replace(loaded, facts={"steps": 1})
    assert loaded.bundle_id == bundle.bundle_id != other.bundle_id


@pytest.mark.parametrize("name", ["weights.safetensors", "coupling.safetensors", "series.json"])
def test_a_flipped_byte_is_refused(bundle: Bundle, tmp_path: Path, name: str) -> None:
    folder = tmp_path / "bundle"
    bundle.save(folder)
    data = bytearray((folder / name).read_bytes())
    data[len(data) // 2] ^= 1
    (folder / name).write_bytes(data)
    with pytest.raises(IntegrityError, match=name):
        Bundle.load(folder)


@pytest.mark.parametrize("other", [1, 99], ids=["older", "newer"])
def test_a_missing_bundle_or_one_of_another_release_is_named(
    bundle: Bundle, tmp_path: Path, other: int
) -> None:
    with pytest.raises(NotFoundError, match=r"bundle\.json"):
        Bundle.load(tmp_path / "nothing")
    folder = tmp_path / "bundle"
    bundle.save(folder)
    manifest = folder / "bundle.json"
    manifest.write_text(manifest.read_text().replace('"format": 2', f'"format": {other}'))
    with pytest.raises(IntegrityError, match=f"expected 2, found {other}; train again"):
        Bundle.load(folder)


def test_weights_of_another_network_are_refused(bundle: Bundle) -> None:
    other = dataclasses.replace(bundle, config=dataclasses.replace(bundle.config, hidden=8))
    with pytest.raises(IntegrityError, match="train again"):
        Forecaster(other, "cpu")


def test_forecasts_are_whole_units_with_coherent_scenarios(bundle: Bundle, daily: Panel) -> None:
    forecasts = Forecaster(bundle, "cpu")(daily, 10)
    assert bundle.schema.integer
    np.testing.assert_array_equal(forecasts.quantiles_SHQ, np.round(forecasts.quantiles_SHQ))
    assert (np.diff(forecasts.quantiles_SHQ, axis=2) >= 0).all()
    scenarios = forecasts.scenarios(slice(None))
    np.testing.assert_allclose(scenarios.mean(axis=2), forecasts.mean_SH, rtol=1e-4)


def test_unknown_labels_and_series_still_get_a_forecast(bundle: Bundle, daily: Panel) -> None:
    strange = daily.select(np.arange(3))
    strange = Panel(
        **{**strange.__dict__, "statics": {k: np.array(["never seen"] * 3) for k in strange.statics}}
    )
    assert np.isfinite(Forecaster(bundle, "cpu")(strange, 5).mean_SH).all()


def test_what_the_model_needs_and_does_not_get_is_named(bundle: Bundle, daily: Panel) -> None:
    forecaster = Forecaster(bundle, "cpu")
    with pytest.raises(UsageError, match=r"1\.\.10"):
        forecaster(daily, 11)
    name = next(iter(daily.known))
    without = Panel(**{**daily.__dict__, "known": {k: v for k, v in daily.known.items() if k != name}})
    with pytest.raises(InputError, match=name):
        forecaster(without, 5)
    short = Panel(
        **{**daily.__dict__, "known": {**daily.known, name: daily.known[name][:, : daily.n_periods + 2]}}
    )
    with pytest.raises(InputError, match="values for 2"):
        forecaster(short, 5)


def test_a_device_that_is_not_there_is_refused(bundle: Bundle) -> None:
    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    with pytest.raises(UsageError, match="cuda"):
        Forecaster(bundle, "cuda")
