"""`surgecast schedule` and its settings as a user meets them; the worked examples."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from datetime import date, timedelta
from pathlib import Path

import kubernetes_validate
import pytest
import yaml
from typer.testing import CliRunner, Result

import training.scheduling
from forecast.cli.main import run
from forecast.errors import SurgecastError
from forecast.home import Home
from forecast.settings import load_settings
from training.scheduling.cli import schedule
from training.scheduling.cron import parse_cron
from training.scheduling.history import History, RunRecord

EXAMPLES = Path(training.scheduling.__file__).parent / "examples"
CHINA = '[events]\ncalendars = ["china"]\n'


def ask(home: Path, *line: str) -> Result:
    return CliRunner().invoke(schedule, [*line, "--home", str(home)])


def refused(home: Path, settings: str) -> str:
    """What `schedule show` says of these settings."""
    (home / "surgecast.toml").write_text(settings)
    result = ask(home, "show")
    assert isinstance(result.exception, SurgecastError)
    assert result.exception.exit_status == 2
    return str(result.exception)


def test_show_lists_when_what_and_why(tmp_path: Path) -> None:
    (tmp_path / "surgecast.toml").write_text(
        CHINA + '[schedule]\ntimezone = "Asia/Shanghai"\n[schedule.events.double-11]\n[schedule.events.618]\n'
    )
    shown = ask(tmp_path, "show", "--until", "2099-01-01")
    assert "until: expected a day from today" in str(shown.exception)
    found = json.loads(ask(tmp_path, "show", "--json").stdout)
    assert found["timezone"] == "Asia/Shanghai"
    assert found["firings"][0]["at"].endswith("+08:00")
    assert {one["why"].split(" + ")[0] for one in found["firings"] if one["at"][11:16] == "03:00"} >= {
        "weekly"
    }
    assert "retrain" in ask(tmp_path, "show").stdout


def test_without_settings_it_is_weekly(tmp_path: Path) -> None:
    found = json.loads(ask(tmp_path, "show", "--json").stdout)
    assert [one["why"] for one in found["firings"]] == ["weekly"] * 4


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ('[schedule]\ncron = "0 3 31 2 *"', "schedule.cron: expected a day that comes, found '0 3 31 2 *'"),
        ('[schedule]\nevery = "never"', "schedule: expected something to do: every, cron, or an event"),
        (CHINA + "[schedule.events.duoble-11]", "found 'duoble-11'; did you mean double-11?"),
        (
            "[schedule.events.double-11]",
            "schedule.events.double-11: expected a kind of event of the calendars in use, found 'double-11',"
            " which is in 'china'; say calendars = [\"china\"] in [events]",
        ),
        (
            CHINA + "[schedule.events.double-11]\nday_before = 3",
            "line 3: schedule.events.double-11: expected keys days_before, on_day_every"
            " (did you mean days_before instead of day_before?), found {'day_before': 3}",
        ),
        (CHINA + '[schedule.events.618]\non_day_every = "1d"', 'expected 5m to 24h, such as "1h" or "30m"'),
        ('[schedule]\nweekday = "mondy"', "expected 'monday', 'tuesday',"),
        ('[schedule]\nat = "3 am"', "schedule.at: expected a time of the day, such as 03:00, found '3 am'"),
        ('[schedule]\ntimezone = "Shanghai"', "expected the name of a time zone, such as Asia/Shanghai"),
        ('[schedule]\nevry = "day"', "did you mean every?"),
    ],
)
def test_a_schedule_that_never_fires_or_means_nothing_is_refused(
    tmp_path: Path, settings: str, message: str
) -> None:
    assert message in refused(tmp_path, settings)


def test_an_event_that_does_not_come_again_is_refused(tmp_path: Path) -> None:
    (tmp_path / "events").mkdir()
    (tmp_path / "events" / "own.csv").write_text(f"kind,start\nopening,{date.today() - timedelta(days=99)}\n")
    message = refused(tmp_path, "[schedule.events.opening]")
    assert re.search(
        r"schedule\.events\.opening: expected a kind of event that comes, found none after", message
    )


def test_settings_of_the_schedule_are_shown_and_come_from_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SURGECAST_SCHEDULE_EVENTS", '{"618": {"days_before": 3}}')
    assert load_settings(Home(tmp_path)).schedule.events["618"].days_before == 3
    assert run(["settings", "show", "--json", "--home", str(tmp_path)]) == 0
    shown = json.loads(capsys.readouterr().out)["settings"]["schedule.events"]
    assert shown["value"] == {"618": {"days_before": 3, "on_day_every": "1h"}}
    monkeypatch.setenv("SURGECAST_SCHEDULE_EVENTS", "618")
    assert run(["settings", "show", "--home", str(tmp_path)]) == 2
    assert "SURGECAST_SCHEDULE_EVENTS: schedule.events: expected" in capsys.readouterr().err


def test_the_file_that_settings_init_writes_is_read_back(tmp_path: Path) -> None:
    assert run(["settings", "init", "--home", str(tmp_path)]) == 0
    text = (tmp_path / "surgecast.toml").read_text()
    (tmp_path / "surgecast.toml").write_text(re.sub(r"^# (\w+ = )", r"\1", text, flags=re.MULTILINE))
    given = load_settings(Home(tmp_path))
    (tmp_path / "surgecast.toml").unlink()
    assert given == load_settings(Home(tmp_path))


def test_history_lists_runs(tmp_path: Path) -> None:
    assert "nothing has run yet" in ask(tmp_path, "history").stderr
    record = RunRecord(
        id="1",
        action="retrain",
        why="weekly",
        planned="2026-05-04T19:00:00+00:00",
        started="2026-05-04T19:00:01+00:00",
        ended="2026-05-04T19:09:01+00:00",
        seconds=540.0,
        outcome="kept",
        exit=3,
        reason="peaks are worse",
        lines=("a", "b"),
    )
    History(tmp_path / "jobs" / "history.jsonl").add(record)
    (row,) = [line for line in ask(tmp_path, "history").stdout.splitlines() if "retrain" in line]
    assert row.split("  ")[0].strip() == "2026-05-04 19:00 UTC"
    assert re.search(r"weekly +kept +540 +3 +peaks are worse", row)
    assert json.loads(ask(tmp_path, "history", "--json").stdout)["runs"][0]["lines"] == ["a", "b"]


def test_systemd_takes_the_examples() -> None:
    program = shutil.which("systemd-analyze")
    if program is None:
        pytest.skip("systemd-analyze is not installed")
    for unit in ("surgecast-retrain.service", "surgecast-retrain.timer", "surgecast-schedule.service"):
        done = subprocess.run(
            [program, "verify", "--man=no", f"./{unit}"], cwd=EXAMPLES, capture_output=True, text=True
        )
        assert (done.returncode, done.stderr) == (0, "")
    timer = (EXAMPLES / "surgecast-retrain.timer").read_text()
    (calendar,) = re.findall(r"OnCalendar=(.*)", timer)
    done = subprocess.run([program, "calendar", calendar], capture_output=True, text=True, check=True)
    assert "Normalized form: Mon *-*-* 03:00:00" in done.stdout


@pytest.mark.parametrize("version", ["1.31", "1.37"])
def test_kubernetes_takes_the_examples(version: str) -> None:
    documents = list(yaml.safe_load_all((EXAMPLES / "kubernetes.yaml").read_text()))
    assert [one["kind"] for one in documents] == ["PersistentVolumeClaim", "CronJob", "Deployment", "Service"]
    for one in documents:
        kubernetes_validate.validate(one, version, strict=True)
    broken = {**documents[1], "spec": {**documents[1]["spec"], "shedule": "0 3 * * 1"}}
    with pytest.raises(kubernetes_validate.ValidationError, match="shedule"):
        kubernetes_validate.validate(broken, version, strict=True)


def test_the_parts_of_the_kubernetes_example_fit_together() -> None:
    claim, job, server, service = yaml.safe_load_all((EXAMPLES / "kubernetes.yaml").read_text())
    parse_cron(job["spec"]["schedule"])
    pods = [job["spec"]["jobTemplate"]["spec"]["template"], server["spec"]["template"]]
    for pod in pods:
        (volume,), (container,) = pod["spec"]["volumes"], pod["spec"]["containers"]
        assert volume["persistentVolumeClaim"]["claimName"] == claim["metadata"]["name"]
        (mount,), (home,) = container["volumeMounts"], container["env"]
        assert (mount["name"], mount["mountPath"]) == (volume["name"], home["value"])
        assert home["name"] == "SURGECAST_HOME"
    labels = pods[1]["metadata"]["labels"]
    assert service["spec"]["selector"] == server["spec"]["selector"]["matchLabels"] == labels
    rule = job["spec"]["jobTemplate"]["spec"]["podFailurePolicy"]["rules"][0]["onExitCodes"]
    assert rule["containerName"] == pods[0]["spec"]["containers"][0]["name"]
