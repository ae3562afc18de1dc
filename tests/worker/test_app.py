"""A real Celery worker: whose jobs it takes, and what it does when it is asked to stop."""

import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import redis

from service.registry.job_queue import broker, jobs
from service.registry.models import models
from service.registry.states import State
from service.registry.storage.database import Database
from service.registry.tables import Job
from tests.service.registry.given_rows import LEASE, model_with_version, request
from tests.worker.broker import REDIS, needs_redis

CELERY = ("-m", "celery", "--app", "tests.worker.endless_jobs", "worker", "--pool", "prefork", "--concurrency", "1")


@dataclass
class Worker:
    database: Database
    process: "subprocess.Popen[bytes]"
    log: Path
    queue: str

    def wait_for(self, condition) -> None:
        deadline = time.monotonic() + 120
        while not condition():
            assert time.monotonic() < deadline, self.log.read_text()[-4000:]
            time.sleep(0.05)

    def job(self, job_id: uuid.UUID) -> Job:
        with self.database.read() as session:
            return jobs.read(session, job_id)

    def ring(self) -> None:
        app = broker.celery_app(REDIS, self.queue, ["default"])
        with self.database.write() as session:
            broker.publish_hints(app, jobs.take_unannounced(session, LEASE))
        app.close()

    def runs_a_job(self) -> Job:
        with self.database.write() as session:
            large = model_with_version(session, "large")
            models.move_model(session, large, "a100")
            job_id = request(session, large).job_id
        self.ring()
        self.wait_for(lambda: self.job(job_id).state is State.RUNNING)
        return self.job(job_id)


@pytest.fixture
def worker(sqlite: Database, tmp_path: Path) -> Iterator[Worker]:
    needs_redis()
    queue = f"test-{uuid.uuid4().hex}"
    settings = {
        "STRUCTGUARD_DATA_DIR": str(tmp_path),
        "STRUCTGUARD_DATABASE_URL": str(sqlite.engine.url),
        "STRUCTGUARD_BROKER_URL": REDIS,
        "STRUCTGUARD_CELERY_QUEUE": queue,
        "STRUCTGUARD_POOLS": "a100,h100",
        "STRUCTGUARD_LEASE": "PT10M",  # whatever happens within this test, it is not because a lease ran out
    }
    log = tmp_path / "worker.log"
    with log.open("wb") as file:
        command = [sys.executable, *CELERY, "--loglevel", "info", "--without-gossip", "--without-mingle"]
        process = subprocess.Popen(command, env=os.environ | settings, stdout=file, stderr=file)
    try:
        yield Worker(sqlite, process, log, queue)
    finally:
        process.kill()
        process.wait()
        with redis.Redis.from_url(REDIS) as client:
            client.delete(queue, f"{queue}.a100", f"_kombu.binding.{queue}", f"_kombu.binding.{queue}.a100")


def test_it_hears_of_jobs_of_its_pools_only(worker: Worker) -> None:
    """The message for the others waits in their queue."""
    with worker.database.write() as session:
        small = request(session, model_with_version(session, "small"))
    assert worker.runs_a_job().worker.startswith(os.uname().nodename)
    assert worker.job(small.job_id).state is State.QUEUED
    with redis.Redis.from_url(REDIS) as client:
        assert (client.llen(worker.queue), client.llen(f"{worker.queue}.a100")) == (1, 0)


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGQUIT])
def test_a_worker_that_is_asked_to_stop_hands_its_job_back_at_once(worker: Worker, how: signal.Signals) -> None:
    """A warm shutdown of Celery's own would wait for the job, and a cold one leave it to its lease."""
    running = worker.runs_a_job()
    worker.process.send_signal(how)
    worker.wait_for(lambda: worker.job(running.id).state is State.QUEUED)
    returned = worker.job(running.id)
    assert (returned.reason, returned.attempt, returned.fence) == ("the worker was stopped", 0, 1)
    worker.process.wait(timeout=120)


def test_its_processes_never_load_what_must_not_be_forked() -> None:
    """CUDA breaks in a process that was forked after it was touched; torch belongs to the job's own process."""
    loaded = "import sys, worker.app; print(sorted({'torch', 'numpy', 'pyarrow'} & sys.modules.keys()))"
    settings = {"STRUCTGUARD_BROKER_URL": "redis://127.0.0.1:1/0"}
    done = subprocess.run([sys.executable, "-c", loaded], env=os.environ | settings, check=True, capture_output=True)
    assert done.stdout.decode().strip() == "[]"
