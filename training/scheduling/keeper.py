"""The program that keeps to the plan: APScheduler says what is due, and a job at a time is carried out.

After a time when nothing ran, what is due of an action is made up for once, if it is not too long ago. A run
that was cut off, for the machine or the program died, is due again.
"""

from __future__ import annotations

import logging
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo

from apscheduler.schedulers.blocking import BlockingScheduler

from forecast.cli.output import say
from forecast.errors import SurgecastError
from forecast.home import Home
from forecast.snapshot.pointer import readable_pointer
from training.alone import alone
from training.scheduling.agenda import load_agenda, watched
from training.scheduling.child import PROGRAM, Clock, Worker
from training.scheduling.history import History, stamp
from training.scheduling.plan import ACTIONS, Action, Firing
from training.scheduling.store import Desk, JsonJobStore, PlanTrigger, next_times

LOOK_SECONDS: Final = 30.0
"""How often settings and calendars are looked at; and how late a run may be after a machine slept."""
LATE: Final = timedelta(minutes=2)
"""A run that begins later than this after its time is called a catch-up."""


def utc_now() -> datetime:
    """The time."""
    return datetime.now(UTC)


class Stop:
    """A wish to end, by SIGTERM or SIGHUP; it comes as SystemExit, but where that does no harm alone."""

    def __init__(self) -> None:
        self.asked = 0
        self._open = False

    def __call__(self, number: int, _frame: object) -> None:
        """Take a signal."""
        self.asked = number
        if self._open:
            raise SystemExit(128 + number)

    @contextmanager
    def may_come(self) -> Iterator[None]:
        """Inside, a signal ends what is done, at once where it has come before."""
        self._open = True
        try:
            if self.asked:
                raise SystemExit(128 + self.asked)
            yield
        finally:
            self._open = False

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Take the signals while inside."""
        former = {number: signal.signal(number, self) for number in (signal.SIGTERM, signal.SIGHUP)}
        try:
            yield
        finally:
            for number, handler in former.items():
                signal.signal(number, handler)


class Keeper:
    """Keeps to the plan of a home. `turn` does what is due; the rest is waiting."""

    def __init__(
        self,
        home: Home,
        *,
        clock: Clock = utc_now,
        stop: Stop | None = None,
        program: tuple[str, ...] = PROGRAM,
    ) -> None:
        self._home = home
        self._clock = clock
        self._stop = stop or Stop()
        self._history = History(home.jobs_dir / "history.jsonl")
        self._worker = Worker(home=home, history=self._history, clock=clock, program=program)
        self._files = watched(home)
        self._agenda = load_agenda(home, clock())
        logging.getLogger("apscheduler").setLevel(logging.ERROR)
        home.jobs_dir.mkdir(parents=True, exist_ok=True)
        path = home.jobs_dir / "schedule.db"
        due = dict(next_times(path))
        due |= self._cut_off()
        self._desk = Desk()
        self._scheduler = _Turned(timezone=UTC, executors={"default": self._desk})
        self._scheduler.add_jobstore(JsonJobStore(path))
        self._scheduler.start()
        for action in ACTIONS:
            self._plan(action, min(due.get(action, clock()), clock()))

    def close(self) -> None:
        """Let go of the store."""
        if self._scheduler.running:
            self._scheduler.shutdown(wait=False)

    def turn(self) -> float:
        """Carry out what is due now, one after the other. Returns the seconds until the next look."""
        wait = self._scheduler.turn()
        while (taken := self._desk.take()) is not None:
            job, planned = taken
            try:
                self._do(job.id, planned, job.misfire_grace_time)
            finally:
                self._desk.done(job)
            wait = 0.0
        self._follow_settings()
        self._history.forget(self._agenda.settings.keep_history)
        return LOOK_SECONDS if wait is None else min(wait, LOOK_SECONDS)

    @property
    def zone(self) -> ZoneInfo:
        """That of the schedule."""
        return self._agenda.zone

    def next(self) -> Firing | None:
        """What comes next."""
        now = self._clock()
        coming = [one for action in ACTIONS if (one := self._agenda.first(action, now)) is not None]
        return min(coming, default=None)

    def _do(self, action: Action, planned: datetime, grace: int) -> None:
        firing = self._agenda.at(action, planned)
        late = self._clock() - planned
        if late > timedelta(seconds=grace):
            self._worker.miss(firing, f"{_days(late)} late, more than catch_up_hours in [schedule] allows")
            return
        if late > LATE:
            firing = replace(firing, why=f"{firing.why}, {_days(late)} late")
        with self._stop.may_come():
            done = self._worker.carry_out(firing)
            if done.outcome == "kept" and readable_pointer(self._home) is not None:
                why = "the champion was kept and forecasts from the newest demand"
                self._worker.carry_out(Firing(at=self._clock(), action="publish", why=why))

    def _plan(self, action: Action, moment: datetime) -> None:
        """Let APScheduler hold the first firing at a moment or later."""
        first = self._agenda.first(action, moment)
        if first is None:
            if self._scheduler.get_job(action) is not None:
                self._scheduler.remove_job(action)
            return
        self._scheduler.add_job(
            _nothing,  # what is due is done by who takes it from the desk
            PlanTrigger(self._agenda, action),
            id=action,
            next_run_time=first.at,
            coalesce=True,
            max_instances=1,
            misfire_grace_time=max(round(self._agenda.settings.catch_up_hours * 3600), 60),
            replace_existing=True,
        )

    def _cut_off(self) -> dict[str, datetime]:
        """When the runs were due that an earlier program began and did not live to end; they end here."""
        due = {}
        for run in self._history.unfinished():
            now = stamp(self._clock())
            self._history.add(replace(run, outcome="cut off", ended=now, reason="the schedule died"))
            say(f"{run.action} of {run.planned} was cut off")
            due[run.action] = datetime.fromisoformat(run.planned)
        return due

    def _follow_settings(self) -> None:
        """Go by the settings and calendars as they are now; by those of before where they are wrong."""
        files = watched(self._home)
        if files == self._files:
            return
        self._files = files
        try:
            agenda = load_agenda(self._home, self._clock())
        except SurgecastError as error:
            say(f"{error}; the schedule goes on as before")
            return
        self._agenda = agenda
        for action in ACTIONS:
            self._plan(action, self._clock())
        say("settings or calendars changed: the schedule was read again")


def run(home: Home, *, clock: Clock = utc_now, program: tuple[str, ...] = PROGRAM) -> None:
    """Keep to the plan until SIGTERM or Ctrl-C; a job at work then is interrupted and has its time to end.

    Raises BusyError where another program does so already, UsageError for a schedule that never fires.
    """
    stop = Stop()
    with alone(home.jobs_dir / "schedule.lock", "schedule"), stop.listening():
        keeper = Keeper(home, clock=clock, stop=stop, program=program)
        coming = keeper.next()
        say(f"schedule: {_told(keeper, coming)}")
        try:
            while True:
                wait = keeper.turn()
                if (now_coming := keeper.next()) != coming and wait > 0:
                    coming = now_coming
                    say(f"schedule: {_told(keeper, coming)}")
                with stop.may_come():
                    threading.Event().wait(wait)
        except SystemExit:
            say("schedule: stopped")
        finally:
            keeper.close()


class _Turned(BlockingScheduler):  # type: ignore[misc]
    """APScheduler without a loop of its own."""

    def _main_loop(self) -> None:
        """Nobody's: `turn` is called."""

    def turn(self) -> float | None:
        """Put down what is due; seconds until the next time, None where there is none."""
        wait: float | None = self._process_jobs()
        return wait


def _nothing() -> None:
    pass


def _told(keeper: Keeper, coming: Firing | None) -> str:
    if coming is None:
        return "nothing comes"
    local = coming.at.astimezone(keeper.zone)
    return f"next is {coming.action} at {local:%Y-%m-%d %H:%M %Z} ({coming.why})"


def _days(late: timedelta) -> str:
    hours = late.total_seconds() / 3600
    if hours >= 48:
        return f"{hours / 24:.1f} days"
    return f"{hours:.1f} hours" if hours >= 1 else f"{hours * 60:.0f} minutes"
