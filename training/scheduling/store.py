"""What APScheduler holds: two jobs, whose next times outlive the program in HOME/jobs/schedule.db.

APScheduler's own SQLAlchemy store pickles a job; this one writes JSON. What a job does and when comes from
the settings at each start, so that its next time is all there is to keep.
"""

from __future__ import annotations

import copy
import json
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from apscheduler.executors.base import BaseExecutor
from apscheduler.job import Job
from apscheduler.jobstores.base import ConflictingIdError, JobLookupError
from apscheduler.jobstores.sqlalchemy import SQLAlchemyJobStore
from apscheduler.triggers.base import BaseTrigger
from sqlalchemy.exc import IntegrityError as RowExists

from forecast.errors import IntegrityError
from training.scheduling.agenda import Agenda
from training.scheduling.plan import Action

TABLE: Final = "surgecast_schedule"


class JsonJobStore(SQLAlchemyJobStore):  # type: ignore[misc]
    """APScheduler's store on SQLite, without pickle; it knows the jobs that it was given since its start."""

    def __init__(self, path: Path) -> None:
        super().__init__(url=f"sqlite:///{path.absolute()}", tablename=TABLE)
        self._given: dict[str, Job] = {}

    def add_job(self, job: Job) -> None:
        """Keep a new job. Raises ConflictingIdError where there is one of its name."""
        self._given[job.id] = job
        with self.engine.begin() as connection:
            try:
                connection.execute(self.jobs_t.insert().values(id=job.id, **_row(job)))
            except RowExists as error:
                raise ConflictingIdError(job.id) from error

    def update_job(self, job: Job) -> None:
        """Keep a job's next time. Raises JobLookupError where there is no job of its name."""
        self._given[job.id] = job
        changed = self.jobs_t.update().values(**_row(job)).where(self.jobs_t.c.id == job.id)
        with self.engine.begin() as connection:
            if connection.execute(changed).rowcount == 0:
                raise JobLookupError(job.id)

    def _reconstitute_job(self, job_state: bytes) -> Job:
        state = json.loads(job_state)
        job = copy.copy(self._given[state["id"]])
        job._scheduler, job._jobstore_alias = self._scheduler, self._alias
        job._modify(next_run_time=datetime.fromisoformat(state["next"]) if state["next"] else None)
        return job


def _row(job: Job) -> dict[str, object]:
    at: datetime | None = job.next_run_time
    state = {"id": job.id, "next": at.astimezone(UTC).isoformat() if at else None}
    return {"next_run_time": at.timestamp() if at else None, "job_state": json.dumps(state).encode()}


def next_times(path: Path) -> Mapping[str, datetime]:
    """The next times that the store of an earlier program kept, by job.

    Raises IntegrityError for a file that is no such store.
    """
    if not path.is_file():
        return {}
    try:
        with closing(sqlite3.connect(path)) as database:
            there = database.execute("select 1 from sqlite_master where name = ?", (TABLE,)).fetchone()
            rows = database.execute(f"select id, job_state from {TABLE}").fetchall() if there else []
        times = {name: json.loads(state)["next"] for name, state in rows}
        return {name: datetime.fromisoformat(time) for name, time in times.items() if time}
    except (sqlite3.DatabaseError, ValueError, KeyError, TypeError) as error:
        expected = "the schedule's SQLite database (without it, the schedule begins anew)"
        raise IntegrityError(str(path), expected=expected, found=str(error)) from error


class PlanTrigger(BaseTrigger):  # type: ignore[misc]
    """The firings of one action in an agenda, which may be changed for another."""

    def __init__(self, agenda: Agenda, action: Action) -> None:
        self.agenda = agenda
        self.action = action

    def get_next_fire_time(self, previous_fire_time: datetime | None, now: datetime) -> datetime | None:
        """The one after the previous, or from now on; None when there is none."""
        after = now if previous_fire_time is None else previous_fire_time + datetime.resolution
        found = self.agenda.first(self.action, after)
        return found.at if found else None


class Desk(BaseExecutor):  # type: ignore[misc]
    """Where APScheduler puts down what is due; it is carried out one after the other by who takes it."""

    def __init__(self) -> None:
        super().__init__()
        self._due: list[tuple[Job, datetime]] = []

    def _do_submit_job(self, job: Job, run_times: list[datetime]) -> None:
        self._due.append((job, run_times[-1]))

    def take(self) -> tuple[Any, datetime] | None:
        """What lies longest, a job and the time that it was due; None where nothing does."""
        return self._due.pop(0) if self._due else None

    def done(self, job: Job) -> None:
        """Say that a job that was taken is over."""
        self._run_job_success(job.id, [])
