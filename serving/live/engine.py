"""The model of the snapshot that serves, ready to be asked: loaded beside the reads, swapped with it.

What answers is one `Live`: a snapshot and the model that made it, on the data that it was made from. While
that of a new snapshot is loaded the former one goes on answering under its own name, so a swap refuses no
question and no answer is a mixture; so long there are two in memory. Torch is imported in the thread that
loads, once there is something to load: reads do not wait for it.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from forecast.errors import BusyError, PreconditionError, SurgecastError, UsageError
from forecast.home import Home
from serving.call import Call
from serving.errors import inside
from serving.live.queue import BatchQueue, QueueConfig
from serving.served import Served

if TYPE_CHECKING:
    from forecast.planning.live import Answer, LiveModel
    from forecast.planning.newseries import NewSeriesRows
    from forecast.planning.rows import AskedRows

log = logging.getLogger("surgecast.serving")

FIELD: Final = "live model"
WARMING_S: Final = 2.0
"""Seconds after which it is worth asking a model again that is being loaded."""
CHECKED: Final = 256
"""Series whose live forecasts are compared with the snapshot's before they answer."""
DEVIATION: Final = 0.02
"""Share of a series' demand by which the two may differ: half precision, another device."""


@dataclass(frozen=True, kw_only=True)
class LiveConfig:
    """The live model.

    on: whether there is one. device: auto, cpu or cuda. threads: cores that it computes on; reads are
    answered beside it, and one core answers a question about a few series as fast as two.
    """

    on: bool = True
    device: str = "auto"
    threads: int = 1
    queue: QueueConfig = field(default_factory=QueueConfig)

    def __post_init__(self) -> None:
        if self.threads < 1:
            raise UsageError(f"live_threads: expected at least 1, found {self.threads}")


@dataclass(frozen=True, kw_only=True)
class Live:
    """A snapshot and its model, which answers for the same series in the same order."""

    served: Served
    model: LiveModel
    new: NewSeriesRows
    queue: BatchQueue[Question, Answer]

    def ask(self, rows: AskedRows, call: Call) -> Answer:
        """Put a question to the model and wait for the answer. Raises OverloadError when too many wait."""
        return self.queue.submit(Question(self.model, rows), rows=rows.n_rows, call=call).result()


class Question(NamedTuple):
    """Rows, and the model that they are of."""

    model: LiveModel
    rows: AskedRows


