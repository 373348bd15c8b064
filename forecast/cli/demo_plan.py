"""What `surgecast demo` does: its data sets, its steps as commands that a user would type, its choices."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any, Final

UNDER_SEASONAL: Final = 0.15
"""How far the backtest's WQL should lie under that of the seasonal naive forecast."""
UNDER_BEST: Final = 0.05
"""And under that of the best of the simple forecasters."""
MODEL: Final = "surgecast"
SEASONAL: Final = "seasonal naive"


@dataclass(frozen=True, kw_only=True)
class DemoData:
    """A data set of the demo.

    about: what it is. cutoff: last day that may be seen; why: the reason for it. horizon: days ahead.
    calendars: the shipped calendars that know its surges. minutes: for both fits of the training. base: a
    series with less recent demand per day is left out when the strongest surge is looked for.
    needs_folder: whether the data lies in a folder that the user names.
    """

    about: str
    cutoff: date
    why: str
    horizon: int
    calendars: tuple[str, ...]
    minutes: float
    base: float = 1.0
    needs_folder: bool = True

    @property
    def settings(self) -> str:
        """The demo's `surgecast.toml`."""
        names = ", ".join(f'"{name}"' for name in self.calendars)
        return (
            f"[events]\ncalendars = [{names}]\n\n"
            f"[training]\nhorizon = {self.horizon}\nminutes = {self.minutes:g}\n"
        )

    @property
    def end(self) -> date:
        """Last day that is forecast."""
        return self.cutoff + timedelta(days=self.horizon)


DEMOS: Final[Mapping[str, DemoData]] = {
    "completejourney": DemoData(
        about="The Complete Journey: a year of order lines of 2,469 households in a US grocer's stores."
        " Its packagers call the data simulated after real patterns. The households are a sample, so an item"
        " is a product type; the weekly promotions are known ahead.",
        cutoff=date(2017, 11, 19),
        why="the Sunday before Thanksgiving: the feast, Black Friday and the days before Christmas lie ahead,"
        " with their promotions known",
        horizon=28,
        calendars=("us-retail",),
        minutes=2.0,
        needs_folder=False,
    ),
    "m5": DemoData(
        about="M5: five years of daily sales of 30,490 item x store series of Walmart.",
        cutoff=date(2015, 11, 15),
        why="Thanksgiving and Black Friday lie ahead, with prices and food-stamp days known",
        horizon=28,
        calendars=(),  # the import brings its own
        minutes=12.0,
    ),
    "freshretail": DemoData(
        about="FreshRetailNet-50K: 83 days of 50,000 product x store series of a Chinese fresh-food"
        " e-grocer, with stock-outs.",
        cutoff=date(2024, 6, 11),
        why="the shopping festival of 6.18 lies ahead",
        horizon=7,
        calendars=("china", "holidays:CN"),
        minutes=8.0,
    ),
    "online-retail": DemoData(
        about="UCI Online Retail: a year of order lines of a British web shop.",
        cutoff=date(2011, 11, 11),
        why="the rise before Christmas lies ahead",
        horizon=28,
        calendars=("holidays:GB",),
        minutes=3.0,
    ),
}


@dataclass(frozen=True, kw_only=True)
class Step:
    """One command of the demo: what it does, and its arguments after `surgecast`."""

    what: str
    arguments: tuple[str, ...]


def import_steps(name: str, home: Path, folder: Path | None) -> list[Step]:
    """From order lines to a store and the surges that are known ahead."""
    data, at = DEMOS[name], ("--home", str(home))
    source = (name,) if folder is None else (name, str(folder))
    span = ("--from", data.cutoff.isoformat(), "--to", data.end.isoformat())
    return [
        Step(
            what="Import the demand. Bad rows go to quarantine, each with its reason.",
            arguments=("data", "import", *source, *at),
        ),
        Step(what="Look at what the store holds.", arguments=("data", "show", *at)),
        Step(what="List the surges that lie ahead.", arguments=("events", "list", *at, *span)),
    ]


def train_step(name: str, home: Path, minutes: float | None) -> Step:
    """Train and backtest; minutes None: as in the settings."""
    data = DEMOS[name]
    budget = () if minutes is None else ("--minutes", f"{minutes:g}")
    return Step(
        what=f"Train for {minutes or data.minutes:g} minutes, seeing nothing after {data.cutoff}: {data.why}."
        " First a model that ends before two past origins, to be held against simple forecasts there, then"
        " the one that serves. MLflow keeps the record.",
        arguments=("train", "--home", str(home), "--cutoff", data.cutoff.isoformat(), *budget, "--json"),
    )


