"""A worker holds on to its job for as long as the database lets it."""

import sys
import threading
from datetime import datetime

import pytest

from service.registry import jobs
from service.registry.claims import Claim
from service.registry.database import Database
from service.registry.states import State
from tests.worker.given_outage import LEASE, Away, claimed
from worker import supervisor
from worker.settings import WorkerSettings

SETTINGS = WorkerSettings(lease=LEASE)


def lease_until(database: Database, claim: Claim) -> datetime | None:
    with database.read() as session:
        return jobs.read(session, claim.job_id).lease_until


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
    claim = claimed(sqlite)
    monkeypatch.setattr(supervisor, "CHILD", (sys.executable, "-c", "import os; os.kill(os.getpid(), 9)"))
    supervisor.run(sqlite, SETTINGS, claim, threading.Event())
    with sqlite.read() as session:
        job = jobs.read(session, claim.job_id)
    assert (job.state, job.reason) == (State.QUEUED, "the worker's process was killed by SIGKILL")
