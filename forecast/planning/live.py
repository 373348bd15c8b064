"""A bundle's network and the panel at one origin, kept ready to answer questions about single series.

Nothing is done per question that grows with the number of series: a question takes the rows of its series,
with a calendar of their own each, and shares only what was computed once (totals of groups and unions).

Memory: a series-period takes 5 bytes and 6 for each known feature (2 as the model reads it, 4 as it was
given, to change it), 1 more where stock is recorded; a group of series 16 bytes a period. M5 (30,490 series,
1,941 days, two features) takes 1.1 GB.

Letters: S series, R rows of a question, T observed periods, H horizon, L periods of the calendar, D periods
of a window with the event reach around it, G event groups, E event channels, Q levels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from forecast.demand.events.model import Event
from forecast.demand.panel import STEP, EventGrid, Floats, Panel, SeriesKeys
from forecast.errors import IntegrityError
from forecast.model.bundle import Bundle
from forecast.model.calendar import Moved
from forecast.model.ensemble import Ensemble
from forecast.model.events import event_features
from forecast.model.priors import prior_lift
from forecast.model.tensors import PanelTensors, build_tensors
from forecast.model.usual import usual_memory
from forecast.model.windows import gather_windows
from forecast.planning import MAX_MOVE
from forecast.planning.prices import PriceLevels
from forecast.planning.rows import AskedRows, join, select_past

BLOCK: Final = 16
"""Rows that go through the network at once, always: products of other shapes are rounded differently, and an
answer must not depend on what it was computed with. Where the machine's library rounds a row by its place in
the block (some do, of narrow layers), questions do not share blocks; that is tried out once."""
NOBODY: Final = "\x1e"
"""A key that no series has."""


class Answer(NamedTuple):
    """Means (R, H) and quantiles (R, H, Q) in units, of the model's whole horizon."""

    mean_RH: Floats
    quantiles_RHQ: Floats


@dataclass(frozen=True, kw_only=True)
class Calendar:
    """The calendar of G groups as the network reads it; letters and fields as of `AskedRows`."""

    events_GDE: Tensor
    analog_GL: Tensor
    lift_GH: Tensor


