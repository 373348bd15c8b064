"""Looking at versions: `models list`, `show`, `compare`, and what is said where something is wrong."""

from __future__ import annotations

import json
import shutil
import sqlite3
from contextlib import closing
from typing import Any

import pytest

from forecast.cli.main import run
from forecast.home import Home
from training.registry import aliases_of, bundle_folder, find, versions

# MLflow's own use of SQLAlchemy; nothing that we could change.
pytestmark = pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SADeprecationWarning")

CUTOFF = "2023-04-20"
Capture = pytest.CaptureFixture[str]


def asked(home: Home, capsys: Capture, *words: str) -> dict[str, Any]:
    capsys.readouterr()
    assert run(["models", *words, "--home", str(home.root), "--json"]) == 0
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def refused(home: Home, capsys: Capture, *words: str, status: int = 1) -> str:
    """The one line that a command fails with."""
    capsys.readouterr()
    assert run(["models", *words, "--home", str(home.root)]) == status
    shown = capsys.readouterr()
    assert shown.out == ""
    *_, line = shown.err.splitlines()
    assert line.startswith("error: ")
    return line


def delete_behind_the_back(home: Home, version: str) -> None:
    """What a deletion by an older MLflow, or by hand, leaves: an alias of a version that is gone."""
    with closing(sqlite3.connect(home.mlflow_db)) as database, database:
        database.execute(
            "update model_versions set current_stage = 'Deleted_Internal' where version = ?", (version,)
        )


def test_the_list_says_what_each_version_is(made: Home, capsys: Capture) -> None:
    assert run(["models", "list", "--home", str(made.root)]) == 0
    head, _, *rows, last = [line for line in capsys.readouterr().out.splitlines() if line.strip()]
    assert " ".join(head.split()) == "version alias cutoff trained WQL gate MB bundle state serves"
    newest, second, first = (line.split() for line in rows)
    assert (newest[:3], newest[-1]) == (["3", "challenger", "2023-04-06"], "here")
    assert (second[:2], second[-1]) == (["2", "champion"], "serves")
    assert (first[:2], first[-1]) == (["1", "previous"], "here")
    assert "failed" in newest
    assert "0.45" in newest
    assert last.startswith("bundles without a version: ")


def test_the_list_in_json(made: Home, capsys: Capture) -> None:
    found = asked(made, capsys, "list")
    assert [one["version"] for one in found["versions"]] == ["3", "2", "1"]
    assert [one["serves"] for one in found["versions"]] == [False, True, False]
    assert found["versions"][0]["bundle_bytes"] > 10_000
    assert len(found["bundles_without_version"]) == 1
    assert (found["aliases_of_deleted_versions"], found["troubles"]) == ({}, [])


def test_an_empty_home_has_none(tmp_path: Any, capsys: Capture) -> None:
    empty = Home(tmp_path / "home")
    assert run(["models", "list", "--home", str(empty.root)]) == 0
    assert capsys.readouterr().out == f"no version yet in {empty.root}; `surgecast train` makes one\n"
    assert not empty.root.exists()
    line = refused(empty, capsys, "show", "champion")
    assert line == "error: version: expected one that `surgecast train` made, found champion"
    assert "surgecast train" in refused(empty, capsys, "rollback")
    assert "surgecast train" in refused(empty, capsys, "promote", "1")
    assert run(["models", "prune", "--home", str(empty.root)]) == 0
    assert not empty.root.exists()


def test_show_tells_scores_findings_and_why(made: Home, capsys: Capture) -> None:
    assert run(["models", "show", "champion", "--home", str(made.root)]) == 0
    shown = capsys.readouterr().out
    for text in ("the promotion gate agreed", "origin", "peak", "seasonal naive", "WQL -1.0 %", "--card"):
        assert text in shown
    found = asked(made, capsys, "show", "3")
    expected = "peaks, peak: expected not surely more than 2 % worse than champion"
    assert found["kept_back"] == f"{expected}, found WQL +9.0 % (+4.0 to +14.0 %)"
    assert (found["promoted"], found["why"]) == ("", "")
    assert found["scores"][0]["wql"] == 0.45
    assert len(asked(made, capsys, "show", "2")["snapshots"]) == 1
    assert run(["models", "show", "2", "--card", "--home", str(made.root)]) == 0
    assert capsys.readouterr().out.startswith(f"# Card of {find(made).bundle_id}")


def test_a_version_goes_by_number_alias_or_bundle(made: Home, capsys: Capture) -> None:
    second = versions(made)[1]
    for name in ("2", "champion", second.bundle_id, second.bundle_id[:6]):
        assert asked(made, capsys, "show", name)["line"]["version"] == "2"


