"""Who could have run a job, at every moment: nobody can while there is no database, or no worker that is free."""

import threading
import time
import uuid
from collections import defaultdict
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from sqlalchemy import select
from sqlalchemy.exc import SQLAlchemyError

from service.registry.states import State
from service.registry.tables import DeletionRequest, Job
from tests.faults.topology import Topology

_EVERY = 0.1  # seconds
_SLOW = 0.5  # seconds for a transaction, after which the database counts as away: somebody who holds its lock is frozen


@dataclass(frozen=True)
class Moment:
    """What there was between two looks."""

    began: datetime
    ended: datetime
    database: bool
    live: int  # workers that have started, and are neither dead nor frozen
    free: int  # those of them that have no job


@dataclass
class Watch:
    """Looks until it is told to stop."""

    topology: Topology
    moments: list[Moment] = field(default_factory=list)

    def look(self, stopping: threading.Event) -> None:
        while not stopping.wait(_EVERY):
            began = datetime.now(UTC)
            holding: dict[int, list[uuid.UUID]] = {}
            is_there = False
            with suppress(SQLAlchemyError):
                began_to_ask = time.monotonic()
                # A transaction that may write: on SQLite it waits for the lock.
                with self.topology.database.write() as session:
                    holding = held(session)
                is_there = time.monotonic() - began_to_ask < _SLOW
            live = [worker for worker in self.topology.workers if worker.is_live]
            free = [worker for worker in live if holding.keys().isdisjoint(worker.tree())]
            is_there = is_there and not self.topology.is_cut_off
            self.moments.append(Moment(began, datetime.now(UTC), is_there, len(live), len(free)))

    def between(self, began: datetime, ended: datetime) -> Iterator[Moment]:
        """What was seen then."""
        pause = timedelta(seconds=_EVERY)
        return (moment for moment in self.moments if moment.ended > began and moment.began - pause < ended)


def held(session) -> dict[int, list[uuid.UUID]]:
    """The requests whose jobs run, by the process that supervises them."""
    found = select(Job.worker, DeletionRequest.id).join(DeletionRequest, DeletionRequest.job_id == Job.id)
    holding: dict[int, list[uuid.UUID]] = defaultdict(list)
    for worker, request_id in session.execute(found.where(Job.state == State.RUNNING)):
        if worker:
            holding[int(worker.rpartition("/")[2])].append(request_id)
    return holding


def seconds(moments: Iterator[Moment], *, without) -> float:
    """For how long something was not there."""
    return sum((moment.ended - moment.began).total_seconds() + _EVERY for moment in moments if without(moment))
