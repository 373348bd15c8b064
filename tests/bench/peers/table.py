"""The one table: every forecaster at every cutoff, their means, and ours against each peer."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from forecast.cli.output import Cell, print_table
from tests.bench.peers import ours
from tests.bench.peers.runner import HEADLINES, Result
from tests.bench.peers.scoring import differences

MEAN = "mean"
NOTES = (
    "bias: of the totals. s: fit and forecast; a saved forecast keeps the seconds of the run that made it.",
    "Aggregates (WSPL of levels 1 to 11): all are coupled by the Schaake shuffle on where past truths fell.",
    "  surgecast: out-of-sample forecasts; lightgbm, mlforecast: held-out origins; nhits, tide, tft: past",
    "  origins that training saw; seasonal-naive, autoets: blocks of one-step residuals.",
    "Differences: surgecast minus peer, negative is better, 95 % interval, * without 0. WQL: series drawn",
    "  with replacement; WRMSSE, WSPL: items within departments, and weeks (resampling.py).",
)


def print_results(results: Sequence[Result]) -> None:
    """Print scores by cutoff, means over cutoffs, differences, and what the table's words mean."""
    names = [name for name in HEADLINES if name in results[0].scored.values]
    rows: list[tuple[Cell, ...]] = [
        (one.cutoff, one.name, *(one.scored.values[name] for name in names), one.seconds) for one in results
    ]
    by_name = grouped(results)
    if len({one.cutoff for one in results}) > 1:
        rows += [
            (MEAN, name, *(average(ones, key) for key in names), _seconds(ones))
            for name, ones in by_name.items()
        ]
    print_table(("cutoff", "forecaster", *(name.upper() for name in names[:-1]), "bias", "s"), rows)
    compared = comparisons(results)
    if compared:
        keys = [key for key in ("wrmsse", "wspl", "wql") if key in next(iter(compared.values()))]
        cells: list[tuple[Cell, ...]] = [
            (name, *(_cell(intervals[key]) for key in keys)) for name, intervals in compared.items()
        ]
        print_table((f"{ours.NAME} minus", *(key.upper() for key in keys)), cells)
    for note in NOTES:
        print(note)


def comparisons(results: Sequence[Result]) -> dict[str, dict[str, tuple[float, float, float]]]:
    """Peer -> score -> ours minus the peer's and the ends of its interval, over all cutoffs; empty without
    ours.
    """
    by_name = grouped(results)
    own = by_name.pop(ours.NAME, [])
    if not own:
        return {}
    return {
        name: {
            key: (interval.estimate, interval.low, interval.high)
            for key, interval in differences([r.scored for r in own], [r.scored for r in peers]).items()
        }
        for name, peers in by_name.items()
    }


def as_json(results: Sequence[Result]) -> dict[str, float]:
    """Flat metric names: `FORECASTER/CUTOFF/score`, `FORECASTER/mean/score`, `surgecast minus PEER/score`
    with `/low` and `/high`.
    """
    flat: dict[str, float] = {}
    for one in results:
        head = f"{one.name}/{one.cutoff}"
        flat |= {f"{head}/{key}": value for key, value in one.scored.values.items()}
        flat |= {f"{head}/seconds": one.seconds, f"{head}/reused": float(one.reused)}
        flat |= {f"{head}/{key}": value for key, value in one.facts.items()}
    for name, ones in grouped(results).items():
        flat |= {f"{name}/{MEAN}/{key}": average(ones, key) for key in ones[0].scored.values}
    for name, intervals in comparisons(results).items():
        for key, (estimate, low, high) in intervals.items():
            head = f"{ours.NAME} minus {name}/{key}"
            flat |= {head: estimate, f"{head}/low": low, f"{head}/high": high}
    return flat


def grouped(results: Sequence[Result]) -> dict[str, list[Result]]:
    """Results by forecaster, in order."""
    by_name: dict[str, list[Result]] = {}
    for one in results:
        by_name.setdefault(one.name, []).append(one)
    return by_name


def average(results: Sequence[Result], key: str) -> float:
    """Mean of a score over cutoffs."""
    return float(np.mean([one.scored.values[key] for one in results]))


def _seconds(results: Sequence[Result]) -> float:
    return float(np.mean([one.seconds for one in results]))


def _cell(interval: tuple[float, float, float]) -> str:
    estimate, low, high = interval
    mark = " *" if low > 0 or high < 0 else ""
    return f"{estimate:+.4f} ({low:+.4f} … {high:+.4f}){mark}"