def test_what_there_is_not_is_said_with_what_there_is(made: Home, capsys: Capture) -> None:
    expected = "one of 1, 2, 3, an alias or the beginning of a bundle's id"
    assert refused(made, capsys, "show", "7") == f"error: version: expected {expected}, found 7"
    assert f"expected {expected}, found best" in refused(made, capsys, "show", "best")
    orphan = asked(made, capsys, "list")["bundles_without_version"][0]
    line = refused(made, capsys, "show", orphan)
    assert f"found {orphan}, a bundle that is no version; `surgecast publish --bundle ID`" in line
    assert "expected two different ones, found 2 twice" in refused(
        made, capsys, "compare", "2", "champion", status=2
    )
    assert "--backtest beside them" in refused(
        made, capsys, "compare", "1", "2", "--cutoff", "2023-04-01", status=2
    )


def test_compare_tells_differences_and_stored_scores(made: Home, capsys: Capture) -> None:
    assert run(["models", "compare", "2", "1", "--home", str(made.root)]) == 0
    shown = capsys.readouterr().out
    assert "training.seed" in shown
    assert "WQL, 2 origins" in shown
    said = "version 2 against version 1: WQL -2.0 % on 2 common origins; --backtest tells whether"
    assert shown.splitlines()[-1] == f"{said} that is more than chance"
    found = asked(made, capsys, "compare", "2", "1")
    assert found["settings"] == {"training.seed": ["2", "1"]}
    assert found["origins"] == ["2023-04-06", "2023-04-13"]
    assert found["stored"][0] == {
        "where": "all",
        "first": pytest.approx(0.48),
        "second": pytest.approx(0.49),
        "share": pytest.approx(0.48 / 0.49 - 1),
    }


def test_compare_backtests_both_when_asked(made: Home, capsys: Capture) -> None:
    line = ["compare", "2", "1", "--backtest", "--origins", "2", "--cutoff", CUTOFF, "--device", "cpu"]
    found = asked(made, capsys, *line)
    overall = found["computed"][0]
    assert (overall["slice"], overall["verdict"], overall["share"]) == ("all", "even", 0.0)
    assert found["verdict"] == "version 2 is as good as version 1: WQL +0.0 % (+0.0 to +0.0 %)"
    assert [cost["bundle_bytes"] > 0 < cost["seconds_per_1000_series"] for cost in found["costs"]] == [
        True
    ] * 2


def test_an_alias_of_a_deleted_version_is_said_with_the_way_out(home: Home, capsys: Capture) -> None:
    delete_behind_the_back(home, "2")
    expected = "error: champion: expected a version that is there; `surgecast models list` shows them"
    assert run(["publish", "--home", str(home.root)]) == 1
    assert capsys.readouterr().err.startswith(expected)
    line = refused(home, capsys, "show", "champion")
    assert "`surgecast models promote VERSION` sets the alias anew" in line
    assert "found alias champion, of version 2, which was deleted" in line
    assert run(["models", "list", "--home", str(home.root)]) == 0
    assert "alias champion points to version 2, which was deleted" in capsys.readouterr().err
    assert (
        run(["models", "promote", "1", "--home", str(home.root), "--cutoff", CUTOFF, "--device", "cpu"]) == 0
    )
    assert find(home).version == "1"
    assert aliases_of(home)["champion"] == "1"


def test_a_bundle_of_another_release_is_said_with_the_way_out(home: Home, capsys: Capture) -> None:
    path = bundle_folder(home, find(home).bundle_id) / "bundle.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "format": 99}))
    found = asked(home, capsys, "list")
    assert found["versions"][1]["state"] == "format 99, of another release"
    assert found["troubles"][0].startswith("version 2 (champion) has a bundle that is format 99")
    assert run(["publish", "--home", str(home.root)]) == 1
    line = capsys.readouterr().err
    assert line.startswith("error: bundle.json format: expected 2, ")
    assert "models rollback" in line
    assert asked(home, capsys, "rollback")["version"] == "1"


def test_a_bundle_that_is_gone_comes_back_from_its_run(home: Home, capsys: Capture) -> None:
    first = versions(home)[0]
    shutil.rmtree(bundle_folder(home, first.bundle_id))
    assert asked(home, capsys, "list")["versions"][-1]["state"] == "gone, a copy is in its run"
    line = ["models", "promote", "1", "--home", str(home.root), "--cutoff", CUTOFF, "--device", "cpu"]
    assert run(line) == 0
    assert f"its bundle {first.bundle_id} was gone and is back" in capsys.readouterr().err
    assert find(home).version == "1"


def test_a_bundle_that_is_gone_for_good_is_said(home: Home, capsys: Capture) -> None:
    third = versions(home)[2]
    shutil.rmtree(bundle_folder(home, third.bundle_id))
    shutil.rmtree(home.mlflow_artifacts / third.run_id / "artifacts" / "bundle")
    assert asked(home, capsys, "list")["versions"][0]["state"] == "gone"
    line = refused(home, capsys, "promote", "3", "--reason", "try")
    assert "bundle: expected that of version 3 in" in line
    assert "found neither; another version can serve" in line
    assert find(home).version == "2"
