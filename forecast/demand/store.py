"""The demand store: Delta tables on disk, versioned, append-only.

`demand`      import (partition), series, time, demand, stocked_out, known features; rows beyond the last
              demand carry known features only.
`series`      import, series, item, location, platform, static labels; a later row of a series completes its
labels.
`quarantine`  import, row, reason, item, location, platform, time, value.
`lines`       hashes of imported order lines, see overlap.py.
`imports`     the ledger, one row per import, written last: it names the versions of the other tables. What
              they hold beyond came from an import that died, is never read, and is undone by the next import.
"""

from __future__ import annotations

import fcntl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pyarrow as pa
from deltalake import DeltaTable
from deltalake.exceptions import DeltaError

from forecast.demand.delta import Tally, append, count_missing, read, write, write_chunks
from forecast.demand.gate import count_reasons
from forecast.demand.incoming import STEP_US, Incoming
from forecast.demand.overlap import read_lines, refuse_overlap, spans, undo_lines, write_lines
from forecast.demand.panel import Period
from forecast.errors import BusyError, InputError, IntegrityError, NotFoundError

TABLES = ("demand", "series", "quarantine")
KEYS = ("item", "location", "platform")
LEDGER = pl.Schema(
    {
        "import": pl.Int32(),
        "source": pl.String(),
        "kind": pl.String(),
        "period": pl.String(),
        "hashes": pl.List(pl.String()),
        "known": pl.List(pl.String()),
        "stock": pl.Boolean(),
        "rows": pl.Int64(),
        "series": pl.Int32(),
        "quarantined": pl.Int64(),
        "first": pl.Datetime("us"),
        "last": pl.Datetime("us"),
        "known_last": pl.Datetime("us"),
        "at": pl.Datetime("us"),
        **{f"{table}_version": pl.Int64() for table in TABLES},
    }
)
"""Columns of the ledger. first, last: span of the demand, null where a table of new series or plans brought
none; known_last: the last period with any row."""


@dataclass(frozen=True, kw_only=True)
class ImportReport:
    """What an import did. demand_missing: see DemandStore.demand_missing. unchanged: the store had it all
    already. version: of the store, afterwards."""

    source: str
    rows: int
    series: int
    quarantined: Mapping[str, int]
    demand_missing: int
    unchanged: bool
    version: str


