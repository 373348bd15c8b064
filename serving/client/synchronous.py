"""The client for programs that wait for their answers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from serving.client import questions
from serving.client.arrow import TIMEOUT_S, check_path, export_frame, write_export
from serving.client.calls import Calls
from serving.client.channel import Connected
from serving.client.types import (
    ALL,
    AggregateForecast,
    Change,
    EventSummary,
    Exported,
    Key,
    Moment,
    Order,
    PublishedModel,
    ScenarioForecast,
    SeriesFilter,
    SeriesForecast,
    SeriesSummary,
    ServingModel,
    Span,
    Surge,
)

if TYPE_CHECKING:
    import polars as pl
    import pyarrow as pa


class Client(Connected):
    """A connection to a server; close it or use it in a `with`. All methods may be called from several
    threads.

    Each call ends within `timeout_s`, its own or that of the client; in lists that come page by page and in
    batches, each page and batch does. A call that the server cannot be reached for or is too full for is made
    again, up to 4 times in all and within its time; `reload` and `rollback` only where they were surely not
    begun, and where their answer is lost BusyError says that they may have been done. Errors are those of
    `forecast.errors`: NotFoundError for an unknown series, InputError with the `field`, BusyError when the
    server cannot be reached, is full or is too slow.

    Calls to another machine are encrypted unless `insecure`, with the certificate authorities of the system
    or those in the file `ca`; calls to this machine are where `ca` or `cert` is given. `cert` and `key` are
    the client's own certificate. `token` is sent along with each call; by default it is that of the
    environment (SURGECAST_TOKEN).
    """

    def _open(self) -> None:
        self._calls = Calls(self.connection)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the connection."""
        self._calls.close()

    def forecast(
        self,
        *,
        item: str,
        location: str,
        platform: str,
        horizon: int | None = None,
        timeout_s: float | None = None,
    ) -> SeriesForecast:
        """The forecast of one series with its history and events."""
        return self._calls.ask(questions.forecast(Key(item, location, platform), horizon), timeout_s)

    def forecasts(
        self,
        keys: Sequence[tuple[str, str, str]],
        *,
        horizon: int | None = None,
        full: bool = False,
        timeout_s: float | None = None,
    ) -> list[SeriesForecast]:
        """The forecasts of many series in their order, asked for in batches; `full` adds history and events.

        InputError when a snapshot was swapped between two batches, so that an answer never mixes two.
        """
        answers: list[SeriesForecast] = []
        for question in questions.forecasts(keys, horizon, full=full):
            questions.add_batch(answers, self._calls.ask(question, timeout_s))
        return answers

    def list_series(
        self,
        *,
        item: str = "",
        location: str = "",
        platform: str = "",
        min_base: float = 0.0,
        labels: Mapping[str, str | Sequence[str]] | None = None,
        order: Order = "snapshot",
        page_size: int = 500,
        timeout_s: float | None = None,
    ) -> Iterator[SeriesSummary]:
        """Summaries of the series that pass all conditions, fetched page by page as they are read."""
        where = SeriesFilter(
            item=item, location=location, platform=platform, min_base=min_base, labels=labels or {}
        )
        return self._calls.pages(questions.list_series(where, order, page_size), timeout_s)

    def aggregate(
        self,
        by: Sequence[str] = (),
        *,
        where: SeriesFilter = ALL,
        start: Moment | None = None,
        end: Moment | None = None,
        period: Span = "period",
        timeout_s: float | None = None,
    ) -> AggregateForecast:
        """The joint forecast of the series that pass `where`, summed in every scenario.

        by: item, location, platform or static labels, at most 4; none sums all. start, end: the periods from
        `start` to just before `end`; the whole horizon when None. period: what is summed in time: nothing
        (each period by itself), days, weeks, or all (`total`).
        """
        return self._calls.ask(questions.aggregate(by, where, start, end, period), timeout_s)

    def surges(
        self,
        by: Sequence[str] = (),
        *,
        where: SeriesFilter = ALL,
        start: Moment | None = None,
        end: Moment | None = None,
        multiple: float = 2.0,
        probability: float = 0.5,
        page_size: int = 500,
        timeout_s: float | None = None,
    ) -> Iterator[Surge]:
        """Where demand will exceed `multiple` times its base with at least `probability`, the most extra
        units first, fetched page by page as they are read; of series, or of groups `by` as in `aggregate`.
        """
        question = questions.surges(by, where, start, end, multiple, probability, page_size)
        return self._calls.pages(question, timeout_s)

    def events(
        self,
        *,
        where: SeriesFilter = ALL,
        after: Moment | None = None,
        page_size: int = 500,
        timeout_s: float | None = None,
    ) -> Iterator[EventSummary]:
        """Phases of events that touch a series that passes `where` and end later than `after`, by start,
        fetched page by page as they are read.
        """
        return self._calls.pages(questions.events(where, after, page_size), timeout_s)

    def simulate(
        self,
        keys: Sequence[tuple[str, str, str]],
        changes: Sequence[Change],
        *,
        horizon: int | None = None,
        timeout_s: float | None = None,
    ) -> list[ScenarioForecast]:
        """What the live model forecasts with the changes, beside what it forecasts as things are; asked in
        batches.

        InputError when a snapshot was swapped between two batches.
        """
        answers: list[ScenarioForecast] = []
        for question in questions.simulate(keys, changes, horizon):
            questions.add_batch(answers, self._calls.ask(question, timeout_s))
        return answers

    def new_series(
        self,
        *,
        item: str,
        location: str,
        platform: str,
        labels: Mapping[str, str] | None = None,
        plan: Mapping[str, float | Sequence[float]] | None = None,
        horizon: int | None = None,
        timeout_s: float | None = None,
    ) -> SeriesForecast:
        """What the live model forecasts for a series without history.

        labels: its static labels, such as category. plan: what is known ahead of it, such as its price: one
        value, or one for each period of the horizon.
        """
        question = questions.new_series(Key(item, location, platform), labels or {}, plan or {}, horizon)
        return self._calls.ask(question, timeout_s)

    def export(
        self,
        path: str | Path,
        *,
        where: SeriesFilter = ALL,
        horizon: int | None = None,
        levels: Sequence[float] = (),
        on_rows: Callable[[int], None] | None = None,
        timeout_s: float = TIMEOUT_S,
    ) -> Exported:
        """Write the forecasts of all series that pass `where` to a .parquet, .arrow or .csv file, while they
        come: memory does not grow with them. The file appears when it is whole.

        levels: quantile levels; all when empty. on_rows: hears of the rows written since it was last called.
        """
        path = Path(path)
        check_path(path)
        with self._calls.export(questions.export(where, horizon, levels), timeout_s) as export:
            return write_export(export, path, on_rows)

    def export_frame(
        self,
        *,
        where: SeriesFilter = ALL,
        horizon: int | None = None,
        levels: Sequence[float] = (),
        timeout_s: float = TIMEOUT_S,
    ) -> pl.DataFrame:
        """The forecasts of all series that pass `where` as one polars frame: item, location, platform, time,
        mean and a column for each level, such as q0.975.
        """
        with self._calls.export(questions.export(where, horizon, levels), timeout_s) as export:
            return export_frame(export)

    def export_batches(
        self,
        *,
        where: SeriesFilter = ALL,
        horizon: int | None = None,
        levels: Sequence[float] = (),
        timeout_s: float = TIMEOUT_S,
    ) -> Iterator[pa.RecordBatch]:
        """The same in Arrow record batches, as they come."""
        with self._calls.export(questions.export(where, horizon, levels), timeout_s) as export:
            yield from export.batches

    def serving_model(self, *, timeout_s: float | None = None) -> ServingModel:
        """What serves."""
        return self._calls.ask(questions.serving_model(), timeout_s)

    def list_models(
        self, *, page_size: int = 100, timeout_s: float | None = None
    ) -> Iterator[PublishedModel]:
        """The snapshots that could serve, the newest first, fetched page by page as they are read."""
        return self._calls.pages(questions.list_models(page_size), timeout_s)

    def health(self, service: str = "", *, timeout_s: float | None = None) -> str:
        """The health of a service (all of them when empty) in the words of gRPC: SERVING or NOT_SERVING."""
        return self._calls.ask(questions.health(service), timeout_s)

    def reload(self, *, timeout_s: float | None = None) -> ServingModel:
        """Have the server look at what is published, and say what serves now."""
        return self._calls.ask(questions.reload(), timeout_s)

    def rollback(self, reason: str, *, snapshot: str = "", timeout_s: float | None = None) -> ServingModel:
        """Go back to the snapshot that served before, or to the one named, and say what serves now."""
        return self._calls.ask(questions.rollback(reason, snapshot), timeout_s)
