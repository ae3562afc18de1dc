"""Monotonic counters for Prometheus, in the database: they survive restarts and are shared by all processes.

An event is one INSERT in the transaction in which it happens: it counts exactly if that is committed, and takes no
lock. Now and then the rows are folded into sums. They are read in one statement, which sees the rows from before or
from after a fold and never both.
"""

from bisect import bisect_left
from collections import defaultdict
from dataclasses import dataclass, field
from enum import StrEnum

from sqlalchemy import delete, func, insert, select
from sqlalchemy.orm import Session

from service.registry.tables import Tally

#: Upper bounds, in seconds, of the buckets that durations are counted in; there is one more above the last.
BUCKETS = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0, 7200.0)

_FOLD_THRESHOLD = 500  # rows from which on they are folded
_FOLD_BATCH = 10_000


class CounterName(StrEnum):
    """Names of counters. Each has a few labels."""

    REQUESTS_ENDED = "requests_ended"  #: by state; one that is retried ends again
    JOBS_ENDED = "jobs_ended"  #: by state, likewise
    ATTEMPTS_LOST = "attempts_lost"  #: by `Loss`
    DELIVERIES_ENDED = "deliveries_ended"  #: by state
    PHASE_SECONDS = "phase_seconds"  #: by phase, of runs that made a version


class Loss(StrEnum):
    """Why an attempt was lost."""

    LEASE_EXPIRED = "lease_expired"  #: its worker sent no more heartbeats
    PROCESS_DIED = "process_died"  #: the worker's child died, or reported no progress


@dataclass
class Count:
    """The value of one counter with one label, as a histogram where durations were measured."""

    count: int = 0
    total: float = 0.0
    buckets: dict[float | None, int] = field(default_factory=dict)  #: by upper bound in seconds; None: above the last


def add(session: Session, counted: CounterName, label: str, *, times: int = 1, seconds: float | None = None) -> None:
    """Count an event when this session commits, with how long it took; or several that happened at once."""
    at = None if seconds is None else bisect_left(BUCKETS, seconds)
    bucket = None if at is None or at == len(BUCKETS) else BUCKETS[at]
    row = {"counted": counted, "label": label, "bucket": bucket, "count": times, "total": seconds or 0.0}
    session.connection().execute(_INSERT, row)


def read(session: Session) -> dict[tuple[str, str], Count]:
    """All counters, by name and label."""
    counts: defaultdict[tuple[str, str], Count] = defaultdict(Count)
    for counted, label, bucket, count, total in session.execute(_SUMS):
        entry = counts[counted, label]
        entry.count += count
        entry.total += total
        entry.buckets[bucket] = count
    return counts


def fold(session: Session) -> None:
    """Replace rows by their sums, once there are more than `_FOLD_THRESHOLD`. Processes may do so concurrently."""
    if session.scalar(select(Tally.id).offset(_FOLD_THRESHOLD).limit(1)) is None:
        return
    oldest = select(Tally.id).order_by(Tally.id).limit(_FOLD_BATCH).with_for_update(skip_locked=True)
    statement = delete(Tally).where(Tally.id.in_(oldest)).returning(*_GROUP, Tally.count, Tally.total)
    sums: defaultdict[tuple[str, str, float | None], list[float]] = defaultdict(lambda: [0, 0.0])
    for counted, label, bucket, count, total in session.execute(statement):
        sums[counted, label, bucket][0] += count
        sums[counted, label, bucket][1] += total
    rows = [dict(zip(_COLUMNS, (*group, *sum_), strict=True)) for group, sum_ in sums.items()]
    if rows:  # none if another process has locked them all
        session.connection().execute(_INSERT, rows)


_COLUMNS = ("counted", "label", "bucket", "count", "total")
_GROUP = (Tally.counted, Tally.label, Tally.bucket)
_INSERT = insert(Tally)
_SUMS = select(*_GROUP, func.sum(Tally.count), func.sum(Tally.total)).group_by(*_GROUP)
