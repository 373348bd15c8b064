"""Texts for people: the model card and the overview, from models and jobs that really were."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from panels import make_panel
from tracking_home import home_with_mlflow

from forecast.demand.panel import Panel
from forecast.errors import NotFoundError, UsageError
from forecast.evaluation.backtest import BacktestReport, backtest
from forecast.evaluation.baselines import baselines
from forecast.home import Home
from forecast.model.bundle import Bundle
from forecast.model.config import ModelConfig
from training import story
from training.config import TrainingConfig
from training.fit import fit
from training.pages_cli import overview
from training.registry import CHAMPION, MODEL, bundle_folder, register
from training.story.charts import Line, Point, line_chart
from training.tracking import Run, connect

pytestmark = pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SADeprecationWarning")

HORIZON = 7


@pytest.fixture(scope="module")
def panel() -> Panel:
    generator = np.random.default_rng(3)
    demand = generator.poisson(5, (6, 100)).astype(np.float32)
    demand[:3, np.arange(100) % 4 > 0] = 0
    demand[:, [30, 60, 95]] *= 6  # surges
    statics = {"city": ["a", "b", "a", "b", "a", "b"]}
    return make_panel(demand, price_SP=np.ones((6, 120)), statics=statics, events={"gala/day": [30, 60, 95]})


@pytest.fixture(scope="module")
def bundle(panel: Panel) -> Bundle:
    model = ModelConfig.for_history(panel.period, horizon=HORIZON, n_periods=panel.n_periods)
    return fit(panel, model=model, training=TrainingConfig(steps=2, device="cpu"))


@pytest.fixture(scope="module")
def report(panel: Panel) -> BacktestReport:
    made = baselines(n_scenarios=8)
    return backtest(panel, {"surgecast": made["moving average"], **made}, [86, 93], HORIZON)


@pytest.fixture(scope="module")
def home(
    tmp_path_factory: pytest.TempPathFactory, panel: Panel, bundle: Bundle, report: BacktestReport
) -> Home:
    """A home with a champion, a job that kept it, and one that the data gate stopped."""
    home = home_with_mlflow(tmp_path_factory.mktemp("texts") / "home")
    folder = bundle_folder(home, bundle.bundle_id)
    bundle.save(folder)
    with Run(home, "retrain 2024-04-09", tags={"purpose": "retrain", "job": "k1"}) as run:
        run.data(panel, source="demand")
        story.log_fit(run, panel, bundle, device="cpu")
        story.log_backtest(run, panel, report, [86, 93], own="surgecast")
        registered = register(run, bundle, folder, aliases=(CHAMPION,))
        story.log_card(run, registered.version, story.model_card(bundle, panel, report))
    for key, status, reason in (("k1", "promoted", "better at peaks"), ("k2", "failed", "volume <0>")):
        ledger = home.root / "jobs" / key / "job.json"
        ledger.parent.mkdir(parents=True)
        facts = {"format": 1, "status": status, "reason": reason, "began": f"2024-04-1{key[1]}T03:00:00"}
        ledger.write_text(json.dumps({**facts, "cutoff": "2024-04-09T00:00:00"}))
    return home


def section(card: str, title: str) -> str:
    """The text below a heading."""
    found: str = re.split(rf"^## {title}\n", card, flags=re.MULTILINE)[1].split("\n## ")[0]
    return found


def test_a_card_tells_data_scores_weaknesses_and_privacy(
    panel: Panel, bundle: Bundle, report: BacktestReport
) -> None:
    card = story.model_card(bundle, panel, report, training={"steps": 2})
    assert "2024-01-01 to 2024-04-09: 6 series over 100 days" in section(card, "Data")
    assert "price" in section(card, "Features")
    assert "gala" in section(card, "Features")
    assert "steps 2" in section(card, "Training")
    scores = section(card, "Scores by segment")
    assert "| all | **surgecast** |" in scores
    assert "| peak |" in scores
    assert "no formal guarantee" in section(card, "Privacy")


def test_weaknesses_are_read_off_the_numbers(panel: Panel, bundle: Bundle, report: BacktestReport) -> None:
    """A moving average knows of no surge: its card must say so."""
    weak = section(story.model_card(bundle, panel, report), "Known weaknesses")
    table = {row["slice"]: row for row in report.table().to_dicts() if row["forecaster"] == "surgecast"}
    assert f"{table['all']['wql']:.3f}" in weak
    assert "is better on" in weak
    unknown = section(story.model_card(bundle, panel), "Known weaknesses")
    assert unknown.startswith("\n- It was not backtested")


def test_the_version_has_its_card_and_a_schema(home: Home, bundle: Bundle) -> None:
    client = connect(home)
    version = client.get_model_version_by_alias(MODEL, CHAMPION)
    assert "## Known weaknesses" in version.description
    content = json.loads(Path(client.download_artifacts(str(version.run_id), "bundle/MLmodel")).read_text())
    assert content["flavors"]["surgecast"]["bundle_id"] == bundle.bundle_id
    names = [column["name"] for column in json.loads(content["signature"]["inputs"])]
    assert names == ["item", "location", "platform", "time", "demand", "city", "price", "event gala/day"]
    outputs = [column["name"] for column in json.loads(content["signature"]["outputs"])]
    assert outputs[4:7] == ["mean", "q0.005", "q0.025"]


def test_a_fit_is_explained_in_pictures(home: Home) -> None:
    client = connect(home)
    run_id = str(client.get_model_version_by_alias(MODEL, CHAMPION).run_id)
    pictures = {Path(item.path).name for item in client.list_artifacts(run_id, "pictures")}
    assert {"explanation-typical.png", "explanation-surging.png"} <= pictures


class Tags(HTMLParser):
    """Tags that are open at the end, and attributes that would fetch something."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.fetched: list[str] = []
        self.links: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_startendtag(tag, attrs)
        if tag != "meta":
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.fetched += [f"{tag} {name}" for name, _ in attrs if name in ("src", "srcset", "data")]
        self.fetched += [tag] if tag in ("script", "link", "iframe") else []
        self.links += [str(value) for name, value in attrs if name == "href"]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_overview_tells_what_serves_how_good_and_why(home: Home) -> None:
    page = story.overview(home, address="http://127.0.0.1:7000")
    text = re.sub(r"<[^>]+>", " ", page)
    assert "version 1" in text
    assert "better at peaks" in text
    assert "volume &lt;0&gt;" in page  # what others wrote is no markup
    assert "nothing yet" in text  # is served
    assert "units for every 100 that were sold" in text
    tags = Tags()
    tags.feed(page)
    assert (tags.open, tags.fetched) == ([], [])
    assert len(tags.links) == 2  # the job and the version
    assert all(link.startswith("http://127.0.0.1:7000/#/") for link in tags.links)


