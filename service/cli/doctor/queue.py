"""Workers and their leases; deletion requests and their deadlines."""

from collections.abc import Iterator
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, and_, func, or_, select
from sqlalchemy.orm import Session

from service.cli.doctor.finding import Finding, ok, problem, warning
from service.registry.settings import RegistrySettings
from service.registry.states import ENDED, State
from service.registry.storage.database import Database, clock
from service.registry.tables import DeletionRequest, Job, Transition

_PATIENCE = timedelta(minutes=2)  # that a run waits at most where a worker is free
_SOON = timedelta(days=3)


def workers(settings: RegistrySettings, database: Database) -> Iterator[Finding]:
    """Whether leases are renewed and queued runs are taken."""
    with database.read() as session:
        now = clock(session)
        late = Job.lease_until < now - settings.sweep_interval - _PATIENCE
        running = _count(session, Job.state == State.RUNNING)
        dead = _count(session, Job.state == State.RUNNING, late)
        queued = _count(session, Job.state == State.QUEUED)
        since = _waiting_since(session)
    if dead:
        says = f"{dead} of {running} runs have a worker that no longer gives a sign of life"
        yield problem(
            "workers", says, "Start the service: it gives them back to the queue. Then look at the worker's log."
        )
    elif queued and not running and since is not None and now - since > _PATIENCE + settings.batch_window:
        says = f"{queued} runs wait, the first for {_duration(now - since)}, and nobody works"
        mend = "Start a worker: `structguard up`, `python -m worker`, or Celery; the log of one that runs says why."
        yield problem("workers", says, mend)
    else:
        yield ok("workers", f"{running} running, {queued} waiting")


def requests(settings: RegistrySettings, database: Database) -> Iterator[Finding]:
    """Overdue requests, failed ones, and images that were to be deleted."""
    open_ = DeletionRequest.state.not_in(ENDED)
    failed = DeletionRequest.state == State.FAILED
    with database.read() as session:
        now = clock(session)
        waiting = _count(session, open_)
        overdue = _count(session, open_, DeletionRequest.due_at < now)
        soon = _count(session, open_, DeletionRequest.due_at.between(now, now + _SOON))
        next_due = session.scalar(select(func.min(DeletionRequest.due_at)).where(open_))
        failures = _count(session, failed)
        lost = _count(session, failed, DeletionRequest.samples.is_(None))
        ended_long_ago = or_(
            and_(DeletionRequest.state.in_(ENDED - {State.FAILED}), DeletionRequest.ended_at < now - _PATIENCE),
            and_(failed, DeletionRequest.ended_at < now - _PATIENCE - settings.failed_retention),
        )
        retained = _count(session, DeletionRequest.samples.is_not(None), ended_long_ago)
    if overdue:
        mend = "See what they wait for with `structguard status`, and tell the people who asked."
        yield problem("requests", f"{overdue} of {waiting} open ones are overdue", mend)
    elif soon:
        yield warning(
            "requests", f"{soon} of {waiting} open ones are due within three days", "See that workers get to them."
        )
    else:
        yield ok("requests", f"{waiting} open" + (f", the next due {next_due:%Y-%m-%d %H:%M} UTC" if next_due else ""))
    if failures:
        says = f"{failures} have failed" + (f"; the images of {lost} are gone" if lost else "")
        mend = "`structguard status --state failed` says why; retry them, or have what is gone sent again."
        yield warning("failures", says, mend)
    if retained:
        mend = "Start the service, which removes them, and let it delete in the data folder."
        yield problem("images", f"images of {retained} ended requests are still there", mend)


def _count(session: Session, *conditions: ColumnElement[bool]) -> int:
    return session.scalar(select(func.count()).where(*conditions)) or 0


def _waiting_since(session: Session) -> datetime | None:
    """When the longest waiting request was last queued; None if none waits."""
    queued = (
        select(func.max(Transition.at).label("at"))
        .join(DeletionRequest, DeletionRequest.id == Transition.request_id)
        .where(DeletionRequest.state == State.QUEUED)
        .group_by(Transition.request_id)
        .subquery()
    )
    since: datetime | None = session.scalar(select(func.min(queued.c.at)))
    return since


def _duration(time: timedelta) -> str:
    minutes = int(time.total_seconds() / 60)
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h"
