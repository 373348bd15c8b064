"""Explaining a forecast of the champion: its parts as a table, a picture or plain values. No training."""

from __future__ import annotations

import io
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from forecast.cli.output import Cell
from forecast.demand.find import find_series
from forecast.demand.panel import Panel
from forecast.demand.panel_build import load_panel
from forecast.home import Home
from forecast.model.explanation import Explanation, explain
from forecast.model.forecaster import Forecaster
from training.features import check_known
from training.registry import find, load_bundle


@dataclass(frozen=True, kw_only=True)
class Explained:
    """The explanation of one series' forecast, the panel of that series alone, and the bundle's id."""

    explanation: Explanation
    panel: Panel
    bundle_id: str

    @property
    def events(self) -> list[list[str]]:
        """Of each step, the channels (event/phase) that are on for the series."""
        events, first = self.panel.events, self.panel.n_periods
        steps = range(first, first + len(self.explanation.times))
        on_LE = events.intensity_GLE[events.group_S[0]] != 0
        return [[n for n, on in zip(events.names, on_LE[t], strict=True) if on] for t in steps]


def explain_series(
    home: Home,
    key: tuple[str, str, str],
    *,
    horizon: int | None,
    bundle_id: str | None,
    cutoff: np.datetime64 | None,
    device: str,
) -> Explained:
    """Explain the forecast of the series `key` (item, location, platform) by a bundle, the champion's when
    None; over its whole horizon when None.

    Raises NotFoundError without such a series, a champion, a bundle or demand; UsageError for a longer
    horizon than the model's; InputError as publishing does.
    """
    bundle_id = find(home).bundle_id if bundle_id is None else bundle_id
    bundle = load_bundle(home, bundle_id)
    ahead = bundle.config.horizon if horizon is None else horizon
    panel = load_panel(home, cutoff=cutoff, horizon=bundle.config.horizon)
    item, location, platform = key
    row = find_series(panel.keys, item=item, location=location, platform=platform)
    forecaster = Forecaster(bundle, device)
    forecaster.check(panel, ahead)
    check_known(bundle.schema, panel, ahead)
    explanation = explain(forecaster, panel, [row], ahead)
    return Explained(explanation=explanation, panel=panel.select(np.array([row])), bundle_id=bundle_id)


def explained_json(explained: Explained) -> dict[str, object]:
    """One JSON object: the series, and of each step its time, mean, parts by name and events."""
    found = explained.explanation
    keys = found.keys
    steps = [
        {"time": time, "mean": float(mean), "parts": dict(zip(found.names, parts, strict=True)), "events": on}
        for time, mean, parts, on in zip(
            found.times.astype(str), found.mean_SH[0], found.parts_SHP[0], explained.events, strict=True
        )
    ]
    return {
        "item": keys.item[0],
        "location": keys.location[0],
        "platform": keys.platform[0],
        "bundle": explained.bundle_id,
        "period": found.period,
        "origin": str(found.origin),
        "parts": found.names,
        "steps": steps,
    }


def save_picture(explained: Explained, path: Path) -> bool:
    """Write the explanation as PNG, whole or not at all. Raises OSError where it cannot be written.

    Returns whether every character could be drawn: names may be in a script that no installed font has.
    """
    from matplotlib import rc_context

    from forecast.evaluation.plots import plot_explanation

    drawn = io.BytesIO()
    with rc_context({"text.parse_math": False}), warnings.catch_warnings(record=True) as caught:
        warnings.filterwarnings("always", message="Glyph .* missing from font")
        plot_explanation(explained.panel, explained.explanation, 0).savefig(drawn, format="png")
    path.write_bytes(drawn.getvalue())
    return not caught


def explained_table(explained: Explained) -> tuple[list[str], list[list[Cell]]]:
    """Columns and rows of a table: a row a step, its parts and their sum, at the end the totals."""
    found = explained.explanation
    hourly = found.period == "hour"
    rows: list[list[Cell]] = []
    for time, parts, mean, on in zip(
        found.times, found.parts_SHP[0], found.mean_SH[0], explained.events, strict=True
    ):
        moment = time.item()
        label = f"{moment:%a %Y-%m-%d %H:%M}" if hourly else f"{moment:%a %Y-%m-%d}"
        rows.append([label, *map(_rounded, parts), _rounded(mean), ", ".join(map(_event, on))])
    totals = [_rounded(total) for total in found.parts_SHP[0].sum(axis=0)]
    rows.append(["total", *totals, _rounded(found.mean_SH[0].sum()), ""])
    return ["time", *found.names, "forecast", "events"], rows


def _event(channel: str) -> str:
    """A star for an event's days, else its phase."""
    name, _, phase = channel.partition("/")
    return f"{'★' if phase in ('', 'day') else phase} {name}"


def _rounded(value: float) -> float:
    """Two decimals, and no minus before zero."""
    return round(float(value), 2) + 0.0
