"""Series that the panel does not have: a new item, a new shop, or a known item where it was not sold before.

A row of the panel of which nothing is known is given what is known of the new one: the groups of its item,
its location and its labels where they are known, its labels' codes, the events at its place, its plans. So
its forecast is what publishing gives a series that stands in the panel without any history.

Letters: H horizon, P periods with known features, G groups of a series.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import torch

from forecast.demand.events.grid import event_grid
from forecast.demand.panel import Floats, Panel, SeriesKeys
from forecast.model.groups import DEPARTMENT, ITEM, LOCATION, PLACE
from forecast.planning.live import Calendar, LiveModel
from forecast.planning.rows import AskedRows

UNKNOWN = -1


@dataclass(frozen=True, kw_only=True)
class NewSeries:
    """A series as it is planned.

    labels: static labels by name; of those that are left out, what all series of its item have, else all of
    its location, else unknown. plans: known features by name, (H,) values each; others are unknown.
    """

    item: str
    location: str
    platform: str
    labels: Mapping[str, str] = field(default_factory=dict)
    plans: Mapping[str, Floats] = field(default_factory=dict)


class NewSeriesRows:
    """Makes rows of new series; what it looks up is put in order once."""

    def __init__(self, live: LiveModel) -> None:
        self._live = live
        outline, n = live.outline, live.n_series
        keys = outline.keys
        groups_SG = live.tensors.groups_SG[:n].cpu().numpy()
        departments = next(iter(outline.statics.values()), np.zeros(n, np.str_))[:n].tolist()
        items, locations = keys.item[:n].tolist(), keys.location[:n].tolist()
        places = list(zip(locations, departments, strict=True))
        self._groups = {
            ITEM: dict(zip(items, groups_SG[:, ITEM].tolist(), strict=True)),
            LOCATION: dict(zip(locations, groups_SG[:, LOCATION].tolist(), strict=True)),
            DEPARTMENT: dict(zip(departments, groups_SG[:, DEPARTMENT].tolist(), strict=True)),
        }
        self._places = dict(zip(places, groups_SG[:, PLACE].tolist(), strict=True))
        unions = live.tensors.unions_S2[:n, 0].tolist()
        self._unions = dict(zip(places, unions, strict=True))
        pairs = zip(keys.platform[:n].tolist(), locations, strict=True)
        self._event_groups = dict(zip(pairs, outline.events.group_S[:n].tolist(), strict=True))
        self._shared = {
            name: (_shared(items, labels[:n].tolist()), _shared(locations, labels[:n].tolist()))
            for name, labels in outline.statics.items()
        }

    def row(self, new: NewSeries) -> AskedRows:
        """The row of a new series."""
        live = self._live
        panel = self._panel(new)
        row = live.rows([UNKNOWN])
        device = live.tensors.device
        department = next((str(labels[0]) for labels in panel.statics.values()), "")
        place = (new.location, department)
        groups_1G, unions_12 = row.groups_RG.clone(), row.unions_R2.clone()
        for group, name in ((ITEM, new.item), (LOCATION, new.location), (DEPARTMENT, department)):
            groups_1G[0, group] = self._groups[group].get(name, int(groups_1G[0, group]))
        groups_1G[0, PLACE] = self._places.get(place, int(groups_1G[0, PLACE]))
        unions_12[0, 0] = self._unions.get(place, int(unions_12[0, 0]))
        prices_A = live.schema.mean_prices(panel, live.horizon)[0].tolist()
        levels = [
            live.prices.of_new(name, department, price)
            for name, price in zip(live.prices.names, prices_A, strict=True)
        ]
        known_1PF = live.schema.standardise(panel, live.horizon)
        calendar, group = self._calendar(new, panel)
        return replace(
            row,
            known_RPF=torch.from_numpy(known_1PF).to(device=device, dtype=row.known_RPF.dtype),
            events_RDE=calendar.events_GDE[group : group + 1],
            analog_RL=calendar.analog_GL[group : group + 1],
            lift_RH=calendar.lift_GH[group : group + 1],
            unions_R2=unions_12,
            groups_RG=groups_1G,
            codes_RN=torch.from_numpy(live.schema.encode_statics(panel)).to(device),
            price_level_RA=row.price_level_RA.new_tensor([levels]),
        )

    def _panel(self, new: NewSeries) -> Panel:
        """The panel of the new series alone."""
        live = self._live
        nobody = live.outline.select(np.array([live.n_series]))
        n, stop = nobody.n_periods, nobody.n_periods + live.horizon
        known = {name: np.full((1, stop), np.nan, np.float32) for name in nobody.known}
        for name, plan_H in new.plans.items():
            known[name][0, n:] = plan_H
        return replace(
            nobody,
            keys=SeriesKeys(
                item=np.array([new.item]),
                location=np.array([new.location]),
                platform=np.array([new.platform]),
            ),
            statics={name: np.array([self._label(new, name)]) for name in nobody.statics},
            known=known,
        )

    def _label(self, new: NewSeries, name: str) -> str:
        of_item, of_location = self._shared[name]
        found = new.labels.get(name) or of_item.get(new.item) or of_location.get(new.location)
        return found or ""

    def _calendar(self, new: NewSeries, panel: Panel) -> tuple[Calendar, int]:
        """The calendar of its place, and the group of it there."""
        group = self._event_groups.get((new.platform, new.location))
        if group is not None:
            return self._live.base, group
        n = panel.events.intensity_GLE.shape[1]
        grid = event_grid(self._live.events, panel.keys, panel.period, panel.start, n)
        return self._live.calendar(grid), 0


def _shared(names: list[str], labels: list[str]) -> dict[str, str | None]:
    """The label of each name that all its series have; None where they differ."""
    found: dict[str, str | None] = {}
    for name, label in set(zip(names, labels, strict=True)):
        found[name] = None if name in found else label
    return found
