"""Swaps from one snapshot to another: under load, of bad ones, back again, and what is released."""

import gc
import json
import os
import shutil
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from operating import KEY, ROW, Load, forge, metric, seal
from waiting import until

from forecast.cli.main import run
from forecast.errors import IntegrityError
from forecast.snapshot import Pointer, move_pointer
from forecast.snapshot.format import MANIFEST
from forecast.snapshot.pointer import next_pointer, write_pointer
from serving.client import Client
from serving.operation.selfcheck import check_answers
from serving.store import SnapshotStore


@pytest.mark.parametrize("workers", ["1", "2"])
def test_swaps_under_load_lose_and_mix_nothing(
    own_home, publish_to, make_publication, spawn, free_port, workers
):
    seeds = range(5)
    snapshots = [publish_to(seed) for seed in seeds]
    means = {
        snapshot: make_publication(seed).forecasts.mean_SH[ROW]
        for seed, snapshot in zip(seeds, snapshots, strict=True)
    }
    server = spawn(own_home, "--workers", workers, "--metrics-port", str(free_port))
    with Load(server.address, means) as load:
        for swaps, snapshot in enumerate(snapshots, start=1):
            move_pointer(own_home, snapshot)
            done = swaps * int(workers)  # a process that is slow to look must not miss one
            until(lambda done=done: metric(free_port, "surgecast_swaps_total") == done)
            seen = load.served[snapshot]
            until(lambda wanted=snapshot, seen=seen: load.served[wanted] > seen + 20)
    assert (load.failed, load.mixed) == ([], [])
    assert len(load.served) == len(snapshots)
    assert metric(free_port, "surgecast_refused_swaps_total") == 0


def nan(values):
    values[3, 2] = np.nan


def negative(values):
    values[5] = -7


def far(values):
    values *= 1_000


def fallen(values):
    values[0, 0] = values[0, 0, ::-1]


def twice(values):
    values[11, 13, 0] = values[11, 13, 1]


def outside(values):
    values[:] = -1


@pytest.mark.parametrize(
    ("name", "change", "said"),
    [
        ("mean", nan, "self-check: mean: expected finite numbers"),
        ("mean", negative, "self-check: forecasts: expected demand of at least 0"),
        ("mean", far, "self-check: means: expected a sum of"),
        ("scale", far, "self-check: means: expected a sum of"),
        ("quantiles", nan, "self-check: quantiles: expected finite numbers"),
        ("quantiles", fallen, "self-check: quantiles: expected an ascending order"),
        ("ranks", twice, "ranks: expected each scenario's rank once"),
        ("group", outside, "group: expected numbers of at least 0"),
    ],
)
def test_wrong_numbers_with_right_hashes_are_refused(own_home, publish_to, name, change, said):
    good, bad = publish_to(0), publish_to(1, move=False)
    store = SnapshotStore(own_home, checks=(check_answers,))
    store.load()
    forge(own_home.snapshots_dir / bad, name, change)
    move_pointer(own_home, bad)
    assert store.refresh()
    assert said in store.refused.reason
    assert store.current.snapshot.manifest.id == good


def test_series_that_are_hardly_ever_sold_pass_the_self_check(own_home, publish_to):
    snapshot = publish_to(0)
    folder = own_home.snapshots_dir / snapshot

    def rare(values):
        values[:] = 0.004

    def never(values):
        values[:] = 0

    forge(folder, "mean", rare)
    forge(folder, "quantiles", never)
    forge(folder, "scale", never)
    assert SnapshotStore(own_home, checks=(check_answers,)).load().snapshot.manifest.id == snapshot


def truncate(folder):
    path = folder / "quantiles.npy"
    path.write_bytes(path.read_bytes()[:-7])


