"""What is written comes back, and what was not written is refused."""

import hashlib
import json
import signal
import subprocess
import sys
import textwrap
from datetime import date
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from forecast.demand.events.model import Event
from forecast.errors import InputError, IntegrityError, NotFoundError
from forecast.home import Home
from forecast.snapshot import Pointer, Snapshot, move_pointer, write_snapshot
from forecast.snapshot.format import FILES, MANIFEST, pack_quantiles, unpack_quantiles


def write(home, publication, **changes):
    facts = {"bundle_id": "b1", "model_version": "3"} | changes
    return write_snapshot(home, publication.forecasts, publication.panel, **facts)


@pytest.fixture
def home(tmp_path):
    return Home(tmp_path)


@pytest.fixture
def written(home, make_publication):
    publication = make_publication()
    event = Event(
        name="Singles' Day 2026", kind="double-11", start=date(2026, 11, 11), end=date(2026, 11, 11)
    )
    return publication, home.snapshots_dir / write(home, publication, events=[event])


def test_what_is_written_comes_back(written):
    (forecasts, panel), folder = written
    snapshot = Snapshot.open(folder)
    rows = np.arange(len(forecasts.keys))
    assert isinstance(snapshot.mean_SH, np.memmap)
    assert np.array_equal(snapshot.mean_SH, forecasts.mean_SH)
    assert np.array_equal(snapshot.times, forecasts.times)
    assert np.array_equal(snapshot.ranks_SHK, forecasts.ranks_SHK)
    assert np.array_equal(snapshot.history_SN, panel.demand_ST, equal_nan=True)
    assert snapshot.statics["category"].tolist() == ["food"] * len(rows)
    np.testing.assert_allclose(snapshot.quantiles(rows, 14), forecasts.quantiles_SHQ, rtol=2**-11, atol=1e-5)
    np.testing.assert_allclose(snapshot.scenarios(rows).mean(axis=2), forecasts.mean_SH, rtol=1e-4)
    assert snapshot.index["SKU-001", "上海", "in-store"] == 5


def test_events_reach_only_the_series_they_touch(written):
    snapshot = Snapshot.open(written[1])
    assert snapshot.events(1) == []
    before, day = snapshot.events(0)
    assert (before.phase, day.phase, day.name) == ("warm-up", "day", "Singles' Day 2026")
    assert (str(day.start), str(day.end)) == ("2026-11-11T00:00:00", "2026-11-12T00:00:00")


def test_summary_finds_the_surge(written):
    (forecasts, panel), folder = written
    summary = Snapshot.open(folder).summary
    strongest = int(summary.ratio_S.argmax())
    assert strongest % 2 == 0
    assert summary.peak_S[strongest] == 9
    base = np.nanmean(panel.demand_ST[strongest, -56:])
    assert summary.base_S[strongest] == pytest.approx(base, rel=1e-6)
    assert summary.ratio_S[strongest] == pytest.approx(forecasts.mean_SH[strongest, 9] / base, rel=1e-5)


@given(
    hnp.arrays(np.float32, (3, 2, 17), elements=st.floats(0, 1e6, width=32)),
)
def test_packed_quantiles_keep_their_bound_and_order(values):
    quantiles = np.sort(values, axis=2)
    packed, scale = pack_quantiles(quantiles)
    back = unpack_quantiles(packed, scale)
    bound = np.maximum(quantiles * 2**-11, scale[:, None, None] * 2**-25)
    assert (np.abs(back - quantiles) <= bound * (1 + 1e-3)).all()
    assert (np.diff(back, axis=2) >= 0).all()


def test_whole_units_come_back_exactly():
    units = np.arange(2048, dtype=np.float32).reshape(1, 64, 32)
    for largest in (3, 7, 1000, 2047):
        values = np.minimum(units, largest)
        assert np.array_equal(unpack_quantiles(*pack_quantiles(values)), values)


def test_same_content_same_snapshot(home, make_publication):
    first = write(home, make_publication())
    assert write(home, make_publication()) == first
    assert write(home, make_publication(), model_version="4") != first
    assert write(home, make_publication(1)) != first
    assert not list(home.snapshots_dir.glob(".*"))


@pytest.mark.parametrize("name", [MANIFEST, *FILES])
@pytest.mark.parametrize("damage", ["flipped", "truncated", "gone"])
def test_damage_is_refused_and_the_file_named(written, name, damage):
    path = written[1] / name
    content = bytearray(path.read_bytes())
    if damage == "flipped":
        content[len(content) // 2] ^= 1
        path.write_bytes(content)
    elif damage == "truncated":
        path.write_bytes(content[:-7])
    else:
        path.unlink()
    with pytest.raises(IntegrityError, match=name) as caught:
        Snapshot.open(written[1])
    assert caught.value.expected
    assert caught.value.found


def test_damaged_snapshot_is_replaced_when_written_again(home, written):
    publication, folder = written
    (folder / "mean.npy").write_bytes(b"")
    event = Event(
        name="Singles' Day 2026", kind="double-11", start=date(2026, 11, 11), end=date(2026, 11, 11)
    )
    assert write(home, publication, events=[event]) == folder.name
    Snapshot.open(folder)


def test_newer_format_and_foreign_folder_are_refused(written, tmp_path):
    folder = written[1]
    content = json.loads((folder / MANIFEST).read_text())
    (folder / MANIFEST).write_text(json.dumps(content | {"format": 2}))
    with pytest.raises(IntegrityError, match="format 2"):
        Snapshot.open(folder)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / MANIFEST).write_text("[1]")
    with pytest.raises(IntegrityError, match="something else"):
        Snapshot.open(tmp_path / "other")
    with pytest.raises(NotFoundError):
        Snapshot.open(tmp_path / "nowhere")


