"""What a demand store holds, in numbers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from forecast.demand.gate import count_reasons
from forecast.demand.panel import Floats, Panel
from forecast.demand.panel_build import load_panel
from forecast.demand.store import DemandStore
from forecast.home import Home

PROMOTIONS = ("promo", "display", "mailer", "activity", "discount")
"""Known features whose names contain one of these tell of promotions."""


@dataclass(frozen=True, kw_only=True)
class Known:
    """A known feature. missing: share of series-periods without it. nonzero: share of the others."""

    name: str
    missing: float
    nonzero: float


@dataclass(frozen=True, kw_only=True)
class Summary:
    """What is there. no_history: series without any demand.

    Shares are of series-periods: missing of all, zeros and stocked out of those observed.
    demand_missing: rows of imported tables, up to their last demand, in which the demand is missing.
    promoted: share of series-periods with a promotion; None when no known feature tells.
    first, last: span of the demand; known_until: the last period with known features. events: occurrences
    of channels in the span. bytes: size on disk. quarantine: reason -> rows.
    """

    version: str
    series: int
    no_history: int
    items: int
    locations: int
    platforms: int
    period: str
    periods: int
    first: str
    last: str
    known_until: str
    units: float
    zeros: float
    missing: float
    demand_missing: int
    stocked_out: float | None
    promoted: float | None
    known: tuple[Known, ...]
    statics: tuple[str, ...]
    events: int
    event_channels: int
    bytes: int
    quarantine: dict[str, int]
    imports: tuple[dict[str, object], ...]


def summarize(home: Home) -> Summary:
    """Summarise a home's demand store. Raises NotFoundError when nothing was imported."""
    store = DemandStore(home.demand_dir)
    panel = load_panel(home)
    observed_ST = ~np.isnan(panel.demand_ST)
    n_observed = max(int(observed_ST.sum()), 1)
    stock = panel.stocked_out_ST
    imports = store.ledger().select("import", "source", "kind", "rows", "series", "quarantined", "at")
    intensity_GTE = panel.events.intensity_GLE[:, : panel.n_periods]
    return Summary(
        version=panel.data_version,
        series=panel.n_series,
        no_history=int(panel.no_history_S.sum()),
        items=_distinct(panel.keys.item),
        locations=_distinct(panel.keys.location),
        platforms=_distinct(panel.keys.platform),
        period=panel.period,
        periods=panel.n_periods,
        first=str(panel.start),
        last=str(panel.origin),
        known_until=str(panel.time(panel.n_known - 1)) if panel.known else str(panel.origin),
        units=float(np.nansum(panel.demand_ST, dtype=np.float64)),
        zeros=int((panel.demand_ST == 0).sum()) / n_observed,
        missing=1 - n_observed / observed_ST.size,
        demand_missing=sum(map(store.demand_missing, imports["import"])),
        stocked_out=None if stock is None else float((stock > 0).sum() / n_observed),
        promoted=_promoted(panel),
        known=tuple(_describe(name, values) for name, values in panel.known.items()),
        statics=tuple(panel.statics),
        events=_spells(intensity_GTE),
        event_channels=len(panel.events.names),
        bytes=store.size_on_disk(),
        quarantine=count_reasons(store.quarantine()),
        imports=tuple(imports.with_columns(pl.col("at").dt.to_string("iso:strict")).to_dicts()),
    )


def _distinct(labels: NDArray[np.str_]) -> int:
    return len(np.unique(labels))


def _describe(name: str, values_SP: Floats) -> Known:
    unknown = float(np.isnan(values_SP).mean())
    nonzero = int(((values_SP != 0) & ~np.isnan(values_SP)).sum()) / max(values_SP.size * (1 - unknown), 1.0)
    return Known(name=name, missing=unknown, nonzero=nonzero)


def _promoted(panel: Panel) -> float | None:
    """Promotions are flags, shares that are usually 0, or factors on the price that are usually 1."""
    names = [name for name in panel.known if any(word in name.lower() for word in PROMOTIONS)]
    if not names:
        return None
    promoted = np.zeros((panel.n_series, panel.n_periods), dtype=np.bool_)
    for name in names:
        values = panel.known[name][:, : panel.n_periods]
        flag = bool(np.isin(values[~np.isnan(values)], (0, 1)).all())
        factor = not flag and np.nanmedian(values) > 0.5
        promoted |= values < 1 if factor else values > 0
    return float(promoted.mean())


def _spells(intensity_GTE: Floats) -> int:
    """Runs of consecutive periods over all channels, counted once for all groups."""
    on_TE: NDArray[np.bool_] = np.any(intensity_GTE > 0, axis=0)
    return int(on_TE[:1].sum() + (on_TE[1:] & ~on_TE[:-1]).sum())
