"""A worker holds on to its job for as long as the database lets it, and ends what should end."""

import sys
import threading
from datetime import datetime, timedelta

import pytest

from service.registry.deletion_requests import lifecycle
from service.registry.job_queue import jobs
from service.registry.job_queue.claims import Claim
from service.registry.states import State
from service.registry.storage.database import Database
from service.registry.tables import DeletionRequest, Job
from tests.worker.given_outage import LEASE, Away, claimed
from worker.settings import WorkerSettings
from worker.supervision import supervisor

SETTINGS = WorkerSettings(lease=LEASE)
SILENT = "import time; time.sleep(600)"  # a child that hangs


def lease_until(database: Database, claim: Claim) -> datetime | None:
    return job_of(database, claim).lease_until


def job_of(database: Database, claim: Claim) -> Job:
    with database.read() as session:
        return jobs.read(session, claim.job_id)


def run(database: Database, claim: Claim, monkeypatch: pytest.MonkeyPatch, child: str = SILENT, **changed: int) -> Job:
    """What the job looks like after its run; `changed` are settings in seconds."""
    monkeypatch.setattr(supervisor, "CHILD", (sys.executable, "-c", child))
    settings = SETTINGS.model_copy(update={name: timedelta(seconds=value) for name, value in changed.items()})
    supervisor.run(database, settings, claim, threading.Event())
    return job_of(database, claim)


def test_a_heartbeat_that_fails_is_tried_again_before_the_lease_is_over(
    sqlite: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    claim = claimed(sqlite)
    began = lease_until(sqlite, claim)
    monkeypatch.setattr(supervisor, "CHILD", (sys.executable, "-c", "import time; time.sleep(1.3)"))
    supervisor.run(Away(sqlite, times=2), SETTINGS, claim, threading.Event())
    # A third of the lease, two failures a fifth of a second apart, and then the one that counts.
    assert lease_until(sqlite, claim) > began


def test_a_job_is_given_back_also_to_a_database_that_was_away(
    sqlite: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At once, when it is back: a lease later the job would go by itself."""
    claim = claimed(sqlite)
    monkeypatch.setattr(supervisor, "CHILD", (sys.executable, "-c", "import sys; sys.exit(1)"))
    supervisor.run(Away(sqlite, times=2), SETTINGS, claim, threading.Event())
    with sqlite.read() as session:
        assert jobs.read(session, claim.job_id).state is State.QUEUED


def test_a_child_that_dies_gives_its_job_back(sqlite: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    job = run(sqlite, claimed(sqlite), monkeypatch, "import os; os.kill(os.getpid(), 9)")
    assert (job.state, job.reason, job.attempt) == (State.QUEUED, "the worker's process was killed by SIGKILL", 1)


def test_a_child_that_hangs_is_ended_and_its_job_tried_again(sqlite: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """The lease alone would not notice: it is kept for as long as the child lives."""
    job = run(sqlite, claimed(sqlite), monkeypatch, stall_timeout=2)
    assert (job.state, job.attempt) == (State.QUEUED, 1)
    assert job.reason == "the worker's process told of no progress for 0:00:02"


def test_a_child_that_tells_of_progress_does_not_hang(sqlite: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    claim = claimed(sqlite)
    progress = f"""
import time, uuid
from service.registry.job_queue import claims
from service.registry.storage.database import Database
from service.registry.states import Phase
database = Database({str(sqlite.engine.url)!r})
for step in range(12):
    with database.write() as session:
        claims.record_progress(session, claims.Claim(uuid.UUID("{claim.job_id}"), 1, 1), phase=Phase.UNLEARN, step=step)
    time.sleep(0.5)
raise SystemExit(7)
"""
    job = run(sqlite, claim, monkeypatch, progress, stall_timeout=5)
    assert job.reason == "the worker's process ended with exit code 7"


def test_a_run_that_takes_too_long_has_failed_and_says_so(sqlite: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """It would take as long again; whoever knows better retries it."""
    job = run(sqlite, claimed(sqlite), monkeypatch, job_timeout=1)
    assert job.state is State.FAILED
    assert job.reason == "the run took longer than 0:00:01, as long as one may take; a retry begins anew"


def test_a_withdrawn_job_ends_although_its_child_does_not_look(
    sqlite: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    claim = claimed(sqlite)
    with sqlite.write() as session:
        request = session.query(DeletionRequest).one()
        lifecycle.withdraw(session, lifecycle.find(session, request.tenant_id, request.id))
    assert run(sqlite, claim, monkeypatch).state is State.CANCELLED


def test_a_worker_that_is_stopped_hands_its_job_back_at_no_cost(
    sqlite: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A job that outlives three deployments has not failed three times."""
    claim = claimed(sqlite)
    monkeypatch.setattr(supervisor, "CHILD", (sys.executable, "-c", SILENT))
    stopping = threading.Event()
    threading.Timer(0.5, stopping.set).start()
    supervisor.run(sqlite, SETTINGS, claim, stopping)
    job = job_of(sqlite, claim)
    assert (job.state, job.reason, job.attempt) == (State.QUEUED, "the worker was stopped", 0)