def publish_step(name: str, home: Path) -> Step:
    """Forecast all series into a snapshot."""
    data = DEMOS[name]
    return Step(
        what=f"Forecast all series for the {data.horizon} days after the cutoff and publish the snapshot.",
        arguments=("publish", "--home", str(home), "--cutoff", data.cutoff.isoformat()),
    )


def serve_step(home: Path) -> Step:
    """Serve it, on a free port."""
    return Step(
        what="Serve it over gRPC. The server needs neither MLflow nor the training code.",
        arguments=("serve", "--home", str(home), "--port", "0", "--json"),
    )


def list_step(name: str, address: str, order: str) -> Step:
    """Ask the server which series there are."""
    of = ("--min-base", f"{DEMOS[name].base:g}", "--limit", "1") if order == "surge" else ("--limit", "5000")
    what = {
        "volume": "Ask the server for its series, to find a steady and an intermittent one.",
        "surge": "Ask the server for the strongest coming surge.",
    }
    return Step(
        what=what[order],
        arguments=("series", "list", "--address", address, "--sort", order, *of, "--json"),
    )


@dataclass(frozen=True, kw_only=True)
class Question:
    """A planner's question about one series of a `series list`."""

    name: str
    text: str
    series: Mapping[str, Any]

    def step(self, address: str, pictures: Path) -> Step:
        """The query that answers it."""
        key = [part for name in ("item", "location", "platform") for part in (f"--{name}", self.series[name])]
        picture = str(pictures / f"{self.name}.png")
        return Step(what=self.text, arguments=("query", *key, "--address", address, "--png", picture))


def questions(listing: Sequence[Mapping[str, Any]], surges: Sequence[Mapping[str, Any]]) -> list[Question]:
    """A steady series, an intermittent one and the strongest coming surge, from the server's lists.

    Three series where there are three. Steady: few periods without demand, and the smallest peak over its
    base. Intermittent: of the series without demand in most periods the one with the most to come. Where no
    series is like that, the nearest one is taken. listing must hold a series.
    """
    seen = [one for one in listing if one["base"] is not None] or list(listing)
    surge = next(iter(surges), max(seen, key=lambda one: _number(one["peak_ratio"])))
    calm = [one for one in seen if _key(one) != _key(surge)] or seen
    steady = min(calm, key=lambda one: (max(_number(one["zeros"]), 0.1), _number(one["peak_ratio"])))
    sparse = [one for one in calm if one is not steady] or calm
    intermittent = max(sparse, key=lambda one: (min(_number(one["zeros"]), 0.6), one["total"]))
    return [
        Question(
            name="steady",
            text=f"{_named(steady)} sells nearly every day. How much is needed in the coming weeks?",
            series=steady,
        ),
        Question(
            name="intermittent",
            text=f"{_named(intermittent)} had no demand in {_number(intermittent['zeros']):.0%} of recent"
            " days. How much must be there all the same?",
            series=intermittent,
        ),
        Question(
            name="surge",
            text=f"{_named(surge)} shows the strongest coming surge: {surge['peak']:.3g} units expected on"
            f" {surge['peak_at']}, {_number(surge['peak_ratio']):.2g} times its usual"
            f" {_number(surge['base']):.2g}. How sure is that?",
            series=surge,
        ),
    ]


def _key(series: Mapping[str, Any]) -> tuple[str, str, str]:
    return series["item"], series["location"], series["platform"]


def _named(series: Mapping[str, Any]) -> str:
    return f"{series['item']} at {series['location']} on {series['platform']}"


def _number(value: float | None) -> float:
    """JSON's null as NaN's stand-in that compares as nothing at all."""
    return 0.0 if value is None or math.isnan(value) else value


@dataclass(frozen=True, kw_only=True)
class Bar:
    """A bar of the backtest: by which share the WQL should lie under a baseline's, and by which it does."""

    baseline: str
    wanted: float
    found: float

    @property
    def met(self) -> bool:
        """Whether it is reached."""
        return self.found >= self.wanted


def bars(overall: Sequence[Mapping[str, Any]]) -> list[Bar]:
    """The bars, from the rows of a backtest over everything scored (forecaster, wql)."""
    wql = {row["forecaster"]: float(row["wql"]) for row in overall}
    best = min((name for name in wql if name != MODEL), key=lambda name: wql[name])
    wanted = {best: UNDER_BEST} | {
        SEASONAL: UNDER_SEASONAL
    }  # a seasonal naive that is best has to be beaten by more
    return [
        Bar(baseline=name, wanted=share, found=1 - wql[MODEL] / wql[name]) for name, share in wanted.items()
    ]