class LiveEngine:
    """The live model of whatever snapshot serves. `changed` is told whether it can be asked now, `batched`
    for how many series it was asked at once.
    """

    def __init__(
        self,
        home: Home,
        config: LiveConfig,
        changed: Callable[[bool], None],
        batched: Callable[[int], None] = lambda _series: None,
    ) -> None:
        self._home, self._config, self._changed, self._batched = home, config, changed, batched
        self._live: Live | None = None
        self._failed: PreconditionError | None = None
        self._wanted: Served | None = None
        self._news = threading.Condition()
        self._closed = False
        self._queue: BatchQueue[Question, Answer] | None = None
        self._loader = threading.Thread(target=self._load_wanted, name="live-load", daemon=True)

    @property
    def current(self) -> Live:
        """What answers now; BusyError while it is loaded, PreconditionError where it cannot be."""
        live, failed = self._live, self._failed
        if live is not None:
            return live
        if not self._config.on:
            raise PreconditionError(FIELD, expected="[serve] live = true", found="false")
        if failed is not None:
            raise _missing(failed.found, failed.expected)
        raise BusyError(FIELD, expected="a loaded one", found="one that is loading", retry_s=WARMING_S)

    def follow(self, served: Served) -> None:
        """Load the model of a snapshot, unless it is there."""
        if not self._config.on:
            return
        with self._news:
            self._wanted = served
            self._news.notify()
            if not self._closed and self._loader.ident is None:
                self._loader.start()

    def close(self) -> None:
        """Answer what waits, and stop."""
        with self._news:
            self._closed = True  # a model that is being loaded is given up at the next step
            self._news.notify()
        if self._loader.ident is not None:
            self._loader.join()
        if self._queue is not None:
            self._queue.close()

    def _begin(self) -> None:
        """In each thread that computes: what one thread sets others do not all take over."""
        import torch

        torch.set_num_threads(self._config.threads)

    def _load_wanted(self) -> None:
        while (served := self._next()) is not None:
            try:
                self._live, self._failed = self._made(served), None
                log.info("live model of %s is ready", served.snapshot.manifest.id)
            except SurgecastError as error:
                self._refuse(error)
            except Exception as error:  # the next snapshot must find this thread alive
                log.error("the live model could not be loaded", exc_info=error)
                found = f"{type(error).__name__}: {error}"
                self._refuse(PreconditionError(FIELD, expected="one that can be loaded", found=found))
            self._changed(self._live is not None)

    def _next(self) -> Served | None:
        """The snapshot whose model is to be loaded next; None at the end."""
        with self._news:
            while not self._closed:
                served, self._wanted = self._wanted, None
                if served is not None and (self._live is None or self._live.served is not served):
                    return served
                self._news.wait()
        return None

    def _refuse(self, error: SurgecastError) -> None:
        log.warning("no live model: %s", error)
        reason = error if isinstance(error, PreconditionError) else _missing(inside(str(error), self._home))
        self._live, self._failed = None, reason

    def _made(self, served: Served) -> Live:
        former = self._live
        if former is not None and _made_alike(former.served, served):
            again = replace(former, served=served)
            if _deviation(again) <= DEVIATION:
                return again
        return self._loaded(served)

    def _loaded(self, served: Served) -> Live:
        manifest = served.snapshot.manifest
        folder = self._home.bundles_dir / manifest.bundle_id
        if not manifest.bundle_id or not folder.is_dir():
            raise _missing(f"no bundle {manifest.bundle_id!r} in the home")
        if not self._home.demand_dir.is_dir():
            raise _missing("no demand store in the home")
        self._begin()
        from forecast.demand.events.calendars import load_events
        from forecast.demand.panel_build import load_panel
        from forecast.model.bundle import Bundle
        from forecast.model.forecaster import choose_device
        from forecast.planning.live import LiveModel
        from forecast.planning.newseries import NewSeriesRows
        from forecast.settings import load_settings

        bundle = Bundle.load(folder)
        panel = load_panel(
            self._home,
            cutoff=manifest.origin,
            horizon=bundle.config.horizon,
            version=manifest.data_version,
        )
        self._check_open()
        for name in ("item", "location", "platform"):
            if not np.array_equal(getattr(panel.keys, name), getattr(served.snapshot.keys, name)):
                raise _missing(f"a demand store of other series ({name}s) than the snapshot's")
        n_grid = panel.events.intensity_GLE.shape[1]
        days = [panel.time(n).astype("datetime64[D]").item() for n in (0, n_grid)]
        events = load_events(self._home, load_settings(self._home), *days)
        model = LiveModel(bundle, panel, choose_device(self._config.device), events)
        del panel  # what the model keeps of it, it has packed
        self._check_open()
        if self._queue is None:
            self._queue = BatchQueue(self._answer, self._config.queue, self._begin)
        live = Live(served=served, model=model, new=NewSeriesRows(model), queue=self._queue)
        if (deviation := _deviation(live)) > DEVIATION:
            found = f"forecasts up to {deviation:.0%} away: calendars changed since; publish again"
            raise _missing(found, expected=f"the forecasts of snapshot {manifest.id}")
        return live

    def _answer(self, questions: Sequence[Question]) -> list[Answer]:
        self._batched(sum(question.rows.n_rows for question in questions))
        return _answer(questions)

    def _check_open(self) -> None:
        if self._closed:
            raise BusyError(FIELD, expected="a running server", found="one that stops")


def _answer(questions: Sequence[Question]) -> list[Answer]:
    """All questions, those to one model together; two models answer only in the moment of a swap."""
    answers: dict[int, Answer] = {}
    for model in {id(one.model): one.model for one in questions}.values():
        places = [n for n, one in enumerate(questions) if one.model is model]
        found = model.answer([questions[n].rows for n in places])
        answers |= dict(zip(places, found, strict=True))
    return [answers[n] for n in range(len(questions))]


def _made_alike(one: Served, other: Served) -> bool:
    a, b = one.snapshot.manifest, other.snapshot.manifest
    return (a.bundle_id, a.data_version, a.origin) == (b.bundle_id, b.data_version, b.origin)


def _deviation(live: Live) -> float:
    """How far live forecasts are from the snapshot's at most, as a share of a series' demand: of the first
    series of each calendar, and of some throughout. It warms the model up as well."""
    snapshot = live.served.snapshot
    n, group_S = live.model.n_series, live.model.outline.events.group_S
    _, firsts = np.unique(group_S[:n], return_index=True)
    spread = np.linspace(0, n - 1, min(n, CHECKED)).astype(np.intp)
    rows = np.unique(np.concatenate([firsts[:CHECKED], spread]))
    (answer,) = live.model.answer([live.model.rows(rows.tolist())])
    horizon = min(snapshot.manifest.horizon, live.model.horizon)
    published_RH = snapshot.mean_SH[rows, :horizon]
    apart_R = np.abs(answer.mean_RH[:, :horizon] - published_RH).sum(axis=1)
    return float((apart_R / np.maximum(published_RH.sum(axis=1), 0.1)).max())


def _missing(
    found: str, expected: str = "the bundle and the demand that the snapshot was made from"
) -> PreconditionError:
    return PreconditionError(FIELD, expected=expected, found=found)
