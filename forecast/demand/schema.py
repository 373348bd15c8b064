"""What a row of demand must look like; each rule's name, read as words, is the reason that the quarantine
gives.

Two kinds of rows come in. A *table row* is the demand of one series in one period. An *order line* is a
quantity of an item bought at a moment; lines are summed to demand after the gate.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

import dataframely as dy
import polars as pl

from forecast.demand.panel import MAX_NAME
from forecast.errors import UsageError

KEYS = ("item", "location", "platform")
EARLIEST = datetime(1970, 1, 1)
AHEAD = timedelta(days=5 * 365)


class KeyedRow(dy.Schema):
    """The columns that both kinds share. `row` is the row's number in its input, `now` the latest time
    and `cap` the largest number of units that are believed."""

    row = dy.UInt32()
    item = dy.String(nullable=True)
    location = dy.String(nullable=True)
    platform = dy.String(nullable=True)
    time = dy.Datetime(time_unit="us", nullable=True)
    now = dy.Datetime(time_unit="us")
    cap = dy.Float64()

    @dy.rule()
    def item_is_missing(cls) -> pl.Expr:
        """The item has a name."""
        return _named("item")

    @dy.rule()
    def location_is_missing(cls) -> pl.Expr:
        """The location has a name."""
        return _named("location")

    @dy.rule()
    def platform_is_missing(cls) -> pl.Expr:
        """The platform has a name."""
        return _named("platform")

    @dy.rule()
    def name_is_longer_than_200_characters_or_has_control_characters(cls) -> pl.Expr:
        """The API takes no such name, so nobody could ask for the series."""
        return pl.all_horizontal(
            (pl.col(key).str.len_chars() <= MAX_NAME) & ~pl.col(key).str.contains(r"\p{Cc}") for key in KEYS
        )

    @dy.rule()
    def time_is_missing_or_not_ISO_8601(cls) -> pl.Expr:
        """The time could be read."""
        return pl.col("time").is_not_null()

    @dy.rule()
    def time_is_before_1970(cls) -> pl.Expr:
        """A slip of the pen by a century would stretch every series over it."""
        return pl.col("time") >= EARLIEST


class TableRow(KeyedRow):
    """The demand of one series in one period; no demand means missing, never zero."""

    demand = dy.Float64(nullable=True, allow_inf=True, allow_nan=True)
    demand_unreadable = dy.Bool()
    stocked_out = dy.Float64(nullable=True, allow_inf=True, allow_nan=True)
    on_grid = dy.Bool()
    known_readable = dy.Bool()
    repeat = dy.Bool()
    conflict = dy.Bool()

    @dy.rule()
    def time_is_not_the_start_of_a_period(cls) -> pl.Expr:
        """Midnight for days, the full hour for hours, one weekday for weeks."""
        return pl.col("on_grid")

    @dy.rule()
    def time_is_more_than_five_years_ahead(cls) -> pl.Expr:
        """Nobody knows prices that far ahead; the year 9999 stands for `until revoked`."""
        return pl.col("time") <= pl.col("now") + AHEAD

    @dy.rule()
    def demand_in_the_future(cls) -> pl.Expr:
        """Only known features may lie in the future."""
        return pl.col("demand").is_null() | (pl.col("time") <= pl.col("now"))

    @dy.rule()
    def demand_is_not_a_number(cls) -> pl.Expr:
        """The demand could be read."""
        return ~pl.col("demand_unreadable")

    @dy.rule()
    def demand_is_infinite(cls) -> pl.Expr:
        """The demand is finite."""
        return ~pl.col("demand").is_infinite()

    @dy.rule()
    def demand_is_negative(cls) -> pl.Expr:
        """The demand is at least zero."""
        return pl.col("demand") >= 0

    @dy.rule()
    def demand_is_absurdly_large(cls) -> pl.Expr:
        """The demand is believable."""
        return pl.col("demand").is_infinite() | (pl.col("demand") <= pl.col("cap"))

    @dy.rule()
    def stocked_out_is_not_a_share_from_0_to_1(cls) -> pl.Expr:
        """The share of the period without stock."""
        return pl.col("stocked_out").is_between(0, 1)

    @dy.rule()
    def known_feature_is_infinite_or_not_a_number(cls) -> pl.Expr:
        """Known features are finite or unknown."""
        return pl.col("known_readable")

    @dy.rule()
    def rows_of_one_period_contradict_each_other(cls) -> pl.Expr:
        """Rows of one series and period say the same."""
        return ~pl.col("conflict")

    @dy.rule()
    def duplicate_row(cls) -> pl.Expr:
        """The first of several equal rows stays."""
        return ~pl.col("repeat")


class OrderLine(KeyedRow):
    """A quantity of one item, ordered at one moment."""

    quantity = dy.Float64(nullable=True, allow_inf=True, allow_nan=True)
    repeat = dy.Bool()
    seen = dy.Bool()
    countable = dy.Bool()
    sold = dy.Bool()

    @dy.rule()
    def time_in_the_future(cls) -> pl.Expr:
        """Nobody has ordered tomorrow."""
        return pl.col("time") <= pl.col("now")

    @dy.rule()
    def item_is_not_counted_in_units(cls) -> pl.Expr:
        """Fuel by volume, postage, fees and manual entries are no units of goods."""
        return pl.col("countable")

    @dy.rule()
    def line_is_no_sale(cls) -> pl.Expr:
        """Stock corrections, write-offs and cancelled orders are no demand."""
        return pl.col("sold")

    @dy.rule()
    def quantity_is_missing_or_not_a_number(cls) -> pl.Expr:
        """The quantity could be read."""
        return pl.col("quantity").is_not_null() & pl.col("quantity").is_not_nan()

    @dy.rule()
    def quantity_is_negative(cls) -> pl.Expr:
        """Returns are no demand."""
        return pl.col("quantity") >= 0

    @dy.rule()
    def quantity_is_zero(cls) -> pl.Expr:
        """A line asks for something."""
        return pl.col("quantity") != 0

    @dy.rule()
    def quantity_is_above_the_cap(cls) -> pl.Expr:
        """Quantities in the thousands are mostly not units."""
        return pl.col("quantity") <= pl.col("cap")

    @dy.rule()
    def duplicate_order_line(cls) -> pl.Expr:
        """The first line with an identifier stays."""
        return ~pl.col("repeat")

    @dy.rule()
    def line_was_imported_before(cls) -> pl.Expr:
        """A growing export holds the lines of the former one again."""
        return ~pl.col("seen")


def _named(column: str) -> pl.Expr:
    return pl.col(column).is_not_null() & (pl.col(column).str.len_chars() > 0)


RESERVED = frozenset({"series", "import", *TableRow.column_names(), *OrderLine.column_names()})
"""Names that the store and the gate use themselves: no feature or label may have one."""


def check_features(names: Sequence[str]) -> None:
    """Raise UsageError for the name of a known feature or static label that is taken or given twice."""
    for name in names:
        if name in RESERVED:
            raise UsageError(
                f"columns: expected features and labels under other names, found {name!r}, which"
                " is reserved; rename the column"
            )
        if names.count(name) > 1:
            raise UsageError(f"columns: expected each feature and label once, found {name!r} twice")
