"""`surgecast bench serve` on tiny data: the numbers that a user gets, not how large; what is left behind."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path

import grpc
import live_home
import pytest

from forecast.cli.main import run
from forecast.home import Home
from forecast.snapshot import Pointer, Snapshot, move_pointer, write_snapshot
from serving.bench.bench import Bench, ServeBench
from serving.bench.driver import Cores, Generator, RunningServer
from serving.bench.homes import Stage
from serving.bench.plans import aggregates, export, surges
from serving.bench.questions import Questions
from serving.bench.run import MEASURES

QUICK = ["--seconds", "0.3", "--repeats", "1", "--swaps", "2", "--overload-seconds", "0.5"]
PATIENT = ["--seconds", "2"]
"""Other people's servers may take longer for their first answers."""
ALWAYS = {
    "batch_forecasts_per_s",
    "single_calls_per_s",
    "single_p50_ms_at_half_load",
    "single_p99_ms_at_half_load",
    "single_p999_ms_at_half_load",
    "hot_swap_failed_calls",
    "hot_swap_mixed_replies",
    "overload_p99_ratio",
    "overload_rejected_share",
    "overload_recovery_s",
}
WHERE_ANSWERED = {
    "export_series_days_per_s",
    "aggregate_70_ms",
    "aggregate_top_ms",
    "surges_ms",
    "whatif_p99_ms",
}


