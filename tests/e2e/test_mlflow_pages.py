"""What a person sees who browses the runs: MLflow's real server in a real browser, on jobs that ran."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import browser as browsers
import pytest
from conftest import Surgecast
from mlflow_pages import faults, mlflow_server, pages, visit

from forecast.home import Home
from training.pages_cli import overview

pytestmark = [
    pytest.mark.skipif(bool(browsers.missing()), reason=browsers.missing() or "there is a browser"),
    pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SADeprecationWarning"),
]

FULL = 25_000
"""Bytes that a PNG of a window with something in it has at least; an empty one has a fifth."""


@pytest.fixture(scope="module")
def home(published: Surgecast) -> Home:
    """A home with two models, a champion and one that is not."""
    published("train", "--steps", 5, "--seed", 1, "--backtest-origins", 1, "--no-promote")
    return Home(published.home)


@pytest.fixture(scope="module")
def address(home: Home) -> Iterator[str]:
    with mlflow_server(home) as found:
        yield found


@pytest.fixture(scope="module")
def browser() -> Iterator[browsers.Browser]:
    with browsers.browser() as opened:
        yield opened


def test_every_page_shows_what_it_should_without_an_error(
    home: Home, address: str, browser: browsers.Browser, tmp_path: Path
) -> None:
    for page in pages(home):
        visit(browser, address, page)
        picture = browser.screenshot()
        (tmp_path / f"{page.name}.png").write_bytes(picture)
        assert len(picture) > FULL, page.name
        assert faults(browser) == [], page.name
        outside = [
            url for url in browser.requests() if url.startswith("http") and not url.startswith(address)
        ]
        assert outside == [], page.name


def test_the_overview_alone_fetches_nothing(home: Home, browser: browsers.Browser, tmp_path: Path) -> None:
    file = tmp_path / "overview.html"
    overview(home=home.root, out=file)
    browser.requests()
    browser.open(file.as_uri(), "The model", "version 1", "Accuracy over time", "Last jobs", "Words")
    assert {url for url in browser.requests() if url.startswith(("http", "file"))} == {file.as_uri()}
    assert browser.console() == []
    assert browser.run("return document.querySelectorAll('script').length") == 0
    assert browser.run("return document.documentElement.scrollWidth <= innerWidth")
