"""The parts of the overview: what serves now, accuracy over time, jobs, checks, models."""

from __future__ import annotations

import math
from datetime import datetime
from html import escape
from typing import Final

from forecast.times import iso
from training.story.charts import Line, Point, line_chart
from training.story.history import History, JobFacts, RunFacts

MODEL_WQL: Final = "backtest/wql/surgecast"
RIVAL_WQL: Final = "backtest/wql/champion"
NAIVE_WQL: Final = "backtest/wql/seasonal_naive"
MODEL_WAPE: Final = "backtest/wape/surgecast"
NAIVE_WAPE: Final = "backtest/wape/seasonal_naive"
MOST_ROWS: Final = 20
OUTCOME: Final = "outcome"
"""The tag of a run that says what became of its model: promoted, or registered and no more."""
VERSIONS: Final = "/#/models/surgecast/versions/"
FLOW: Final = "?workflowType=machine_learning"
"""MLflow's pages for models, not those for chats."""
WATCHED: Final = {
    "monitor/wql": "error",
    "monitor/naive_wql": "of naive",
    "monitor/bias": "bias",
    "monitor/coverage_80": "in 80 % band",
}
"""Metrics of a check of published forecasts, the newest origin's, and their headings."""
VERDICTS: Final = {
    "promoted": ("good", "promoted"),
    "kept": ("even", "kept back"),
    "failed": ("bad", "failed"),
    "running": ("busy", "at work"),
    "superseded": ("even", "overtaken"),
}


def sections(story: History, address: str) -> list[str]:
    """Each part as HTML; empty where there is nothing to tell. `address`: of MLflow's pages."""
    return [
        _now(story),
        _accuracy(story),
        _jobs(story, address),
        _watch(story, address),
        _models(story, address),
    ]


def _now(story: History) -> str:
    """Three cards: the model, what servers read, how good it is."""
    champion, serving = story.champion, story.serving
    model = '<p class="big">none yet</p><p>Run <code>surgecast train</code>.</p>'
    if champion is not None:
        since = _when(champion.tags.get("promoted") or f"{champion.made:%Y-%m-%dT%H:%M}")
        model = (
            f'<p class="big">version {escape(champion.version)}</p>'
            f"<p>It has seen demand up to <b>{escape(champion.cutoff)}</b>."
            f" Champion since {since} UTC.</p>"
        )
    served = '<p class="big">nothing yet</p><p>Run <code>surgecast publish</code>.</p>'
    if serving is not None:
        facts = serving.manifest
        moved = serving.pointer.moved[:16].replace("T", " ")
        same = champion is not None and champion.bundle_id == facts.bundle_id
        other = "" if same else " <b>They were made by another model than the champion.</b>"
        served = (
            f'<p class="big">{facts.n_series:,} series</p>'
            f"<p>Forecasts for {facts.horizon} {facts.period}s after {iso(str(facts.origin))}, served since"
            f" {escape(moved)} UTC.{other}</p>"
        )
    cards = [("The model", model), ("What planners get", served), ("How good it is", _goodness(story))]
    return '<section class="cards">' + "".join(f"<div><h2>{a}</h2>{b}</div>" for a, b in cards) + "</section>"


def _goodness(story: History) -> str:
    champion = story.champion
    run = story.run(champion.run_id) if champion else None
    if run is None or MODEL_WAPE not in run.metrics:
        return '<p class="big">not known</p><p>The model was not backtested.</p>'
    own, naive = run.metrics[MODEL_WAPE], run.metrics.get(NAIVE_WAPE, math.nan)
    text = (
        f'<p class="big">off by {100 * own:.0f} in 100</p><p>On days it had not seen, single forecasts were'
        f" off by {100 * own:.0f} units for every 100 that were sold."
    )
    if naive > 0:
        gain = 100 * (1 - own / naive)
        which = f"{gain:.0f} % better than" if gain > 0 else f"{-gain:.0f} % worse than"
        text += f" Repeating last season's demand was off by {100 * naive:.0f}: the model is {which} that."
    return text + "</p>"


def _accuracy(story: History) -> str:
    """Errors of every model that was backtested, with those of the rivals on the same days."""
    tested = [run for run in story.runs if MODEL_WQL in run.metrics and _moment(run.cutoff) is not None]
    promoted = {one.run_id for one in story.versions if one.is_champion or "promoted" in one.tags}
    promoted |= {run.run_id for run in tested if run.tags.get(OUTCOME) == "promoted"}
    kinds = [
        ("new model", MODEL_WQL, "#2a6f97", False),
        ("champion of that time", RIVAL_WQL, "#d1495b", False),
        ("seasonal naive (last season again)", NAIVE_WQL, "#8d99ae", True),
    ]
    lines = [
        Line(
            name=name,
            colour=colour,
            dashed=dashed,
            points=[
                Point(
                    at=at,
                    value=run.metrics[metric],
                    note=f"{run.name}: {run.metrics[metric]:.3f}",
                    filled=metric != MODEL_WQL or run.run_id in promoted,
                )
                for run in tested
                if metric in run.metrics and (at := _moment(run.cutoff)) is not None
            ],
        )
        for name, metric, colour, dashed in kinds
    ]
    chart = line_chart(lines, title="Error (WQL) by the last day of demand that a model had seen")
    if not chart:
        return ""
    return (
        "<section><h2>Accuracy over time</h2><p>Error (WQL, lower is better) by the last day of demand that a"
        " model had seen. The points of one day are tests on the same past periods, which no model had seen."
        f" A full circle of the new model: it became champion.</p>{chart}</section>"
    )