@pytest.fixture
def own_temporary(tmp_path, monkeypatch):
    """Where the bench keeps its things; nothing may be left there."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    monkeypatch.setattr("tempfile.tempdir", None)
    return folder


@pytest.fixture(scope="module")
def two_snapshots(tmp_path_factory, make_publication):
    home = Home(tmp_path_factory.mktemp("two"))
    for seed in (1, 0):
        publication = make_publication(seed)
        snapshot = write_snapshot(
            home, publication.forecasts, publication.panel, bundle_id="b1", model_version="3"
        )
        move_pointer(home, snapshot)
    return home


def bench(capsys, *flags: str) -> tuple[dict, str]:
    """What the command prints as JSON, and what it says."""
    assert run(["bench", "serve", "--json", *flags]) == 0
    shown = capsys.readouterr()
    printed = json.loads(shown.out)
    assert (printed["bench"], set(printed)) == ("serve", {"bench", "machine", "results"})
    return printed, shown.err


def test_everything_is_measured_or_said_to_be_skipped(capsys, own_temporary):
    printed, said = bench(capsys, "--series", "50", *QUICK)
    results, skipped = printed["results"], printed["machine"]["skipped"]
    assert set(results) >= ALWAYS
    for name in WHERE_ANSWERED:
        assert (name in results) != (name in skipped)
    for name, reason in skipped.items():
        assert f"skipped {name}: {reason}" in said.splitlines()
    assert results["series"] == 50
    assert (results["hot_swaps"], results["hot_swap_failed_calls"]) == (2, 0)
    assert results["hot_swap_mixed_replies"] == 0
    assert results["hot_swap_calls"] > 0
    assert results["overload_offered_ratio"] == pytest.approx(3, rel=0.02)
    assert 0 <= results["overload_rejected_share"] < 1
    cores = Cores.of_this_machine()
    assert printed["machine"]["server_core"] == cores.server
    assert cores.told() in said
    assert list(own_temporary.glob("surgecast-*")) == []


def test_a_home_is_left_alone(capsys, own_temporary, two_snapshots):
    before = {path: path.stat().st_mtime_ns for path in two_snapshots.root.rglob("*")}
    printed, _ = bench(capsys, "--home", str(two_snapshots.root), *QUICK, "--only", "swaps, batch")
    assert printed["results"]["hot_swap_mixed_replies"] == 0
    assert "single_calls_per_s" not in printed["results"]
    assert {path: path.stat().st_mtime_ns for path in two_snapshots.root.rglob("*")} == before
    assert list(own_temporary.glob("surgecast-*")) == []


def test_one_snapshot_cannot_be_swapped(capsys, own_home_of_one):
    printed, said = bench(capsys, "--home", str(own_home_of_one.root), *QUICK, "--only", "swaps")
    assert "the home has one snapshot" in printed["machine"]["skipped"]["hot_swap_failed_calls"]
    assert "skipped hot_swap_mixed_replies: the home has one snapshot" in said


@pytest.fixture
def own_home_of_one(tmp_path, publication):
    home = Home(tmp_path / "one")
    snapshot = write_snapshot(
        home, publication.forecasts, publication.panel, bundle_id="b1", model_version="3"
    )
    move_pointer(home, snapshot)
    return home


def test_a_soak_watches_what_the_server_holds(capsys, two_snapshots):
    flags = ["--home", str(two_snapshots.root), *QUICK, "--only", "batch", "--soak", "0.03"]
    results = bench(capsys, *flags)[0]["results"]
    assert results["soak_calls"] > 0
    assert results["soak_failed_calls"] == 0
    assert results["soak_resident_mb"] > 30
    growth = {"soak_memory_growth", "soak_private_growth", "soak_descriptors_growth", "soak_threads_growth"}
    assert growth <= set(results)


def test_without_h2load_the_rest_is_measured(capsys, two_snapshots, monkeypatch):
    monkeypatch.setattr("shutil.which", lambda _name: None)
    flags = ["--home", str(two_snapshots.root), *QUICK, "--only", "batch", "--h2load"]
    printed, said = bench(capsys, *flags)
    assert "skipped h2load_calls_per_s: h2load is not installed (Debian's nghttp2-client has it)" in said
    assert "batch_forecasts_per_s" in printed["results"]


@pytest.mark.parametrize(("peer", "package"), [("mlflow", "mlflow"), ("rayserve", "ray")])
def test_a_peer_gives_the_same_numbers_beside_ours(capsys, two_snapshots, peer, package):
    if find_spec(package) is None:
        pytest.skip(f"{package} is not installed")
    flags = ["--home", str(two_snapshots.root), *QUICK, *PATIENT, "--only", "batch", "--vs", peer]
    results = bench(capsys, *flags)[0]["results"]
    ratio = results["batch_forecasts_per_s"] / results[f"{peer}_forecasts_per_s"]
    assert results[f"vs_{peer}_ratio"] == pytest.approx(ratio)
    assert results[f"{peer}_p99_ms"] > 0
    assert left_by_peers() == []


@pytest.mark.parametrize(("peer", "package"), [("mlflow-model", "mlflow"), ("rayserve-model", "ray")])
def test_the_model_behind_a_peer_gives_the_numbers_of_our_snapshot(capsys, tmp_path, peer, package):
    if find_spec(package) is None:
        pytest.skip(f"{package} is not installed")
    home = live_home.make_home(tmp_path)
    live_home.publish_bundle(home, live_home.wild_bundle(live_home.panel_of(home)))
    capsys.readouterr()
    flags = ["--home", str(home.root), *QUICK, *PATIENT, "--only", "batch", "--vs", peer]
    results = bench(capsys, *flags)[0]["results"]
    assert results[f"vs_{peer.replace('-', '_')}_ratio"] > 0
    assert left_by_peers() == []


def left_by_peers() -> list[str]:
    """Processes of this session that a peer left behind."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            state, _, _, session = entry.joinpath("stat").read_text().rpartition(")")[2].split()[:4]
            words = entry.joinpath("cmdline").read_text()
        except OSError:  # gone
            continue
        if int(session) == os.getsid(0) and state != "Z":
            found += [words for name in ("raylet", "gcs_server", "scoring_server", "ray::") if name in words]
    return found


