"""Two versions held against each other: facts, what was set differently, and how well they forecast.

Scores come from the tables that their runs keep, over the origins that both were backtested from; or, when it
is asked for, from a backtest of both that is made now, with intervals on the difference. In that, a version
stands for itself where it has not seen the periods that are forecast, and its twin for it otherwise.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np

from forecast.cli.output import progress, say
from forecast.demand.panel import Panel
from forecast.errors import NotFoundError, UsageError
from forecast.evaluation.backtest import ALL, BacktestReport, backtest
from forecast.evaluation.baselines import ForecastFunction
from forecast.evaluation.comparison import Comparison, compare
from forecast.home import Home
from forecast.model.bundle import Bundle
from forecast.model.sharded import forecaster
from training.gates.promotion import Cost
from training.gates.promotion_cost import measure_cost
from training.jobs import BacktestPlan, origins_of, read_panel
from training.models.choosing import choose, fetch_bundle
from training.models.listing import own_scores, plain_facts
from training.models.story import Row, origin_scores, told
from training.registry import Version, bundle_folder

SETTINGS: Final = ("model.", "training.", "retrain.", "backtest.")
"""Beginnings of the names of parameters that say how a model was made."""


@dataclass(frozen=True, kw_only=True)
class Scored:
    """WQL of two versions on a slice; share: how much larger the first is, 0.02 is 2 %, NaN where unknown."""

    where: str
    first: float
    second: float

    @property
    def share(self) -> float:
        """The difference as a share of the second's; negative where the first is better."""
        return self.first / self.second - 1 if self.second > 0 else math.nan


@dataclass(frozen=True, kw_only=True)
class Compared:
    """What two versions differ in.

    facts, settings: name -> both values, of those that differ. origins: those that `stored` is over; empty
    where there are none in common. computed: the first against the second, slice by slice; empty unless it
    was asked for. costs: of both, where computed.
    """

    first: Version
    second: Version
    facts: Mapping[str, tuple[str, str]]
    settings: Mapping[str, tuple[str, str]]
    origins: tuple[str, ...]
    stored: tuple[Scored, ...]
    computed: tuple[Comparison, ...]
    costs: tuple[Cost, ...]

    @property
    def verdict(self) -> str:
        """In one line; whether it is more than chance is said only where that was computed."""
        a, b = f"version {self.first.version}", f"version {self.second.version}"
        for one in self.computed:
            if one.where == ALL:
                words = {"better": "better than", "worse": "worse than", "even": "as good as"}[one.verdict]
                low, high = (100 * edge / one.other_wql for edge in (one.by_series.low, one.by_series.high))
                lost = [two.where for two in self.computed if two.verdict == "worse" and two.where != ALL]
                but = f"; it loses on {', '.join(lost)}" if lost else ""
                difference = f"WQL {100 * one.share:+.1f} % ({low:+.1f} to {high:+.1f} %)"
                return f"{a} is {words} {b}: {difference}{but}"
        for stored in self.stored:
            if stored.where == ALL:
                n = len(self.origins)
                how = f"on {n} common origins; --backtest tells whether that is more than chance"
                return f"{a} against {b}: WQL {100 * stored.share:+.1f} % {how}"
        return f"{a} and {b} were not backtested from common origins; --backtest does it now"


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """A backtest to make now. cutoff: last period whose demand is used; the store's last when None. stride:
    a quarter of the horizon when None."""

    origins: int
    stride: int | None
    cutoff: np.datetime64 | None
    device: str
    devices: int | None


def compare_versions(home: Home, first: str, second: str, wanted: Wanted | None = None) -> Compared:
    """Compare two versions; with `wanted` they are backtested now.

    Raises as `choose`; UsageError where both are the same; with `wanted` also as `fetch_bundle`, and
    InputError where the history is too short or the data do not have what one of them needs.
    """
    a, b = choose(home, first), choose(home, second)
    if a.version == b.version:
        raise UsageError(f"version: expected two different ones, found {a.version} twice")
    origins, stored = _stored(home, a, b)
    computed: tuple[Comparison, ...] = ()
    costs: tuple[Cost, ...] = ()
    if wanted is not None:
        computed, costs = _backtest(home, a, b, wanted)
    return Compared(
        first=a,
        second=b,
        facts=_differing(plain_facts(a), plain_facts(b)),
        settings=_differing(_settings(home, a), _settings(home, b)),
        origins=origins,
        stored=stored,
        computed=computed,
        costs=costs,
    )


