"""Why a forecast is what it is: parts in units that sum to the mean, by switching features off and on again.

A feature that is off takes over the whole horizon the value that was usual where the level is measured, the
trailing `ModelConfig.scale` patches: known features their median (the usual price, no promotion), the
calendar its mean over whole weeks, what a year before was like its median at the same place of the week; no
event is on or was before. The past stays as it was, so that a part reads "were this as usual, the forecast
would differ by that much".

base level   the forecast with all features off and stock-outs taken for sales, averaged over the week around
             each step: what the history says without a shape of the week
weekday      that forecast's own deviation from its week (the history shows the shape of the week too), and
             what the calendar's weekday adds; with the hour of the day where periods are hours
season       time of the month and of the year, and what the same time a year before was like
NAME         each known feature: price, promotion ...
event        the response around events, and what the same event did the last time; the multiple that the
             calendar expects of a kind that the model never saw
stock-out    the forecast that knows which periods had sold out, minus the one that takes their sales for
             demand (of this series and of those that its level is compared with)

The parts are steps of a path of forecasts and so sum to its end exactly. Base level and weekday come first,
the stock-out correction last, in this order. Between them season, known features and event share what they do
together (an event with a discount): each has the mean of what it adds on the way forward and on the way back,
the Shapley value (Shapley 1953; for models Lundberg & Lee 2017, arXiv 1705.07874) sampled by one permutation
and its reverse (Mitchell et al. 2022, arXiv 2104.12199), which is exact where features interact in pairs.

Letters: R explained series, B series of a batch, H horizon, P parts, F known features, D periods of a window,
L periods of the calendar, G event groups.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from forecast.demand.panel import STEP, Panel, Period, SeriesKeys
from forecast.model.calendar import cycle_columns
from forecast.model.forecaster import SCORING_BATCH, Forecaster
from forecast.model.priors import prior_lift
from forecast.model.tensors import PanelTensors, build_tensors
from forecast.model.usual import WEEK, usual_memory, whole_weeks
from forecast.model.windows import Windows, gather_windows

Doubles = NDArray[np.float64]

BASE: Final = "base level"
WEEKDAY: Final[dict[Period, str]] = {"hour": "weekday and hour", "day": "weekday", "week": "weekday"}
SEASON: Final = "season"
EVENT: Final = "event"
STOCK: Final = "stock-out"


@dataclass(frozen=True, kw_only=True)
class Explanation:
    """The parts of the mean forecasts of some series, made at one origin.

    parts_SHP: units, by series (rows as `keys`), step ahead and part; positive where a part lifts demand. The
    names of the parts are, in this order: base level, weekday (`weekday and hour` of hours; 0 of weeks),
    season, each known feature of the model by its name, event, stock-out.
    """

    period: Period
    origin: np.datetime64
    keys: SeriesKeys
    names: tuple[str, ...]
    parts_SHP: Doubles

    @property
    def mean_SH(self) -> Doubles:
        """The mean forecasts: the sums of their parts."""
        total_SH: Doubles = self.parts_SHP.sum(axis=2)
        return total_SH

    @property
    def times(self) -> NDArray[np.datetime64]:
        """(H,) starts of the forecast periods."""
        return self.origin + np.arange(1, self.parts_SHP.shape[1] + 1) * STEP[self.period]


def explain(forecaster: Forecaster, panel: Panel, rows: Sequence[int], horizon: int) -> Explanation:
    """Explain the mean forecasts of the series `rows` for the `horizon` periods after the panel's last.

    The whole panel is read, since a forecast leans on what related series do; the parts sum to what
    `forecaster(panel, horizon)` gives these series as their means.

    Raises:
        UsageError, InputError: as the forecaster.
    """
    forecaster.check(panel, horizon)
    names = part_names(panel.period, [feature.name for feature in forecaster.bundle.schema.known])
    stock_ST = panel.stocked_out_ST
    has_stock_outs = stock_ST is not None and bool((stock_ST > 0).any())
    sales = replace(panel, stocked_out_ST=np.zeros_like(stock_ST)) if has_stock_outs else panel
    path = _Ablation(forecaster, sales, rows, horizon)
    weekday, *free = names[1:-1]

    nothing_RH, everything_RH = path.mean(()), path.mean(names)
    base_RH = _week_mean(nothing_RH, panel.period, forecaster.bundle.config.patch)
    parts = {BASE: base_RH, weekday: path.mean([weekday]) - base_RH}
    parts |= _shapley(free, lambda on: path.mean([weekday, *on]))
    parts[STOCK] = np.zeros_like(base_RH)
    if has_stock_outs:
        parts[STOCK] = _Ablation(forecaster, panel, rows, horizon).mean(names) - everything_RH
    lift_GH = prior_lift(panel, forecaster.bundle.schema.events, everything_RH.shape[1])
    if lift_GH is not None:
        parts[EVENT] += (lift_GH[panel.events.group_S[rows]] - 1) * (everything_RH + parts[STOCK])
    return Explanation(
        period=panel.period,
        origin=panel.origin,
        keys=panel.keys.select(np.asarray(rows, dtype=np.intp)),
        names=names,
        parts_SHP=np.stack([parts[name] for name in names], axis=2)[:, :horizon],
    )


def part_names(period: Period, known: Sequence[str]) -> tuple[str, ...]:
    """Names of the parts in their order; a known feature that has the name of another part is marked."""
    fixed = (BASE, WEEKDAY[period], SEASON, EVENT, STOCK)
    features = [f"{name} (feature)" if name in fixed else name for name in known]
    return (*fixed[:3], *features, *fixed[3:])


class _Ablation:
    """Mean forecasts of some series of a panel with chosen features on, the others off over the horizon."""

    def __init__(self, forecaster: Forecaster, panel: Panel, rows: Sequence[int], horizon: int) -> None:
        self.network = forecaster.network.eval()
        self.config, schema = forecaster.bundle.config, forecaster.bundle.schema
        self.tensors = build_tensors(panel, self.config, schema, forecaster.device, horizon=horizon)
        self.row_R = torch.as_tensor(np.asarray(rows, dtype=np.int64), device=forecaster.device)
        self.names = part_names(panel.period, [feature.name for feature in schema.known])
        span = min(self.config.scale * self.config.patch, panel.n_periods)
        self.whole_weeks = whole_weeks(self.config)
        recent = slice(panel.n_periods - span, panel.n_periods)
        known = [np.isfinite(panel.known[feature.name][rows, recent]) for feature in schema.known]
        there_RDF = torch.from_numpy(np.stack(known, axis=2)) if known else torch.ones(len(rows), span, 0)
        values_RDF = self.tensors.known_SPF[self.row_R, recent].float()
        unknown_RDF = values_RDF.masked_fill(~there_RDF.bool().to(forecaster.device), torch.nan)
        self.usual_RF = unknown_RDF.nanmedian(dim=1).values.nan_to_num(0.0)

    def mean(self, on: Iterable[str]) -> Doubles:
        """(R, the model's H) mean forecasts with the parts `on` switched on."""
        chosen = set(on)
        tensors = self._tensors(chosen)
        end_1 = torch.tensor([tensors.n_periods], device=self.row_R.device)
        means = []
        with torch.inference_mode():
            for first in range(0, len(self.row_R), SCORING_BATCH):
                batch = slice(first, first + SCORING_BATCH)
                windows = gather_windows(tensors, self.row_R[batch], end_1, self.config, 1)
                windows = self._windows(windows, chosen, self.usual_RF[batch])
                means.append(self.network(tensors, windows, 1).mean_BOH[:, 0].double().cpu().numpy())
        return np.concatenate(means)

    def _tensors(self, on: set[str]) -> PanelTensors:
        """The panel whose calendar is followed by a second one, of the horizon and the event reach around it,
        in which only the features `on` are there.

        A second one, because the response to an event reaches over the origin: what is left of a past event
        goes from the horizon and stays in the past.
        """
        first = self.tensors.n_periods - self.config.event_reach
        before, kept = max(-first, 0), slice(max(first, 0), None)
        calendar_LC, events_GLE = self.tensors.calendar_LC[kept].clone(), self.tensors.events_GLE[:, kept]
        weekly_C = torch.from_numpy(cycle_columns(self.config.period)).to(calendar_LC.device)
        for name, column_C in ((self.names[1], weekly_C), (SEASON, ~weekly_C)):
            if name not in on:
                calendar_LC[:, column_C] = self._usual_calendar()[column_C]
        if EVENT not in on:
            events_GLE = torch.zeros_like(events_GLE)
        return replace(
            self.tensors,
            calendar_LC=torch.cat([self.tensors.calendar_LC, F.pad(calendar_LC, (0, 0, before, 0))]),
            events_GLE=torch.cat([self.tensors.events_GLE, F.pad(events_GLE, (0, 0, before, 0))], dim=1),
        )

    def _windows(self, windows: Windows, on: set[str], usual_BF: Tensor) -> Windows:
        """The windows whose horizon reads the second calendar, with the features that are not `on` as usual.

        What the analog period did belongs to the event where it tells of one, else to the season.
        """
        h = self.config.horizon
        period_BD, known_BDF = windows.period_BD.clone(), windows.known_BDF.clone()
        eventful_BH = self._eventful()[windows.group_B[:, None], period_BD[:, -h:]]
        period_BD[:, -h:] += (
            self.tensors.calendar_LC.shape[0] + self.config.event_reach - self.tensors.n_periods
        )
        for f, name in enumerate(self.names[3:-2]):
            if name not in on:
                known_BDF[:, -h:, f] = usual_BF[:, f, None]
        off_BH = (eventful_BH & (EVENT not in on)) | (~eventful_BH & (SEASON not in on))
        windows = usual_memory(windows, off_BH, self.config)
        return windows._replace(period_BD=period_BD, known_BDF=known_BDF)

    def _usual_calendar(self) -> Tensor:
        """(C,) mean calendar of the last whole weeks."""
        first = max(self.tensors.n_periods - self.whole_weeks, 0)
        return self.tensors.calendar_LC[first : first + self.whole_weeks].mean(dim=0)

    def _eventful(self) -> Tensor:
        """(G, L) bool: the analog period tells of an event: of the last one alike, or one is on then or
        now."""
        analog_GL, events_GLE = self.tensors.analog_GL, self.tensors.events_GLE
        period_L = torch.arange(analog_GL.shape[1], device=analog_GL.device)
        on_GL = (events_GLE != 0).any(dim=2)
        then_GL = on_GL.gather(1, analog_GL.clamp(min=0)) & (analog_GL >= 0)
        followed_GL = (analog_GL >= 0) & (analog_GL != period_L - self.config.year)
        return on_GL | then_GL | followed_GL


def _shapley(names: Sequence[str], value: Callable[[Sequence[str]], Doubles]) -> dict[str, Doubles]:
    """What each of `names` adds to value(()) on the way to value(names): the mean of switching them on in
    this order and in the reverse."""
    ways = (tuple(names), tuple(reversed(names)))
    values = {frozenset(on): on for way in ways for on in (way[:n] for n in range(len(way) + 1))}
    found = {on: value(tuple(ordered)) for on, ordered in values.items()}
    added: dict[str, list[Doubles]] = {name: [] for name in names}
    for way in ways:
        steps = [found[frozenset(way[:n])] for n in range(len(way) + 1)]
        for name, (before, after) in zip(way, pairwise(steps), strict=True):
            added[name].append(after - before)
    return {name: (first + second) / 2 for name, (first, second) in added.items()}


def _week_mean(mean_RH: Doubles, period: Period, patch: int) -> Doubles:
    """Means over the week around each step, moved inwards at the ends of the horizon.

    A horizon that holds no week has whole days instead, or all of it where it holds not even one.
    """
    h = mean_RH.shape[1]
    n = WEEK[period] if h >= WEEK[period] else h - h % patch or h
    running_RH = np.pad(mean_RH.cumsum(axis=1), ((0, 0), (1, 0)))
    first_H = np.clip(np.arange(h) - n // 2, 0, h - n)
    means_RH: Doubles = (running_RH[:, first_H + n] - running_RH[:, first_H]) / n
    return means_RH