def test_a_peer_that_is_not_installed_is_asked_for(capsys, monkeypatch):
    monkeypatch.setattr("serving.bench.peers.processes.find_spec", lambda _name: None)
    assert run(["bench", "serve", "--vs", "rayserve"]) == 1
    assert "--vs rayserve: expected the package ray, found none (pip install 'surgecast[scale]')" in (
        capsys.readouterr().err
    )


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--only", "batch,everything"], "--only: expected some of batch, single,"),
        (
            ["--vs", "triton"],
            "--vs: expected some of mlflow, rayserve, mlflow-model, rayserve-model, found",
        ),
        (["--home", ".", "--data", "."], "--data: expected none beside --home"),
        (["--seconds", "0"], "seconds: expected more than 0, found 0"),
        (["--overload-seconds", "0"], "overload_s: expected more than 0, found 0"),
        (["--repeats", "0"], "--repeats"),
        (["--series", "0"], "--series"),
        (["--soak", "-1"], "--soak"),
    ],
)
def test_wrong_flags_are_one_line(flags, message, capsys):
    assert run(["bench", "serve", *flags]) == 2
    shown = capsys.readouterr()
    assert message in shown.err
    assert (shown.err.count("\n"), shown.out) == (1, "")


def test_a_home_without_a_snapshot_is_said(capsys, tmp_path):
    assert run(["bench", "serve", "--home", str(tmp_path)]) == 1
    assert "surgecast publish does it" in capsys.readouterr().err


def test_ctrl_c_ends_all_of_it(own_temporary, two_snapshots):
    command = [sys.executable, "-m", "forecast.cli.main", "bench", "serve", "--home", str(two_snapshots.root)]
    options = ["--only", "batch", "--seconds", "600"]
    started = subprocess.Popen(
        [*command, *options], stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with started as process:
        assert process.stderr is not None
        for line in process.stderr:
            if line == "measuring batch\n":
                break
        children = children_of(process.pid)
        process.send_signal(signal.SIGINT)
        out, said = process.communicate(timeout=60)
    assert (process.returncode, out) == (130, "")
    assert said.splitlines() == ["error: interrupted"]
    assert len(children) == 2
    assert not any(Path(f"/proc/{child}").exists() for child in children)
    assert list(own_temporary.glob("surgecast-*")) == []


def children_of(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def test_methods_that_a_server_does_not_have_are_named(capsys, tmp_path, two_snapshots):
    server = grpc.server(ThreadPoolExecutor(1))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    name = Pointer.read(two_snapshots).snapshot
    snapshot = Snapshot.open(two_snapshots.snapshots_dir / name)
    under_way = Bench(
        config=ServeBench(only=tuple(MEASURES)),
        stage=Stage(home=two_snapshots, snapshot=name, other=None),
        server=RunningServer(f"127.0.0.1:{port}", os.getpid()),
        generator=Generator(io.StringIO(), io.StringIO()),
        questions=Questions.about(snapshot, None, seed=0),
        folder=tmp_path,
    )
    for measure in (export, aggregates, surges):
        measure(under_way)
    server.stop(None).wait()
    assert set(under_way.skipped) == WHERE_ANSWERED - {"whatif_p99_ms"}
    said = capsys.readouterr().err
    assert "skipped surges_ms: ListSurges is UNIMPLEMENTED by this server\n" in said
    assert "skipped aggregate_70_ms: AggregateForecast is UNIMPLEMENTED by this server\n" in said


def test_no_question_about_sums_is_asked_twice(two_snapshots):
    snapshot = Snapshot.open(two_snapshots.snapshots_dir / Pointer.read(two_snapshots).snapshot)
    questions = Questions.about(snapshot, None, seed=0)
    assert questions.groups == ["location", "category"]
    assert questions.n_groups == 2
    for asked in (questions.sums(questions.groups), questions.surges(50)):
        assert len(set(asked)) == len(asked)
    whole, *shorter = questions.ranges(3)
    days = [(span.end_seconds - span.start_seconds) / 86_400 for span in shorter]
    assert (whole.end_seconds - whole.start_seconds) / 86_400 == 14
    assert days == [13, 13, 12, 12, 12, 11, 11, 11, 11]
    assert whole.start_seconds == min(span.start_seconds for span in shorter)
    assert questions.draw(5, 1) == questions.draw(5, 1) != questions.draw(5, 2)