def _differing(one: Mapping[str, str], other: Mapping[str, str]) -> dict[str, tuple[str, str]]:
    names = sorted({*one, *other})
    found = {name: (one.get(name, ""), other.get(name, "")) for name in names}
    return {name: both for name, both in found.items() if both[0] != both[1]}


def _settings(home: Home, version: Version) -> dict[str, str]:
    """How a version was made: parameters of its run, and the configuration in its bundle."""
    parameters = {k: v for k, v in told(home, version).parameters.items() if k.startswith(SETTINGS)}
    try:
        manifest = json.loads((bundle_folder(home, version.bundle_id) / "bundle.json").read_bytes())
        config = {f"model.{name}": str(value) for name, value in manifest["config"].items()}
    except (OSError, ValueError, KeyError, AttributeError):  # gone, or of another release
        config = {}
    return parameters | config


def _stored(home: Home, a: Version, b: Version) -> tuple[tuple[str, ...], tuple[Scored, ...]]:
    """Origins that both were backtested from, and their WQL there."""
    one, other = origin_scores(home, a), origin_scores(home, b)
    common = tuple(sorted(one.keys() & other.keys()))
    if not common:
        return (), ()
    first, second = (_pooled([own_scores(each[day]) for day in common]) for each in (one, other))
    rows = [Scored(where=w, first=first[w], second=second[w]) for w in first if w in second]
    return common, tuple(rows)


def _pooled(tables: Sequence[Mapping[str, Row]]) -> dict[str, float]:
    """Slice -> WQL over several origins, from those of each and their demand."""
    units: dict[str, float] = {}
    losses: dict[str, float] = {}
    for table in tables:
        for name, row in table.items():
            if row["wql"] is not None:
                units[name] = units.get(name, 0.0) + row["units"]
                losses[name] = losses.get(name, 0.0) + row["wql"] * row["units"]
    return {name: losses[name] / total for name, total in units.items() if total > 0}


def _backtest(
    home: Home, a: Version, b: Version, wanted: Wanted
) -> tuple[tuple[Comparison, ...], tuple[Cost, ...]]:
    bundles = {f"version {one.version}": fetch_bundle(home, one) for one in (a, b)}
    horizon = min(bundle.config.horizon for bundle in bundles.values())
    panel = read_panel(home, cutoff=wanted.cutoff, horizon=horizon)
    plan = BacktestPlan(origins=wanted.origins, stride=wanted.stride or max(horizon // 4, 1))
    origins = origins_of(panel, horizon, plan)
    past = panel.until(origins[0])
    models: dict[str, ForecastFunction] = {
        name: forecaster(_unseen(home, one, bundles[name], past), wanted.device, wanted.devices)
        for name, one in zip(bundles, (a, b), strict=True)
    }
    with progress("backtest", total=len(origins) * len(models)) as advance:
        report = backtest(panel, models, origins, horizon, advance=advance)
    costs = tuple(measure_cost(home, one, past, device=wanted.device) for one in bundles.values())
    return _comparisons(report), costs


def _comparisons(report: BacktestReport) -> tuple[Comparison, ...]:
    own = next(iter(report.statistics))
    return tuple(compare(report, own, (ALL, *report.slices)))


def _unseen(home: Home, version: Version, bundle: Bundle, past: Panel) -> Bundle:
    """What stands for a version at the first origin: it must not have seen what it is to forecast."""
    if _seen(bundle) <= past.origin:
        return bundle
    twin = _twin(home, version)
    if twin is not None and _seen(twin) <= past.origin:
        return twin
    say(f"version {version.version} has seen some of the periods that it forecasts here, which favours it")
    return bundle


def _twin(home: Home, version: Version) -> Bundle | None:
    try:
        return Bundle.load(bundle_folder(home, version.twin_id)) if version.twin_id else None
    except NotFoundError:
        return None


def _seen(bundle: Bundle) -> np.datetime64:
    """Last period whose demand a bundle has seen."""
    return np.datetime64(str(bundle.facts["origin"]), "s")


def compared_json(compared: Compared) -> dict[str, Any]:
    """A comparison as one JSON object."""
    return {
        "first": compared.first.version,
        "second": compared.second.version,
        "verdict": compared.verdict,
        "facts": compared.facts,
        "settings": compared.settings,
        "origins": compared.origins,
        "stored": [{**asdict(one), "share": one.share} for one in compared.stored],
        "computed": [one.facts() for one in compared.computed],
        "costs": [asdict(one) for one in compared.costs],
    }
