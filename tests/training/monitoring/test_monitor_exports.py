"""What monitoring shows to MLflow and Prometheus."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import yaml
from matplotlib.collections import PathCollection
from mlflow.entities import Run as MlflowRun
from monitored_home import LAST, SECOND, make_monitored, monitor
from prometheus_client.parser import text_string_to_metric_families

import training.monitoring
from forecast.home import Home
from forecast.monitor_settings import MonitorSettings
from training.monitoring import gauges as gauges_module
from training.monitoring.gauges import Gauges, registry_of
from training.monitoring.judge import CHECKS
from training.monitoring.picture import EventDays, plot_over_time
from training.monitoring.rounds import look
from training.monitoring.runs import event_days, step_of
from training.monitoring.table import overall
from training.tracking import EXPERIMENT, connect

pytestmark = pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SADeprecationWarning")
ALERTS = Path(training.monitoring.__file__).with_name("alerts.yml")
Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """A home that was monitored once, with everything on."""
    root = tmp_path_factory.mktemp("monitor")
    home, *_ = make_monitored(root)
    assert monitor(home, "--metrics-file", str(root / "surgecast.prom"), "--by", "event") == 0
    return home


def monitoring_runs(home: Home) -> list[MlflowRun]:
    client = connect(home)
    experiment = client.get_experiment_by_name(EXPERIMENT)
    return list(client.search_runs([experiment.experiment_id], "tags.purpose = 'monitor'"))


def samples(text: str) -> Samples:
    return {
        (one.name, frozenset(one.labels.items())): one.value
        for family in text_string_to_metric_families(text)
        for one in family.samples
    }


def read(found: Samples, name: str, **labels: str) -> float:
    return found[f"surgecast_monitor_{name}", frozenset(labels.items())]


def test_a_round_is_a_run_with_metrics_by_origin(home: Home) -> None:
    (run,) = monitoring_runs(home)
    assert run.info.status == "FINISHED"
    assert run.info.run_name == "monitor 2023-11-19"
    assert run.data.tags["data_version"] == "3"
    assert "coverage" in run.data.tags["findings"]
    history = connect(home).get_metric_history(run.info.run_id, "monitor/wql")
    expected = overall(look(home, MonitorSettings()).scores)["wql"].to_list()
    assert [(one.step, one.value) for one in history] == list(
        zip([20231103, 20231110], expected, strict=True)
    )
    assert {
        "monitor/fva",
        "monitor/bias",
        "monitor/coverage_80",
        "monitor/wql/peak",
    } < run.data.metrics.keys()


def test_tables_and_picture_are_there(home: Home) -> None:
    client, (run,) = connect(home), monitoring_runs(home)
    folder = Path(client.download_artifacts(run.info.run_id, ""))
    table = json.loads((folder / "monitor/scores.json").read_text())
    assert table["columns"][:3] == ["origin", "snapshot", "bundle"]
    rows = list(csv.DictReader(io.StringIO((folder / "monitor/scores.csv").read_text())))
    assert {row["dimension"] for row in rows} == {"all", "segment", "platform", "week", "event"}
    assert (folder / "monitor/findings.csv").is_file()
    assert (folder / "pictures/over-time.png").stat().st_size > 20_000


def test_a_round_that_scores_nothing_new_leaves_no_run(home: Home) -> None:
    assert monitor(home) == 0
    assert len(monitoring_runs(home)) == 1


def test_the_picture_marks_events_and_what_is_open(home: Home) -> None:
    rows = overall(look(home, MonitorSettings()).scores)
    events = event_days(home, rows["snapshot"].to_list())
    assert (
        EventDays(np.datetime64("2023-11-11", "s"), np.datetime64("2023-11-12", "s"), "Singles' Day 2023")
        in events
    )
    figure = plot_over_time(rows, events)
    above, below = figure.axes
    assert [text.get_text() for text in above.texts][-1:] == ["Singles' Day 2023"]
    ours = above.lines[1]
    assert ours.get_label() == "published forecasts"
    assert np.allclose(ours.get_ydata(), rows["wql"].to_numpy())
    circles = [one for one in above.collections if isinstance(one, PathCollection)]
    faces = circles[-1].get_facecolors()
    assert not np.allclose(faces[0], 1)  # the first origin is known whole
    assert np.allclose(faces[1], 1)
    assert len(below.lines) == 6


def test_steps_can_be_read() -> None:
    assert step_of(SECOND.astype("M8[us]").item(), "day") == 20231110
    assert step_of(np.datetime64("2023-11-10T15", "us").item(), "hour") == 2023111015


def test_the_metrics_file_holds_the_numbers(home: Home) -> None:
    path = home.root.parent / "surgecast.prom"
    found = samples(path.read_text())
    recent = {row["value"]: row for row in look(home, MonitorSettings()).recent.iter_rows(named=True)}
    assert read(found, "wql", segment="all") == pytest.approx(recent["all"]["wql"])
    assert read(found, "fva", segment="fast") == pytest.approx(recent["fast"]["fva"])
    assert read(found, "bias", segment="peak") == pytest.approx(recent["peak"]["bias"])
    assert read(found, "coverage", segment="all", band="80") == pytest.approx(recent["all"]["coverage_80"])
    assert read(found, "finding", check="coverage") == 1
    assert read(found, "finding", check="bias") == 0
    assert read(found, "round_failed") == 0
    assert [one.name for one in home.root.parent.glob("surgecast.prom*")] == ["surgecast.prom"]


def test_ages_are_those_of_the_moment(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    found = look(home, MonitorSettings())
    gauges = Gauges("Asia/Shanghai")
    gauges.show(found)
    end = (LAST + 1).astype("M8[s]").astype(int) - 8 * 3600  # the day ended at midnight in Shanghai
    monkeypatch.setattr(gauges_module.time, "time", lambda: float(end) + 1.5 * 86_400)
    values = {
        one.name: one.samples[0].value for one in registry_of(gauges).collect() if len(one.samples) == 1
    }
    assert values["surgecast_monitor_data_age_days"] == pytest.approx(1.5)
    assert values["surgecast_monitor_snapshot_age_days"] == 0  # made later than this clock says


def test_a_failed_round_keeps_the_numbers_and_says_so(home: Home) -> None:
    gauges = Gauges("UTC")
    gauges.fail()
    assert [one.name for one in gauges.collect()] == ["surgecast_monitor_round_failed"]
    gauges.show(look(home, MonitorSettings()))
    before = {one.name for one in gauges.collect()}
    gauges.fail()
    after = {one.name: one for one in gauges.collect()}
    assert after.keys() == before
    assert after["surgecast_monitor_round_failed"].samples[0].value == 1


# ------------------------------------------------------------------------------ alerting rules


def rules() -> list[dict[str, object]]:
    content = yaml.safe_load(ALERTS.read_text())
    assert content.keys() == {"groups"}
    (group,) = content["groups"]
    assert group.keys() == {"name", "rules"}
    return list(group["rules"])


@pytest.fixture(scope="module")
def exported(home: Home) -> dict[str, list[dict[str, str]]]:
    """Name -> labels of what is really exported."""
    gauges = Gauges("UTC")
    found = look(home, MonitorSettings())
    gauges.show(found)
    return {one.name: [sample.labels for sample in one.samples] for one in gauges.collect()}


def test_alerting_rules_are_rules() -> None:
    names = [rule["alert"] for rule in rules()]
    assert len(names) == len(set(names))
    for rule in rules():
        assert rule.keys() == {"alert", "expr", "for", "labels", "annotations"}
        assert re.fullmatch(r"[A-Z]\w+", str(rule["alert"]))
        assert re.fullmatch(r"\d+[smhdw]", str(rule["for"]))
        assert rule["labels"] in ({"severity": level} for level in ("info", "warning", "critical"))
        assert rule["annotations"].keys() == {"summary", "description"}  # type: ignore[attr-defined]
        expression = str(rule["expr"])
        for opening, closing in ("()", "{}", "[]"):
            assert expression.count(opening) == expression.count(closing)
        assert re.search(r"==|<|>|absent", expression), "an alert compares something"


def test_alerting_rules_ask_for_what_is_exported(exported: dict[str, list[dict[str, str]]]) -> None:
    for rule in rules():
        wanted = re.findall(r"(surgecast_\w+)(?:\{([^}]*)\})?", str(rule["expr"]))
        assert wanted, rule["alert"]
        for name, selector in wanted:
            assert name in exported, f"{rule['alert']} asks for {name}"
            for label, equal, value in re.findall(r'(\w+)(!?=)"([^"]*)"', selector):
                assert any(
                    label in labels and (labels[label] == value) == (equal == "=")
                    for labels in exported[name]
                ), f"{rule['alert']}: no {name} with {label}{equal}{value}"


def test_every_check_and_age_has_its_alert(exported: dict[str, list[dict[str, str]]]) -> None:
    text = " ".join(str(rule["expr"]) for rule in rules())
    assert all(f'check="{check}"' in text for check in CHECKS)
    assert all(name in text for name in exported if name.endswith(("snapshot_age_days", "data_age_days")))


# ------------------------------------------------------------------------------ going on


@pytest.fixture
def watching(home: Home, tmp_path: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A process that monitors a copy of the home, and the address of its metrics."""
    shutil.copytree(home.root, tmp_path / "home")
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    line = [
        sys.executable,
        "-m",
        "forecast.cli.main",
        "monitor",
        "--home",
        str(tmp_path / "home"),
        "--metrics-port",
        str(port),
    ]
    more = ["--metrics-file", str(tmp_path / "m.prom"), "--no-log"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen([*line, *more], stderr=subprocess.PIPE, text=True, env=environment) as process:
        yield process, f"http://127.0.0.1:{port}/metrics"
        process.kill()


def test_it_answers_prometheus_until_it_is_ended(
    watching: tuple[subprocess.Popen[str], str], tmp_path: Path
) -> None:
    process, address = watching
    said = process.stderr
    assert said is not None
    assert next(said).strip() == f"monitoring every 60 minutes, metrics on {address}"
    assert next(said).startswith("demand up to 2023-11-19: 2 snapshots, 0 scored now")
    with urllib.request.urlopen(address) as answer:
        found = samples(answer.read().decode())
    assert read(found, "wql", segment="all") > 0
    same = {key for key in found if "age_days" not in key[0]}
    file = samples((tmp_path / "m.prom").read_text())
    assert {key: found[key] for key in same} == {key: file[key] for key in same}
    process.send_signal(signal.SIGTERM)
    assert said.read().splitlines()[-1] == "monitoring ended"
    assert process.wait(30) == 0
