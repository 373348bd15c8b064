"""Series that a question is about, as the model reads them: rows that stand for themselves, apart from the
panel, so that questions of several callers go through the network together.

Letters: R rows, T observed periods, P = T + H periods with known features, H horizon, L periods of the
calendar, D periods of a window, E event channels, F known features, N statics, A prices.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from forecast.model.past import PackedPast


@dataclass(frozen=True, kw_only=True)
class AskedRows:
    """R rows on one device; fields as of `forecast.model.tensors.PanelTensors`, but of each row by itself.

    events_RDE, analog_RL: the calendar of each row, of the window's periods and of all.
    forgotten_RH: where the horizon is not to remember its analog: what happened then was an event that is not
    on now. lift_RH: the multiple that the calendar expects of events that the model never saw.
    """

    past: PackedPast
    known_RPF: Tensor
    events_RDE: Tensor
    analog_RL: Tensor
    forgotten_RH: Tensor
    lift_RH: Tensor
    unions_R2: Tensor
    groups_RG: Tensor
    codes_RN: Tensor
    price_level_RA: Tensor

    @property
    def n_rows(self) -> int:
        """R."""
        return len(self.known_RPF)

    def select(self, rows: Tensor | slice) -> AskedRows:
        """Some rows."""
        return _each([self], lambda parts: parts[0][rows])


def select_past(past: PackedPast, rows: Tensor | slice) -> PackedPast:
    """The past of some series."""
    return _each_past([past], lambda parts: parts[0][rows])


def join(parts: Sequence[AskedRows]) -> AskedRows:
    """All rows, in order."""
    return parts[0] if len(parts) == 1 else _each(parts, torch.cat)


Make = Callable[[list[Tensor]], Tensor]


def _each(parts: Sequence[AskedRows], make: Make) -> AskedRows:
    """Rows of which every tensor is made from the same one of others."""
    return AskedRows(
        past=_each_past([part.past for part in parts], make),
        known_RPF=make([part.known_RPF for part in parts]),
        events_RDE=make([part.events_RDE for part in parts]),
        analog_RL=make([part.analog_RL for part in parts]),
        forgotten_RH=make([part.forgotten_RH for part in parts]),
        lift_RH=make([part.lift_RH for part in parts]),
        unions_R2=make([part.unions_R2 for part in parts]),
        groups_RG=make([part.groups_RG for part in parts]),
        codes_RN=make([part.codes_RN for part in parts]),
        price_level_RA=make([part.price_level_RA for part in parts]),
    )


def _each_past(parts: Sequence[PackedPast], make: Make) -> PackedPast:
    stock = [part.stocked_out_ST for part in parts if part.stocked_out_ST is not None]
    return PackedPast(
        demand_ST=make([part.demand_ST for part in parts]),
        level_ST=make([part.level_ST for part in parts]),
        observed_ST=make([part.observed_ST for part in parts]),
        stocked_out_ST=make(stock) if stock else None,
        unit_S=make([part.unit_S for part in parts]),
        seen_SC=make([part.seen_SC for part in parts]),
    )
