"""The client for programs in asyncio: the methods of `Client`, to be awaited."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from serving.client import questions
from serving.client.arrow import TIMEOUT_S, check_path, export_frame, write_export
from serving.client.async_calls import AsyncCalls
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


class AsyncClient(Connected):
    """A connection to a server, used in the event loop that it was made in; close it or use it in an `async
    with`.

    Options, deadlines, repetitions and errors are those of `Client`. What comes page by page is an
    asynchronous iterator. Arrow batches are decoded and files are written in threads of their own.
    """

    def _open(self) -> None:
        self._calls = AsyncCalls(self.connection)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """End the connection."""
        await self._calls.close()

    async def forecast(
        self,
        *,
        item: str,
        location: str,
        platform: str,
        horizon: int | None = None,
        timeout_s: float | None = None,
    ) -> SeriesForecast:
        """As `Client.forecast`."""
        return await self._calls.ask(questions.forecast(Key(item, location, platform), horizon), timeout_s)

    async def forecasts(
        self,
        keys: Sequence[tuple[str, str, str]],
        *,
        horizon: int | None = None,
        full: bool = False,
        timeout_s: float | None = None,
    ) -> list[SeriesForecast]:
        """As `Client.forecasts`."""
        answers: list[SeriesForecast] = []
        for question in questions.forecasts(keys, horizon, full=full):
            questions.add_batch(answers, await self._calls.ask(question, timeout_s))
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
    ) -> AsyncIterator[SeriesSummary]:
        """As `Client.list_series`."""
        where = SeriesFilter(
            item=item, location=location, platform=platform, min_base=min_base, labels=labels or {}
        )
        return self._calls.pages(questions.list_series(where, order, page_size), timeout_s)

    async def aggregate(
        self,
        by: Sequence[str] = (),
        *,
        where: SeriesFilter = ALL,
        start: Moment | None = None,
        end: Moment | None = None,
        period: Span = "period",
        timeout_s: float | None = None,
    ) -> AggregateForecast:
        """As `Client.aggregate`."""
        return await self._calls.ask(questions.aggregate(by, where, start, end, period), timeout_s)

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
    ) -> AsyncIterator[Surge]:
        """As `Client.surges`."""
        question = questions.surges(by, where, start, end, multiple, probability, page_size)
        return self._calls.pages(question, timeout_s)

    def events(
        self,
        *,
        where: SeriesFilter = ALL,
        after: Moment | None = None,
        page_size: int = 500,
        timeout_s: float | None = None,
    ) -> AsyncIterator[EventSummary]:
        """As `Client.events`."""
        return self._calls.pages(questions.events(where, after, page_size), timeout_s)

    async def simulate(
        self,
        keys: Sequence[tuple[str, str, str]],
        changes: Sequence[Change],
        *,
        horizon: int | None = None,
        timeout_s: float | None = None,
    ) -> list[ScenarioForecast]:
        """As `Client.simulate`."""
        answers: list[ScenarioForecast] = []
        for question in questions.simulate(keys, changes, horizon):
            questions.add_batch(answers, await self._calls.ask(question, timeout_s))
        return answers

    async def new_series(
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
        """As `Client.new_series`."""
        question = questions.new_series(Key(item, location, platform), labels or {}, plan or {}, horizon)
        return await self._calls.ask(question, timeout_s)

    async def export(
        self,
        path: str | Path,
        *,
        where: SeriesFilter = ALL,
        horizon: int | None = None,
        levels: Sequence[float] = (),
        on_rows: Callable[[int], None] | None = None,
        timeout_s: float = TIMEOUT_S,
    ) -> Exported:
        """As `Client.export`."""
        path = Path(path)
        check_path(path)
        async with self._calls.export(questions.export(where, horizon, levels), timeout_s) as export:
            return await asyncio.to_thread(write_export, export, path, on_rows)

    async def export_frame(
        self,
        *,
        where: SeriesFilter = ALL,
        horizon: int | None = None,
        levels: Sequence[float] = (),
        timeout_s: float = TIMEOUT_S,
    ) -> pl.DataFrame:
        """As `Client.export_frame`."""
        async with self._calls.export(questions.export(where, horizon, levels), timeout_s) as export:
            return await asyncio.to_thread(export_frame, export)

    async def export_batches(
        self,
        *,
        where: SeriesFilter = ALL,
        horizon: int | None = None,
        levels: Sequence[float] = (),
        timeout_s: float = TIMEOUT_S,
    ) -> AsyncIterator[pa.RecordBatch]:
        """As `Client.export_batches`."""
        async with self._calls.export(questions.export(where, horizon, levels), timeout_s) as export:
            while (batch := await asyncio.to_thread(next, export.batches, None)) is not None:
                yield batch

    async def serving_model(self, *, timeout_s: float | None = None) -> ServingModel:
        """As `Client.serving_model`."""
        return await self._calls.ask(questions.serving_model(), timeout_s)

    def list_models(
        self, *, page_size: int = 100, timeout_s: float | None = None
    ) -> AsyncIterator[PublishedModel]:
        """As `Client.list_models`."""
        return self._calls.pages(questions.list_models(page_size), timeout_s)

    async def health(self, service: str = "", *, timeout_s: float | None = None) -> str:
        """As `Client.health`."""
        return await self._calls.ask(questions.health(service), timeout_s)

    async def reload(self, *, timeout_s: float | None = None) -> ServingModel:
        """As `Client.reload`."""
        return await self._calls.ask(questions.reload(), timeout_s)

    async def rollback(
        self, reason: str, *, snapshot: str = "", timeout_s: float | None = None
    ) -> ServingModel:
        """As `Client.rollback`."""
        return await self._calls.ask(questions.rollback(reason, snapshot), timeout_s)