class LiveModel:
    """Answers questions about rows: those of the panel (`rows`), and others made from them.

    `tensors` and `outline` have one row more than the panel, the last: a series of which nothing is known.
    """

    def __init__(self, bundle: Bundle, panel: Panel, device: torch.device, events: Sequence[Event]) -> None:
        """panel: ends at the origin. events: of its calendars, for series at new places.

        Raises:
            InputError: the panel lacks what the model was trained with. IntegrityError: a bundle of another
            release.
        """
        self.config, self.schema = bundle.config, bundle.schema
        self.events = events
        self.horizon, self.n_series = self.config.horizon, panel.n_series
        self._network = _load(bundle).to(device).eval()
        wider = _with_unknown(_with_known(panel, [feature.name for feature in self.schema.known]))
        self.tensors = build_tensors(wider, self.config, self.schema, device, horizon=self.horizon)
        self.prices = PriceLevels(panel, self.schema, self.horizon)
        nothing_ST = np.broadcast_to(np.float32(np.nan), wider.demand_ST.shape)
        self.outline = replace(wider, demand_ST=nothing_ST, stocked_out_ST=None)
        # The window that all questions share, and the event reach around it.
        self._first = panel.n_periods - self.config.context * self.config.patch - self.config.event_reach
        self._calendar_DC = self._window(self.tensors.calendar_LC)
        self._back = self._farthest_back()
        tensors = self.tensors
        self.base = self._calendar(self.outline.events, tensors.events_GLE, tensors.analog_GL)
        self._sharing = self._places_are_alike()

    def calendar(self, grid: EventGrid, moved_E: NDArray[np.int64] | None = None) -> Calendar:
        """What the network reads of a calendar. moved_E: periods that the events ahead were moved by, of the
        model's channels."""
        n, device = self.tensors.calendar_LC.shape[0], self.tensors.device
        moved = None if moved_E is None else Moved(self.outline.n_periods, moved_E)
        found = event_features(grid, self.schema.events, self.config, n, moved)
        events_GLE = torch.from_numpy(found.events_GLE).to(device)
        return self._calendar(grid, events_GLE, torch.from_numpy(found.analog_GL).to(device))

    def _calendar(self, grid: EventGrid, events_GLE: Tensor, analog_GL: Tensor) -> Calendar:
        lift_GH = prior_lift(replace(self.outline, events=grid), self.schema.events, self.horizon)
        if lift_GH is None:
            lift_GH = np.ones((len(analog_GL), self.horizon), np.float32)
        return Calendar(
            events_GDE=self._window(events_GLE.transpose(0, 1)).transpose(0, 1),
            analog_GL=analog_GL,
            lift_GH=torch.from_numpy(lift_GH).to(analog_GL.device),
        )

    def department(self, row: int) -> str:
        """The first static label of a series."""
        labels_S = next(iter(self.outline.statics.values()), None)
        return "" if labels_S is None else str(labels_S[row])

    def rows(self, series_R: Sequence[int]) -> AskedRows:
        """Rows of the panel as they are; -1 is the series of which nothing is known."""
        tensors, base = self.tensors, self.base
        row_R = torch.tensor(series_R, device=tensors.device) % tensors.n_series
        group_R = tensors.event_group_S[row_R]
        return AskedRows(
            past=select_past(tensors.past, row_R),
            known_RPF=tensors.known_SPF[row_R],
            events_RDE=base.events_GDE[group_R],
            analog_RL=base.analog_GL[group_R],
            forgotten_RH=torch.zeros(len(row_R), self.horizon, dtype=torch.bool, device=tensors.device),
            lift_RH=base.lift_GH[group_R],
            unions_R2=tensors.unions_S2[row_R],
            groups_RG=tensors.groups_SG[row_R],
            codes_RN=tensors.codes_SN[row_R],
            price_level_RA=tensors.price_level_SA[row_R],
        )

    def answer(self, questions: Sequence[AskedRows]) -> list[Answer]:
        """Answer all questions; each as if it had been asked alone."""
        if not self._sharing:
            return [self._together([question])[0] for question in questions]
        return self._together(questions)

    def _together(self, questions: Sequence[AskedRows]) -> list[Answer]:
        rows = join(questions)
        n = rows.n_rows
        means, quantiles = [], []
        for first in range(0, n, BLOCK):
            place_B = torch.arange(first, first + BLOCK, device=self.tensors.device).clamp(max=n - 1)
            mean_BH, quantiles_BHQ = self._block(rows.select(place_B))
            means.append(mean_BH[: n - first])
            quantiles.append(quantiles_BHQ[: n - first])
        mean_RH, quantiles_RHQ = np.concatenate(means), np.concatenate(quantiles)
        ends = np.cumsum([question.n_rows for question in questions]).tolist()
        return [
            Answer(mean_RH[end - one.n_rows : end], quantiles_RHQ[end - one.n_rows : end])
            for end, one in zip(ends, questions, strict=True)
        ]

    def _block(self, rows: AskedRows) -> tuple[Floats, Floats]:
        n = self.outline.n_periods
        place_B = torch.arange(rows.n_rows, device=self.tensors.device)
        tensors = replace(
            self.tensors,
            past=rows.past,
            analog_back=self._back,
            known_SPF=rows.known_RPF,
            analog_GL=rows.analog_RL,
            event_group_S=place_B,
            unions_S2=rows.unions_R2,
            groups_SG=rows.groups_RG,
            codes_SN=rows.codes_RN,
            price_level_SA=rows.price_level_RA,
        )
        with torch.inference_mode():
            windows = gather_windows(tensors, place_B, place_B.new_tensor([n]), self.config, 1)
            windows = usual_memory(windows, rows.forgotten_RH, self.config)
            windows = windows._replace(period_BD=windows.period_BD - self._first)
            seen: PanelTensors = replace(tensors, calendar_LC=self._calendar_DC, events_GLE=rows.events_RDE)
            found = self._network(seen, windows, 1)
            mean_BH = found.mean_BOH[:, 0] * rows.lift_RH
            quantiles_BHQ = found.quantiles_BOHQ[:, 0].clamp(min=0) * rows.lift_RH[:, :, None]
            if self.schema.integer:
                quantiles_BHQ = quantiles_BHQ.round()
            return mean_BH.cpu().numpy(), quantiles_BHQ.cpu().numpy()

    def _places_are_alike(self) -> bool:
        """Whether rows are answered the same, to the last bit, at whatever place of a block."""
        rows = self.rows([n % self.n_series for n in range(BLOCK)])
        place_B = torch.arange(BLOCK, device=self.tensors.device)
        mean_BH, quantiles_BHQ = self._block(rows)
        for by in range(1, BLOCK):
            mean, quantiles = self._block(rows.select(place_B.roll(by)))
            if not np.array_equal(np.roll(mean, -by, axis=0), mean_BH):
                return False
            if not np.array_equal(np.roll(quantiles, -by, axis=0), quantiles_BHQ):
                return False
        return True

    def _window(self, values_LC: Tensor) -> Tensor:
        """(D, ...) the periods of the window and the event reach around it; before the panel begins, 0."""
        before = max(-self._first, 0)
        kept_LC = values_LC[max(self._first, 0) :]
        return F.pad(kept_LC, (0, 0) * (kept_LC.dim() - 1) + (before, 0))

    def _farthest_back(self) -> int:
        """Periods from a period to its analog that a question may need at most, the same for all: how far
        the past is read decides how its sums are rounded."""
        year, moved = self.config.year, np.timedelta64(MAX_MOVE, "D") // STEP[self.config.period]
        return max(self.tensors.analog_back, year + year // 5) + int(moved)


def _load(bundle: Bundle) -> Ensemble:
    network = Ensemble(bundle.config, bundle.schema)
    try:
        network.load_state_dict(dict(bundle.weights))
    except RuntimeError as error:
        found = " ".join(str(error).split(":", 1)[-1].split())[:120]
        expected = "the parameters of this release's network; train again"
        raise IntegrityError("bundle weights", expected=expected, found=found) from None
    return network


def _with_known(panel: Panel, names: Sequence[str]) -> Panel:
    """The panel with these known features alone, as far as it has them."""
    return replace(panel, known={name: panel.known[name] for name in names if name in panel.known})


def _with_unknown(panel: Panel) -> Panel:
    """The panel and one series more, of which nothing is known."""
    keys, stock_ST = panel.keys, panel.stocked_out_ST
    return replace(
        panel,
        keys=SeriesKeys(
            item=np.append(keys.item, NOBODY),
            location=np.append(keys.location, NOBODY),
            platform=np.append(keys.platform, NOBODY),
        ),
        demand_ST=_with_row(panel.demand_ST, np.nan),
        stocked_out_ST=None if stock_ST is None else _with_row(stock_ST, 0.0),
        known={name: _with_row(values, np.nan) for name, values in panel.known.items()},
        statics={name: np.append(labels, NOBODY) for name, labels in panel.statics.items()},
        events=replace(panel.events, group_S=np.append(panel.events.group_S, np.int32(0))),
    )


def _with_row(values_ST: Floats, value: float) -> Floats:
    row_1T = np.full((1, values_ST.shape[1]), value, np.float32)
    return np.concatenate([values_ST, row_1T])