def flip(folder):
    content = bytearray((folder / "mean.npy").read_bytes())
    content[len(content) // 2] ^= 1
    (folder / "mean.npy").write_bytes(content)


def foreign(folder):
    seal(folder, json.loads((folder / MANIFEST).read_text()) | {"format": 99})


def lose(folder):
    (folder / "series.arrow").unlink()


def lose_manifest(folder):
    (folder / MANIFEST).unlink()


DAMAGES = [
    (truncate, "quantiles.npy: expected"),
    (flip, "mean.npy: expected SHA-256"),
    (foreign, "expected format 1, found format 99"),
    (lose, "series.arrow: expected"),
    (lose_manifest, "manifest.json: expected a manifest, found no such file"),
]


def test_damaged_snapshots_are_refused_under_load(
    own_home, publish_to, make_publication, spawn, free_port, capsys
):
    good = publish_to(0)
    server = spawn(own_home, "--metrics-port", str(free_port))
    status = ["status", "--address", server.address, "--metrics-port", str(free_port), "--json"]
    means = {good: make_publication(0).forecasts.mean_SH[ROW]}
    with Client(server.address) as client, Load(server.address, means) as load:
        for seed, (damage, said) in enumerate(DAMAGES, start=1):
            bad = publish_to(seed, move=False)
            damage(own_home.snapshots_dir / bad)
            write_pointer(own_home, next_pointer(Pointer.read(own_home), bad))
            until(lambda said=said: said in client.serving_model().refused)
        until(lambda: client.health("surgecast.publication") == "NOT_SERVING")
        assert client.health() == "SERVING"
        assert metric(free_port, "surgecast_refused_swaps_total") == len(DAMAGES)
        assert metric(free_port, "surgecast_publication_sound") == 0
        assert run(status) == 1
        told = json.loads(capsys.readouterr().out)
        assert (told["snapshot"], told["healthy"]) == (good, False)
        assert "manifest.json" in told["refused"]
        assert told["calls_per_s"] > 0
        assert told["p99_ms"] > 0
        move_pointer(own_home, good)
        until(lambda: client.health("surgecast.publication") == "SERVING")
        assert run(status) == 0
    assert (load.failed, load.mixed) == ([], [])
    refusals = [line for line in server.lines if "refused snapshot" in line]
    assert len(refusals) == len(DAMAGES)


def test_a_deleted_snapshot_goes_on_serving_and_is_told(own_home, publish_to, spawn, free_port):
    snapshot = publish_to(0)
    server = spawn(own_home, "--metrics-port", str(free_port))
    with Client(server.address) as client:
        before = client.forecast(**KEY)
        shutil.rmtree(own_home.snapshots_dir)
        refused = until(lambda: client.serving_model().refused)
        assert refused == f"snapshot: expected a published snapshot, found no folder snapshots/{snapshot}"
        after = client.forecast(**KEY)
        assert np.array_equal(after.quantiles, before.quantiles)
        assert client.health() == "SERVING"
        assert client.health("surgecast.publication") == "NOT_SERVING"
    assert metric(free_port, "surgecast_publication_sound") == 0
    assert metric(free_port, "surgecast_refused_swaps_total") == 1


def test_mlflow_may_be_broken_or_gone_at_start_and_later(own_home, publish_to, spawn):
    own_home.mlflow_db.parent.mkdir()
    own_home.mlflow_db.write_bytes(b"no database at all")
    publish_to(0)
    with Client(spawn(own_home).address) as client:
        assert client.health() == "SERVING"
        shutil.rmtree(own_home.mlflow_db.parent)
        snapshot = publish_to(1)
        until(lambda: client.forecast(**KEY).source.snapshot == snapshot)
        assert client.health("surgecast.publication") == "SERVING"


def test_maps_that_no_call_uses_are_released(own_home, publish_to):
    first = publish_to(0)
    store = SnapshotStore(own_home, checks=(check_answers,))
    taken = store.load()
    second = publish_to(1)
    assert store.refresh()
    assert mapped(first)
    del taken
    gc.collect()
    assert mapped(second)
    until(lambda: not mapped(first))  # when the sums that were begun are made


def mapped(snapshot):
    return snapshot in Path("/proc/self/maps").read_text()


@pytest.mark.parametrize("year", ["1999", "2099"])
def test_a_clock_that_jumped_changes_nothing(own_home, publish_to, spawn, year):
    publish_to(0)
    with Client(spawn(own_home).address) as client:
        snapshot = publish_to(1, move=False)
        folder = own_home.snapshots_dir / snapshot
        seal(
            folder, json.loads((folder / MANIFEST).read_text()) | {"created": f"{year}-11-11T00:00:00+00:00"}
        )
        pointer = replace(
            next_pointer(Pointer.read(own_home), snapshot), moved=f"{year}-11-11T00:00:00+00:00"
        )
        write_pointer(own_home, pointer)
        then = datetime(int(year), 11, 11, tzinfo=UTC).timestamp()
        for path in (folder, *folder.iterdir(), own_home.pointer_file):
            os.utime(path, (then, then))
        until(lambda: client.forecast(**KEY).source.snapshot == snapshot)
        assert str(client.serving_model().created) == f"{year}-11-11T00:00:00"
        third = publish_to(2)
        until(lambda: client.forecast(**KEY).source.snapshot == third)


def test_something_else_that_must_be_ready_can_refuse(own_home, publish_to):
    def unready(served):
        if served.snapshot.manifest.model_version == "1":
            raise IntegrityError("bundle", expected="the one of the snapshot", found="another")

    good = publish_to(0)
    store = SnapshotStore(own_home, checks=(check_answers, unready))
    store.load()
    publish_to(1)
    assert store.refresh()
    assert store.refused.reason == "bundle: expected the one of the snapshot, found another"
    assert store.current.snapshot.manifest.id == good
