"""Counting the demand of runs of series by day and by the parts of the business that they belong to.

Letters: S series, B series at once, N labels of a dimension, P periods, D days, W days at their end.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Self

import numpy as np
import polars as pl
from numpy.typing import NDArray

from forecast.demand.panel import Floats, Panel

if TYPE_CHECKING:
    from training.gates.data.survey import Windows

AT_ONCE: Final = 4_096
"""Series counted at once: bounds the memory beside the panel's."""
COUNTED: Final = ("all", "platform", "location", "item")
"""Dimensions whose counts are searched for a common divisor, the trace of another unit."""


@dataclass(frozen=True, kw_only=True)
class Dimension:
    """One way to divide the series: by platform, location, item or a static feature.

    set_N: the set of events of each label. units_ND: demand of the last days, of all days where labels are
    few. Of the last W days: rows_NW, the series with demand there; sold_NW, those with more than zero;
    divisor_NW, the greatest common divisor of their counts: 1 where one is no whole number, 0 where all are
    zero or the dimension is not searched.
    """

    name: str
    labels_N: NDArray[np.str_]
    code_S: NDArray[np.intp]
    set_N: NDArray[np.intp]
    units_ND: NDArray[np.float64]
    rows_NW: NDArray[np.int64]
    sold_NW: NDArray[np.int64]
    divisor_NW: NDArray[np.int64]

    @classmethod
    def empty(
        cls,
        name: str,
        labels_N: NDArray[np.str_],
        code_S: NDArray[np.intp],
        set_N: NDArray[np.intp],
        n_days: int,
        width: int,
    ) -> Self:
        """Nothing counted yet."""
        n = len(labels_N)
        return cls(
            name=name,
            labels_N=labels_N,
            code_S=code_S,
            set_N=set_N,
            units_ND=np.zeros((n, n_days)),
            rows_NW=np.zeros((n, width), np.int64),
            sold_NW=np.zeros((n, width), np.int64),
            divisor_NW=np.zeros((n, width), np.int64),
        )

    def count(self, rows: slice, units_BD: Floats, seen_BW: NDArray[np.bool_]) -> None:
        """Add the series `rows`."""
        code_B = self.code_S[rows]
        order = np.argsort(code_B, kind="stable")
        sorted_B = code_B[order]
        starts = np.flatnonzero(np.diff(sorted_B, prepend=-1))
        at = sorted_B[starts]
        kept_BD = units_BD[order, -self.units_ND.shape[1] :]
        self.units_ND[at] += np.add.reduceat(kept_BD, starts, axis=0, dtype=np.float64)
        last_BW = units_BD[order, -seen_BW.shape[1] :]
        self.rows_NW[at] += np.add.reduceat(seen_BW[order], starts, axis=0, dtype=np.int64)
        self.sold_NW[at] += np.add.reduceat(last_BW > 0, starts, axis=0, dtype=np.int64)
        if self.name in COUNTED:
            whole_BW = np.where(last_BW == np.round(last_BW), last_BW, 1).astype(np.int64)
            found = np.gcd.reduceat(whole_BW, starts, axis=0)
            self.divisor_NW[at] = np.gcd(self.divisor_NW[at], found)