def _jobs(story: History, address: str) -> str:
    by_key = {run.tags["job"]: run for run in story.runs if run.tags.get("job")}
    rows = [(job.began, _job_row(story, job, by_key.get(job.key), address)) for job in story.jobs]
    keys = {job.key for job in story.jobs}
    rows += [
        (f"{run.started:%Y-%m-%dT%H:%M:%S}", _run_row(story, run, address))
        for run in story.runs
        if run.purpose != "monitor" and run.tags.get("job", "") not in keys
    ]
    if not rows:
        return ""
    rows.sort(key=lambda row: row[0], reverse=True)
    heads = ("when", "job", "data up to", "result", "why", "error", "of naive")
    return _table("Last jobs", heads, [row for _, row in rows[:MOST_ROWS]])


def _job_row(story: History, job: JobFacts, run: RunFacts | None, address: str) -> list[str]:
    kind, word = VERDICTS.get(job.status, ("even", job.status))
    name = f"retrain {job.cutoff}" if run is None else _link(run, address)
    return [_when(job.began), name, escape(job.cutoff), _badge(kind, word), escape(job.reason), *_errors(run)]


def _run_row(story: History, run: RunFacts, address: str) -> list[str]:
    kind, word, why = outcome(story, run)
    moment = f"{run.started:%Y-%m-%dT%H:%M}"
    return [
        _when(moment),
        _link(run, address),
        escape(run.cutoff),
        _badge(kind, word),
        escape(why),
        *_errors(run),
    ]


def outcome(story: History, run: RunFacts) -> tuple[str, str, str]:
    """How a run ended: the kind of badge, its word, and why."""
    if run.status == "RUNNING":
        return "busy", "at work", "it has not ended"
    if run.status in ("FAILED", "KILLED"):
        return "bad", "failed", run.tags.get("error", "interrupted")
    version = next((one for one in story.versions if one.run_id == run.run_id), None)
    if version is None:
        return "even", "done", run.purpose
    if version.is_champion:
        return "good", "promoted", f"version {version.version} is the champion"
    if "promoted" in version.tags or run.tags.get(OUTCOME) == "promoted":
        return "good", "promoted", f"version {version.version} was champion until another one followed"
    return "even", "registered", f"version {version.version} was not made champion"


def _watch(story: History, address: str) -> str:
    """Published forecasts against what came true, where that was looked at."""
    seen = [run for run in story.runs if run.purpose == "monitor" and run.metrics][:MOST_ROWS]
    if not seen:
        return ""
    rows = [
        [
            f"{run.started:%Y-%m-%d %H:%M}",
            _link(run, address),
            *(_number(run.metrics.get(name)) for name in WATCHED),
            escape(run.tags.get("findings", "")),
        ]
        for run in seen
    ]
    heads = ("when", "check", *WATCHED.values(), "what was found")
    return _table("Published forecasts against what came true", heads, rows)


def _models(story: History, address: str) -> str:
    rows = [
        [
            f'<a href="{escape(address)}{VERSIONS}{one.version}{FLOW}">version {one.version}</a>',
            "".join(_badge("good" if alias == "champion" else "even", alias) for alias in one.aliases),
            escape(one.cutoff),
            f"{one.made:%Y-%m-%d %H:%M}",
            f"<code>{escape(one.bundle_id)}</code>",
            *_errors(story.run(one.run_id)),
        ]
        for one in story.versions[:MOST_ROWS]
    ]
    heads = ("model", "", "data up to", "made", "bundle", "error", "of naive")
    return _table("Models", heads, rows) if rows else ""


def _errors(run: RunFacts | None) -> list[str]:
    metrics = {} if run is None else run.metrics
    return [_number(metrics.get(MODEL_WQL)), _number(metrics.get(NAIVE_WQL))]


def _table(title: str, heads: tuple[str, ...], rows: list[list[str]]) -> str:
    head = "".join(f"<th>{escape(one)}</th>" for one in heads)
    body = "".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in rows)
    return (
        f'<section><h2>{title}</h2><div class="wide"><table><thead><tr>{head}</tr></thead>'
        f"<tbody>{body}</tbody></table></div></section>"
    )


def _link(run: RunFacts, address: str) -> str:
    place = f"{escape(address)}/#/experiments/{run.experiment_id}/runs/{run.run_id}{FLOW}"
    return f'<a href="{place}">{escape(run.name)}</a>'


def _badge(kind: str, word: str) -> str:
    return f'<span class="badge {kind}">{escape(word)}</span>'


def _number(value: float | None) -> str:
    return "–" if value is None or not math.isfinite(value) else f"{value:.3f}"


def _when(moment: str) -> str:
    return escape(moment[:16].replace("T", " "))


def _moment(cutoff: str) -> datetime | None:
    try:
        return datetime.fromisoformat(cutoff)
    except ValueError:
        return None