def test_there_is_one_overview_and_it_stays_where_it_is(home: Home) -> None:
    first, second = story.log_overview(home), story.log_overview(home)
    assert first == second
    client = connect(home)
    experiment = client.get_experiment_by_name("surgecast")
    assert experiment is not None
    assert f"/runs/{first}/artifacts/overview.html" in experiment.tags["mlflow.note.content"]
    found = client.search_runs([experiment.experiment_id], "tags.purpose = 'overview'")
    assert [one.info.run_id for one in found] == [first]
    assert "version 1" in found[0].data.tags["mlflow.note.content"]


def test_the_command_writes_a_file_and_refuses_what_is_wrong(home: Home, tmp_path: Path) -> None:
    file = tmp_path / "overview.html"
    overview(home=home.root, out=file)
    assert file.read_text().startswith("<!doctype html>")
    with pytest.raises(UsageError, match=r"ending in \.html"):
        overview(home=home.root, out=tmp_path / "overview.pdf")
    with pytest.raises(NotFoundError, match="surgecast train"):
        overview(home=tmp_path / "none")


def test_an_overview_in_trouble_fails_no_job(home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    elsewhere = home.mlflow_db.rename(home.root / "elsewhere.db")
    home.mlflow_db.write_bytes(b"no database")
    try:
        story.refresh_overview(home)
    finally:
        elsewhere.rename(home.mlflow_db)
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"the overview was not written: {home.mlflow_db}: expected")


def test_an_empty_home_has_an_overview_too(tmp_path: Path) -> None:
    page = story.overview(Home(tmp_path))
    assert "none yet" in page
    assert "surgecast train" in page


def test_a_chart_of_one_point_and_of_none_is_drawn() -> None:
    from datetime import datetime

    one = Line(name="a<b", colour="#123", points=[Point(at=datetime(2024, 1, 1), value=0.4, note="n")])
    assert "a&lt;b" in line_chart([one], title="t")
    assert line_chart([Line(name="a", colour="#123", points=[])], title="t") == ""