@dataclass(kw_only=True)
class Tally:
    """What was counted so far; see `Survey` for the arrays by day.

    Of each series: usual_S, last_S units a day before and in the judged days; first_S its first day with
    demand, D where it has none; told_S its days with demand before the judged ones, among the usual, and in
    the judged; stocked_S its mean share without stock in the judged days. old, new: means of the demand and
    of each known feature on either side of the comparison for drift.
    """

    dimensions: list[Dimension]
    windows: Windows
    block: int
    n_days: int
    units_P: NDArray[np.float64]
    seen_W: NDArray[np.int64]
    born_W: NDArray[np.int64]
    stocked_W: NDArray[np.float64]
    known_W: dict[str, NDArray[np.float64]]
    ahead: dict[str, int]
    usual_S: NDArray[np.float64]
    last_S: NDArray[np.float64]
    first_S: NDArray[np.int64]
    told_S3: NDArray[np.int64]
    stocked_S: Floats
    old: dict[str, Floats]
    new: dict[str, Floats]

    @classmethod
    def empty(
        cls, outline: Panel, dimensions: list[Dimension], windows: Windows, n_days: int, block: int
    ) -> Self:
        """Nothing counted yet."""
        s, w = outline.n_series, windows.width
        features = ("demand", *outline.known)
        return cls(
            dimensions=dimensions,
            windows=windows,
            block=block,
            n_days=n_days,
            units_P=np.zeros(n_days * block),
            seen_W=np.zeros(w, np.int64),
            born_W=np.zeros(w, np.int64),
            stocked_W=np.full(w, np.nan),
            known_W={name: np.zeros(w) for name in outline.known},
            ahead=dict.fromkeys(outline.known, 0),
            usual_S=np.zeros(s),
            last_S=np.zeros(s),
            first_S=np.zeros(s, np.int64),
            told_S3=np.zeros((s, 3), np.int64),
            stocked_S=np.full(s, np.nan, np.float32),
            old={name: np.full(s, np.nan, np.float32) for name in features},
            new={name: np.full(s, np.nan, np.float32) for name in features},
        )

    def count(self, rows: slice, panel: Panel) -> None:
        """Add the panel of the series `rows`."""
        for first in range(0, panel.n_series, AT_ONCE):
            part = slice(first, min(first + AT_ONCE, panel.n_series))
            self._count(slice(rows.start + part.start, rows.start + part.stop), panel.select(part))

    def _count(self, rows: slice, panel: Panel) -> None:
        """Add a few series."""
        d, w, j = self.n_days, self.windows.width, self.windows.judged
        lead, t = panel.n_periods - d * self.block, panel.n_periods
        demand_BP = panel.demand_ST[:, lead:]
        by_day = (panel.n_series, d, self.block)
        seen_BD: NDArray[np.bool_] = np.any(np.isfinite(demand_BP).reshape(by_day), axis=2)
        filled_BP = np.nan_to_num(demand_BP)
        units_BD = filled_BP.reshape(by_day).sum(axis=2)
        self.units_P += filled_BP.sum(axis=0, dtype=np.float64)
        for dimension in self.dimensions:
            dimension.count(rows, units_BD, seen_BD[:, d - w :])
        first_B = np.where(seen_BD.any(axis=1), seen_BD.argmax(axis=1), d)
        born_BW = np.arange(d - w, d) >= first_B[:, None]
        self.first_S[rows] = first_B
        self.seen_W += seen_BD[:, d - w :].sum(axis=0)
        self.born_W += born_BW.sum(axis=0)
        usual = slice(d - w, d - j)
        told_B3 = [seen_BD[:, part].sum(axis=1) for part in (slice(0, d - j), usual, slice(d - j, d))]
        self.told_S3[rows] = np.stack(told_B3, axis=1)
        self.usual_S[rows] = units_BD[:, usual].sum(axis=1, dtype=np.float64) / np.maximum(told_B3[1], 1)
        self.last_S[rows] = units_BD[:, d - j :].sum(axis=1, dtype=np.float64) / j
        if panel.stocked_out_ST is not None:
            stock_BW = _daily(panel.stocked_out_ST[:, t - w * self.block :], self.block)
            total_W = np.nansum(np.where(seen_BD[:, d - w :], stock_BW, np.nan), axis=0, dtype=np.float64)
            told_W = (np.isfinite(stock_BW) & seen_BD[:, d - w :]).any(axis=0)
            self.stocked_W = np.where(told_W, np.nan_to_num(self.stocked_W) + total_W, self.stocked_W)
            self.stocked_S[rows] = _mean(stock_BW[:, w - j :])
        self._compare("demand", rows, demand_BP)
        for name, values_BP in panel.known.items():
            there_BW = np.isfinite(_daily(values_BP[:, t - w * self.block : t], self.block))
            self.known_W[name] += (there_BW & born_BW).sum(axis=0)
            ahead = np.isfinite(values_BP[:, t:]).any(axis=0)
            self.ahead[name] = max(self.ahead[name], int(np.flatnonzero(ahead)[-1:].sum()) + int(ahead.any()))
            self._compare(name, rows, values_BP[:, lead:t])

    def _compare(self, name: str, rows: slice, values_BP: Floats) -> None:
        """Means of both sides of the comparison for drift."""
        n = self.windows.drift * self.block
        if n:
            self.old[name][rows] = _mean(values_BP[:, -2 * n : -n])
            self.new[name][rows] = _mean(values_BP[:, -n:])

    def frame(self, outline: Panel) -> pl.DataFrame:
        """One row a series: keys, labels, usual, last, first, told_before, told_usual, told_last, stocked,
        and old:NAME, new:NAME of demand and each known feature."""
        keys = outline.keys
        names = {"item": keys.item, "location": keys.location, "platform": keys.platform}
        labels = {**{n: v for n, v in outline.statics.items() if n not in names}, **names}
        sides = {f"{side}:{n}": v for side in ("old", "new") for n, v in getattr(self, side).items()}
        told = {f"told_{name}": self.told_S3[:, i] for i, name in enumerate(("before", "usual", "last"))}
        numbers = {"usual": self.usual_S, "last": self.last_S, "first": self.first_S, **told}
        return pl.DataFrame(
            {
                **{f"label:{name}": values.tolist() for name, values in labels.items()},
                **numbers,
                "stocked": self.stocked_S,
                **sides,
            }
        )


def _daily(values_BP: Floats, block: int) -> Floats:
    """Means of days; NaN where nothing is known."""
    if block == 1:
        return values_BP
    b, p = values_BP.shape
    return _mean(values_BP.reshape(b, p // block, block))


def _mean(values: Floats) -> Floats:
    """Means along the last axis of what is there; NaN where nothing is."""
    there = np.isfinite(values)
    n = there.sum(axis=-1)
    total = np.sum(values, axis=-1, where=there, dtype=np.float64)
    return np.where(n > 0, total / np.maximum(n, 1), np.nan).astype(np.float32)
