"""The overview: one page that tells a person who does not know the code what happened and how good it is.

The page is self-contained: styles and pictures are inline, there are no scripts, and nothing is fetched.
"""

from __future__ import annotations

from datetime import UTC, datetime
from html import escape
from typing import Final

from forecast.cli.output import say
from forecast.errors import SurgecastError
from forecast.home import Home
from training.story.history import History, read_history
from training.story.page import GLOSSARY, STYLE
from training.story.sections import FLOW, MOST_ROWS, outcome, sections
from training.tracking import EXPERIMENT_TAGS, NOTE, Run, connect, experiment

NAME: Final = "overview"
FILE: Final = "overview.html"
ADDRESS: Final = "http://127.0.0.1:5000"
"""Where `surgecast mlflow` listens unless told otherwise."""


def overview(home: Home, *, address: str = ADDRESS) -> str:
    """The page as HTML. `address`: of MLflow's pages, which the links lead to.

    Raises what `training.tracking` raises where the database is in trouble.
    """
    return render(read_history(home), address)


def render(story: History, address: str) -> str:
    """A history as a page."""
    body = [*sections(story, address), GLOSSARY]
    made = datetime.now(UTC)
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>surgecast overview</title><style>{STYLE}</style></head><body><main>"
        f'<header><h1>surgecast</h1><p class="muted">Demand forecasts through sales surges. This page was'
        f" written on {made:%Y-%m-%d} at {made:%H:%M} UTC and does not change by itself.</p></header>"
        + "".join(body)
        + f'<footer class="muted">Links lead to MLflow, which <code>surgecast mlflow</code> opens'
        f" on {escape(address)}.</footer></main></body></html>"
    )


def log_overview(home: Home, *, address: str = ADDRESS) -> str:
    """Write the page into MLflow as `overview.html` of the one run tagged purpose=overview; the id of that
    run, which stays the same, so that it can be bookmarked. The experiment's description leads to it."""
    story = read_history(home)
    html = render(story, address)
    client = connect(home)
    place = experiment(client, home)
    former = client.search_runs([place], f"tags.purpose = '{NAME}'", max_results=1)
    resume = former[0].info.run_id if former else None
    with Run(home, NAME, tags={"purpose": NAME}, resume=resume) as run:
        run.text(html, FILE)
        run.describe(_note(story))
    if resume is None:
        link = f"[Open the overview](#/experiments/{place}/runs/{run.run_id}/artifacts/{FILE}{FLOW}).\n\n"
        client.set_experiment_tag(place, NOTE, link + EXPERIMENT_TAGS[NOTE])
    return run.run_id


def refresh_overview(home: Home) -> None:
    """Write the page anew at the end of a job, which it must not fail: trouble is said and no more."""
    try:
        log_overview(home)
    except SurgecastError as error:
        say(f"the overview was not written: {error}")


def _note(story: History) -> str:
    """What MLflow shows on the run itself; its links work there, those of the page do not."""
    champion = story.champion
    lines = [f"Open **Artifacts**, `{FILE}`: the story of this installation on one page.\n"]
    if champion is not None:
        lines.append(
            f"- serving now: [version {champion.version}](#/models/surgecast/versions/{champion.version})"
        )
    lines += [
        f"- [{one.name}](#/experiments/{one.experiment_id}/runs/{one.run_id}{FLOW}): {outcome(story, one)[2]}"
        for one in story.runs[:MOST_ROWS]
    ]
    return "\n".join(lines)