class DemandStore:
    """The store below one folder. `version` fixes what is read; the newest when None.

    Raises NotFoundError when the version is not there, IntegrityError when the ledger cannot be read.
    """

    def __init__(self, folder: Path, *, version: str | None = None) -> None:
        self.folder = folder
        self._asked = version

    @property
    def version(self) -> str:
        """Version of what is read: the number of imports so far, "0" for an empty store."""
        return str(self.ledger().height)

    def ledger(self) -> pl.DataFrame:
        """The imports so far, oldest first, as LEDGER."""
        path = self.folder / "imports"
        if not DeltaTable.is_deltatable(str(path)):
            rows = pl.DataFrame(schema=LEDGER)
        else:
            rows = read(path, None).sort("import").select(*LEDGER)
        if self._asked is None:
            return rows
        if not self._asked.isdigit() or int(self._asked) > rows.height:
            raise NotFoundError("version of demand", expected=f"0..{rows.height}", found=self._asked)
        return rows.head(int(self._asked))

    def series(self) -> pl.DataFrame:
        """series, item, location, platform and static labels of every series, ordered by series."""
        rows = self._table("series").sort("import", maintain_order=True)
        labels = [name for name in rows.columns if name not in ("import", "series")]
        latest = [pl.col(name).filter(pl.col(name) != "").last() for name in labels]
        return rows.group_by("series").agg(latest).sort("series").with_columns(pl.col(labels).fill_null(""))

    def quarantine(self) -> pl.DataFrame:
        """All quarantined rows."""
        return self._table("quarantine")

    def demand_files(self, number: int) -> list[Path]:
        """The Parquet files of import `number`; the import's number is not a column in them."""
        return self._files(self._delta("demand"), number)

    def known_lines(self) -> pl.Series:
        """Hashes of the order lines imported so far, as overlap.line_hashes makes them."""
        return read_lines(self.folder / "lines", self.ledger().height)["line"].drop_nulls()

    def demand_missing(self, number: int) -> int:
        """Rows of table import `number`, up to its last demand, in which the demand is missing."""
        row = self.ledger().row(number - 1, named=True)
        if row["kind"] != "table" or row["last"] is None:
            return 0
        return count_missing(self.demand_files(number), row["last"])

    def size_on_disk(self) -> int:
        """Bytes of all files below the folder."""
        return sum(path.stat().st_size for path in self.folder.rglob("*") if path.is_file())

    def new_hashes(self, hashes: tuple[str, ...]) -> tuple[str, ...]:
        """Those inputs that were not imported yet."""
        seen = set(self.ledger()["hashes"].explode().to_list())
        return tuple(value for value in hashes if value not in seen)

    def add(self, incoming: Incoming) -> ImportReport:
        """Import; all of it or, when this process dies, nothing.

        Raises InputError when the period differs from the store's or order lines would be counted twice,
        BusyError when another import is running.
        """
        with self._lock() as last_died:
            ledger = self.ledger()
            if last_died:
                self._undo_unfinished(ledger)
            if not self.new_hashes(incoming.hashes):
                return self._report(incoming, rows=0, unchanged=True)
            _check_period(ledger, incoming.period)
            number = ledger.height + 1
            ids = self._add_series(incoming, number)
            tally = Tally()
            write_chunks(self.folder / "demand", _stream(incoming, ids, tally), incoming.known, number)
            latest = tally.last if ledger.is_empty() or incoming.kind == "orders" else tally.known_last
            if latest is None:
                raise InputError(incoming.source, expected="at least one period with demand", found="none")
            _check_alignment(ledger, latest, incoming.period)
            if incoming.kind == "orders":
                self._check_overlap(ledger, incoming, number)
                write_lines(self.folder / "lines", incoming.lines, number)
            append(self.folder / "quarantine", incoming.quarantine, number)
            row = {
                "import": number,
                "source": incoming.source,
                "kind": incoming.kind,
                "period": incoming.period,
                "hashes": list(incoming.hashes),
                "known": list(incoming.known),
                "stock": tally.stock,
                "rows": tally.rows,
                "series": len(ids),
                "quarantined": incoming.quarantine.height,
                "first": tally.first,
                "last": tally.last,
                "known_last": tally.known_last,
                "at": datetime.now(UTC).replace(tzinfo=None),
                **{f"{name}_version": self._newest(name).version() for name in TABLES},
            }
            write(self.folder / "imports", pl.DataFrame([row], schema=LEDGER))
            return self._report(incoming, rows=tally.rows, unchanged=False)

    def _report(self, incoming: Incoming, *, rows: int, unchanged: bool) -> ImportReport:
        return ImportReport(
            source=incoming.source,
            rows=rows,
            series=incoming.series.height,
            quarantined={} if unchanged else count_reasons(incoming.quarantine),
            demand_missing=0 if unchanged else self.demand_missing(int(self.version)),
            unchanged=unchanged,
            version=self.version,
        )

    def _add_series(self, incoming: Incoming, number: int) -> pl.Series:
        """Write the import's series; their ids, row for row. New ones get the next free ids."""
        known = self.series().select("series", *KEYS) if number > 1 else _NO_SERIES
        found = incoming.series.join(known, on=KEYS, how="left", maintain_order="left")["series"]
        fresh = found.is_null().cast(pl.Int32).cum_sum() - 1 + known.height
        ids = found.fill_null(fresh).cast(pl.Int32)
        append(self.folder / "series", incoming.series.with_columns(series=ids), number)
        return ids

    def _files(self, table: DeltaTable, number: int) -> list[Path]:
        adds = pl.DataFrame(pa.table(table.get_add_actions(flatten=True)))
        mine = adds.filter(pl.col("partition.import").cast(pl.Int32) == number)["path"]
        return [self.folder / "demand" / path for path in mine]

    def _check_overlap(self, ledger: pl.DataFrame, incoming: Incoming, number: int) -> None:
        """Refuse order lines that may be there already; this import is written but not in the ledger yet."""
        lines = read_lines(self.folder / "lines", ledger.height)
        if not set(incoming.lines.drop_nulls()).isdisjoint(lines["line"].drop_nulls()):
            expected = "lines that no other import has brought meanwhile"
            raise BusyError("orders", expected=expected, found="some that are there; import again")
        if incoming.overlaps or ledger.is_empty():
            return
        named = len(incoming.lines) > 0 and not incoming.lines.has_nulls()
        whole = lines.group_by("import").agg(pl.col("line").is_not_null().all()).filter("line")["import"]
        series = read(self.folder / "series", None).unique("series")
        new = spans(self._files(self._newest("demand"), number), series)
        for earlier in ledger.filter(pl.col("kind") == "orders")["import"]:
            if not (named and earlier in whole):
                refuse_overlap(spans(self.demand_files(earlier), series), new, earlier)

    def _newest(self, name: str) -> DeltaTable:
        return DeltaTable(str(self.folder / name))

    def _delta(self, name: str) -> DeltaTable:
        ledger = self.ledger()
        if ledger.is_empty():
            raise NotFoundError("demand store", expected="imported demand", found=f"none in {self.folder}")
        wanted = ledger[f"{name}_version"][-1]
        try:
            return DeltaTable(str(self.folder / name), version=wanted)
        except DeltaError as error:
            found = str(error).splitlines()[0]
            raise IntegrityError(name, expected=f"version {wanted} of the table", found=found) from error

    def _table(self, name: str) -> pl.DataFrame:
        return read(self.folder / name, self._delta(name).version())

    def _undo_unfinished(self, ledger: pl.DataFrame) -> None:
        """Take back what an import that died left behind the versions in the ledger, and its files."""
        undo_lines(self.folder / "lines", ledger.height)
        for name in TABLES:
            path = self.folder / name
            if not DeltaTable.is_deltatable(str(path)):
                continue
            table = self._newest(name)
            if ledger.is_empty():
                table.delete()
            elif table.version() != (wanted := ledger[f"{name}_version"][-1]):
                table.restore(wanted)
            # Append-only: every version's files are among the newest one's, so that no reader misses a file.
            table.vacuum(retention_hours=0, dry_run=False, enforce_retention_duration=False, full=True)
        for torn in self.folder.rglob("*#[0-9]*"):  # half-written files, which vacuum does not know
            torn.unlink()

    @contextmanager
    def _lock(self) -> Iterator[bool]:
        """Keep other imports out; tells whether the last one died: the file holds text while one runs."""
        if self._asked is not None:
            raise InputError("version", expected="the newest, to import into it", found=self._asked)
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / "lock").open("a+") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise BusyError("demand store", expected="no other import", found="one is running") from error
            file.seek(0)
            died = bool(file.read())
            file.write("importing\n")
            file.flush()
            yield died
            file.truncate(0)


