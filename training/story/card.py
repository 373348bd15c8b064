"""The model card: what a person should know of a version before using it, written by its own numbers."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np

from forecast.demand.panel import STEP, Panel
from forecast.evaluation.backtest import BacktestReport
from forecast.model.bundle import Bundle
from forecast.times import iso
from training.story.weaknesses import weaknesses
from training.tracking import Run
from training.tracking.run import flatten

COLUMNS: Final = {
    "wql": "WQL",
    "wape": "WAPE",
    "bias": "bias",
    "coverage_80": "in 80 % band",
    "coverage_95": "in 95 % band",
}
PRIVACY: Final = """\
The model was fitted on units sold by item, location and platform in each period. What an order line says of
its buyer is never read into the demand store, so it is in neither the panel, the weights, nor the files of
this version. The files name series (item, location, platform) and their labels, and hold joint ranks of
forecasts; they hold no demand of the past. A series that few people buy from may still tell of them in its
sums: no noise is added, and no formal guarantee (such as differential privacy) is claimed."""


def model_card(
    bundle: Bundle,
    panel: Panel,
    report: BacktestReport | None = None,
    *,
    own: str = "surgecast",
    training: Mapping[str, object] | None = None,
    purpose: str = "train",
) -> str:
    """Markdown: data, features, training, scores by segment, known weaknesses, privacy.

    panel: what the bundle was fitted on, to the cutoff. report: a backtest of the same recipe, with `own`
    among its forecasters; None where there is none. training: its settings, nested as wanted.
    """
    parts = [
        _title(bundle, panel, purpose),
        _data(panel),
        _features(bundle, panel),
        _training(bundle, training or {}),
        _scores(report, own),
        "## Known weaknesses\n\n" + _bullets(weaknesses(bundle, panel, report, own)),
        f"## Privacy\n\n{PRIVACY}\n",
    ]
    return "\n".join(parts)


def log_card(run: Run, version: str, card: str) -> None:
    """Make a card the description of a registered version and of its run, and `model-card.md` of the run."""
    from training.registry import MODEL

    run.text(card, "model-card.md")
    run.describe(card)
    run.client.update_model_version(MODEL, version, description=card)


def _title(bundle: Bundle, panel: Panel, purpose: str) -> str:
    horizon, period = bundle.config.horizon, panel.period
    return (
        f"# Demand forecasts to {iso(panel.origin)}\n\n"
        f"Forecasts units per {period} for {panel.n_series:,} series, {horizon} {period}s ahead, as equally"
        f" likely scenarios with quantiles, means and chances of surges. Made by `{purpose}`; bundle"
        f" `{bundle.bundle_id}`.\n"
    )


def _data(panel: Panel) -> str:
    told_ST = panel.told_ST
    sold = float(np.nansum(panel.demand_ST))
    zero = float(np.mean(panel.demand_ST[told_ST] == 0)) if told_ST.any() else 0.0
    lines = [
        f"Version {panel.data_version or 'unknown'} of the demand table, {iso(panel.start)} to"
        f" {iso(panel.origin)}: {panel.n_series:,} series over {panel.n_periods:,} {panel.period}s,"
        f" {sold:,.0f} units.",
        f"{len(set(panel.keys.item.tolist())):,} items, {len(set(panel.keys.location.tolist())):,} locations,"
        f" {len(set(panel.keys.platform.tolist())):,} platforms.",
        f"{100 * (1 - told_ST.mean()):.1f} % of the periods tell nothing (missing, or sold out nearly all of"
        f" the time); {100 * zero:.0f} % of the others had no sale.",
    ]
    if panel.stocked_out_ST is not None:
        share = float(np.mean(panel.stocked_out_ST > 0))
        lines.append(
            f"Stock was short in {100 * share:.1f} % of the periods; demand then was the sales at least."
        )
    return "## Data\n\n" + _bullets(lines)


def _features(bundle: Bundle, panel: Panel) -> str:
    schema = bundle.schema
    known = [
        f"{one.name} ({'against its usual level' if one.relative else 'as it is'})" for one in schema.known
    ]
    labels = [f"{one.name} ({len(one.labels):,})" for one in schema.statics]
    kinds = sorted({name.split("/")[0] for name in schema.events})
    ahead = max(panel.n_known - panel.n_periods, 0)
    reach = f", to {iso(panel.origin + ahead * STEP[panel.period])}" if schema.known else ""
    lines = [
        "The series' own past, stock-outs, the calendar, and what the same time a year before was like.",
        f"Known ahead: {_list(known)}{reach}.",
        f"Labels: {_list(labels)}.",
        f"Events that it has seen: {_list(kinds)}.",
    ]
    return "## Features\n\n" + _bullets(lines)


def _training(bundle: Bundle, training: Mapping[str, object]) -> str:
    facts = [f"{name} {value}" for name, value in bundle.facts.items() if not isinstance(value, float)]
    settings = [f"{name} {value}" for name, value in flatten(training) if value is not None]
    found = [f"Of the fit: {', '.join(facts)}."]
    if settings:
        found.append(f"Settings: {', '.join(settings)}.")
    return "## Training\n\n" + _bullets(found)


def _scores(report: BacktestReport | None, own: str) -> str:
    if report is None:
        return "## Scores\n\nNone: it was not backtested.\n"
    first, last = iso(report.origins[0]), iso(report.origins[-1])
    lines = [
        f"Backtest from {len(report.origins)} origins, {first} to {last}, {report.horizon} periods ahead, by"
        " the same recipe fitted on what was known at the first of them. WQL and WAPE are errors as shares of"
        " demand: lower is better. Bias 0 is best.\n",
        "| segment | forecaster | " + " | ".join(COLUMNS.values()) + " |",
        "|---|---|" + "---:|" * len(COLUMNS),
    ]
    before = ""
    for row in _scored(report):
        name, who = row["slice"], row["forecaster"]
        cells = [_number(row[column], column) for column in COLUMNS]
        if who == own:
            who, cells = f"**{who}**", [f"**{cell}**" for cell in cells]
        lines.append(f"| {name if name != before else ''} | {who} | " + " | ".join(cells) + " |")
        before = name
    return "## Scores by segment\n\n" + "\n".join(lines) + "\n"


def _scored(report: BacktestReport) -> list[dict[str, Any]]:
    table = report.table()
    found: list[dict[str, Any]] = table.filter(table["n"] > 0).to_dicts()
    return found


def _number(value: float, column: str) -> str:
    if not math.isfinite(value):
        return "–"
    if column.startswith("coverage"):
        return f"{100 * value:.0f} %"
    return f"{100 * value:+.1f} %" if column == "bias" else f"{value:.3f}"


def _list(names: Sequence[str]) -> str:
    return ", ".join(names) if names else "none"


def _bullets(lines: Sequence[str]) -> str:
    return "".join(f"- {line}\n" for line in lines)
