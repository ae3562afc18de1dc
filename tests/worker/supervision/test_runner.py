"""A worker finds what there is to do by itself, and one that stops leaves nothing behind."""

import os
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import pytest
from pydantic import SecretStr
from sqlalchemy import select, update

from service.registry.job_queue import claims, jobs
from service.registry.job_queue.claims import Claim
from service.registry.states import State
from service.registry.storage.database import Database, clock
from service.registry.tables import Job
from tests.worker.broker import REDIS, needs_redis
from tests.worker.given_outage import claimed
from worker.settings import WorkerSettings
from worker.supervision import supervisor
from worker.supervision.runner import Runner

ENDS = (sys.executable, "-c", "pass")
WORKS = (sys.executable, "-c", "import sys; sys.stdin.read()")  # until its supervisor is gone
NEVER = timedelta(hours=1)


@contextmanager
def running(database: Database, folder: Path) -> Iterator[Runner]:
    """A worker that looks once and then only when it is asked to."""
    url = database.engine.url.render_as_string(hide_password=False)
    runner = Runner(WorkerSettings(database_url=SecretStr(url), data_dir=folder), interval=NEVER)
    thread = threading.Thread(target=runner.run)
    thread.start()
    try:
        yield runner
    finally:
        runner.stop()
        thread.join()


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def job_of(database: Database, claim: Claim) -> Job:
    with database.read() as session:
        return jobs.read(session, claim.job_id)


def abandon(database: Database) -> Claim:
    """A job whose worker has died."""
    claim = claimed(database)
    with database.write() as session:
        session.execute(update(Job).values(lease_until=clock(session) - timedelta(seconds=1)))
    return claim


def test_a_lost_worker_s_job_is_taken_by_whoever_looks(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody else returned it to the queue, and nobody told the worker."""
    claim = abandon(database)
    monkeypatch.setattr(supervisor, "CHILD", WORKS)
    with running(database, tmp_path):
        wait_for(lambda: job_of(database, claim).attempt == 2)


def test_whoever_asks_it_to_look_waits_until_the_job_that_it_found_is_over(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So Celery knows that the worker is busy, and gives the next message to another one."""
    seen = []
    monkeypatch.setattr(supervisor, "run", lambda _database, _settings, claim, _stopping: seen.append(claim))
    with running(database, tmp_path) as runner:
        runner.look()
        assert seen == []
        claim = abandon(database)
        runner.look()
        assert [one.job_id for one in seen] == [claim.job_id]


def test_a_worker_that_stops_hands_its_job_back(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At once, not when the lease has run out."""
    claim = abandon(database)
    monkeypatch.setattr(supervisor, "CHILD", WORKS)
    with running(database, tmp_path):
        wait_for(lambda: job_of(database, claim).attempt == 2)
    job = job_of(database, claim)
    assert (job.state, job.reason) == (State.QUEUED, "the worker was stopped")


def test_a_worker_outlives_a_database_that_is_away(
    sqlite: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It looks again later, and whoever asked is not kept waiting."""
    failures = []

    def away(*_: object, **__: object) -> int:
        failures.append(1)
        raise OSError("the disk is away")

    with running(sqlite, tmp_path) as runner:
        runner.look()
        monkeypatch.setattr(claims, "reap", away)
        runner.look()
        assert failures
        monkeypatch.undo()
        claim = abandon(sqlite)
        monkeypatch.setattr(supervisor, "CHILD", ENDS)
        runner.look()
    assert job_of(sqlite, claim).attempt == 2


def test_a_celery_worker_works_without_any_message_and_stops_without_delay(
    postgresql: Database, tmp_path: Path
) -> None:
    """The broker has nothing for it, the job table has. When it is told to stop, the job is queued again."""
    needs_redis()
    claim = abandon(postgresql)
    script = tmp_path / "app_that_sleeps.py"
    script.write_text(
        f"from worker.supervision import supervisor\nsupervisor.CHILD = {WORKS!r}\nfrom worker.app import app\n"
    )
    environment = {
        "STRUCTGUARD_DATABASE_URL": postgresql.engine.url.render_as_string(hide_password=False),
        "STRUCTGUARD_DATA_DIR": str(tmp_path),
        "STRUCTGUARD_BROKER_URL": REDIS,
        "STRUCTGUARD_CELERY_QUEUE": f"test-{uuid.uuid4()}",
        "STRUCTGUARD_LEASE": "PT10M",
        "PYTHONPATH": f"{tmp_path}{os.pathsep}{Path.cwd()}",
    }
    command = "celery --app app_that_sleeps worker --pool prefork --concurrency 1 --without-gossip --without-mingle"
    worker = subprocess.Popen([sys.executable, "-m", *command.split()], env=os.environ | environment)
    try:
        wait_for(lambda: job_of(postgresql, claim).attempt == 2)
        worker.send_signal(signal.SIGTERM)
        worker.wait(60)
    finally:
        worker.kill()
        worker.wait()
    with postgresql.read() as session:
        job = session.scalars(select(Job)).one()
    assert (job.state, job.reason) == (State.QUEUED, "the worker was stopped")