_NO_SERIES = pl.DataFrame(schema={"series": pl.Int32, **dict.fromkeys(KEYS, pl.String)})


def _stream(incoming: Incoming, ids: pl.Series, tally: Tally) -> Iterator[pl.DataFrame]:
    for chunk in incoming.frames():
        tally.count(chunk)
        yield chunk.with_columns(series=ids.gather(chunk["series"]))


def _check_period(ledger: pl.DataFrame, period: Period) -> None:
    if not ledger.is_empty() and ledger["period"][0] != period:
        found = f"{period} data for a store of {ledger['period'][0]} data; use another --home"
        raise InputError("period", expected=f"{ledger['period'][0]}", found=found)


def _check_alignment(ledger: pl.DataFrame, time: datetime, period: Period) -> None:
    """Weeks that start on another weekday than the store's would not fit its axis."""
    if not ledger.is_empty() and (
        off := (time - ledger["first"][0]) % timedelta(microseconds=STEP_US[period])
    ):
        raise InputError("time", expected=f"{period}s in step with the store's", found=f"{off} beside them")


def store_period(ledger: pl.DataFrame) -> Period:
    """The one period of a store that is not empty."""
    period: str = ledger["period"][0]
    for name in STEP_US:
        if name == period:
            return name
    raise IntegrityError("imports", expected="hour, day or week", found=period)