def test_parts_that_do_not_belong_together_are_refused(home, make_publication):
    forecasts, panel = make_publication()
    for wrong in (panel.until(59), make_publication(n_series=8).panel):
        with pytest.raises(InputError, match="panel"):
            write_snapshot(home, forecasts, wrong, bundle_id="b", model_version="1")
    forecasts.mean_SH[0, 0] = np.nan
    with pytest.raises(InputError, match="mean"):
        write_snapshot(home, forecasts, panel, bundle_id="b", model_version="1")
    assert not list(home.snapshots_dir.iterdir())


WRITER = textwrap.dedent(
    """
    import os, resource, signal, sys
    from pathlib import Path
    sys.path.insert(0, sys.argv[1])
    from conftest import make_publication
    from forecast.errors import InputError
    from forecast.home import Home
    from forecast.snapshot import write_snapshot, writer
    forecasts, panel = make_publication.__wrapped__()()
    if sys.argv[3] == "full":
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (3000, 3000))
    else:
        writer.summarise = lambda *_: os.kill(os.getpid(), getattr(signal, sys.argv[3])) or [].pop()
    try:
        write_snapshot(Home(Path(sys.argv[2])), forecasts, panel, bundle_id="b1", model_version="3")
    except InputError as error:
        sys.exit(f"refused: {error}")
    """
)


def run_writer(home, how):
    tests = Path(__file__).parents[2]
    command = [sys.executable, "-c", WRITER, str(tests), str(home.root), how]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def test_full_disk_leaves_nothing(home):
    result = run_writer(home, "full")
    assert result.stderr.startswith("refused:")
    assert "room for the snapshot" in result.stderr
    assert not list(home.snapshots_dir.iterdir())


def test_interrupted_writer_leaves_nothing(home):
    assert "KeyboardInterrupt" in run_writer(home, "SIGINT").stderr
    assert not list(home.snapshots_dir.iterdir())


def test_what_a_killed_writer_left_is_removed_by_the_next(home, make_publication):
    assert run_writer(home, "SIGKILL").returncode == -signal.SIGKILL
    assert len(list(home.snapshots_dir.glob(".writing-*"))) == 1
    write(home, make_publication())
    assert not list(home.snapshots_dir.glob(".*"))


def test_pointer_moves_and_remembers(home, make_publication):
    first, second = write(home, make_publication()), write(home, make_publication(1))
    with pytest.raises(NotFoundError, match="surgecast publish"):
        Pointer.read(home)
    assert move_pointer(home, first).previous is None
    assert move_pointer(home, second).previous == first
    assert move_pointer(home, second).moves == 2
    assert Pointer.read(home).snapshot == second
    for wrong in ("nothing", "../..", ""):
        with pytest.raises(NotFoundError, match="snapshot"):
            move_pointer(home, wrong)


@pytest.mark.parametrize(
    "change",
    [
        {"extra": 1},
        {"n_series": "12"},
        {"horizon": -1},
        {"files": []},
        {"files": {name: {"size": "9", "sha256": ""} for name in FILES}},
        {"files": dict.fromkeys(FILES, 3)},
        {"period": []},
        {"origin": "soon"},
        {"created": 5},
        None,
    ],
)
def test_manifest_with_the_wrong_things_in_it_is_refused(written, change):
    path = written[1] / MANIFEST
    content = json.loads(path.read_text())
    del content["checksum"]
    if change is None:
        path.write_text("[" * 200_000)
    else:
        content |= change
        digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
        path.write_text(json.dumps(content | {"checksum": digest}))
    with pytest.raises(IntegrityError, match=r"manifest\.json"):
        Snapshot.open(written[1])


@pytest.mark.parametrize(
    "text", ["", "[]", "{", "[" * 200_000, '{"format": 9}', '{"format": 1, "snapshot": "../../etc"}']
)
def test_damaged_pointer_is_refused_and_can_be_moved(home, make_publication, text):
    snapshot = write(home, make_publication())
    home.pointer_file.write_text(text)
    with pytest.raises(IntegrityError, match=r"serving\.json"):
        Pointer.read(home)
    assert move_pointer(home, snapshot).snapshot == snapshot


def test_racing_movers_all_count(home, make_publication):
    ids = [write(home, make_publication(seed)) for seed in range(3)]
    script = (
        "import sys; from pathlib import Path; from forecast.home import Home;"
        "from forecast.snapshot import move_pointer;"
        "[move_pointer(Home(Path(sys.argv[1])), i) for _ in range(15) for i in sys.argv[2:]]"
    )
    movers = [subprocess.Popen([sys.executable, "-c", script, str(home.root), *ids]) for _ in range(2)]
    assert [mover.wait(60) for mover in movers] == [0, 0]
    pointer = Pointer.read(home)
    assert pointer.snapshot in ids
    assert pointer.previous in ids
    assert pointer.moves >= 45
    assert sorted(path.name for path in home.root.iterdir()) == ["serving.json", "snapshots"]
