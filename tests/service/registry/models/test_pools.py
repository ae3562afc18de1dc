"""Models name the workers that run their jobs."""

import threading

from service.registry.job_queue import claims, jobs
from service.registry.models import models
from service.registry.operations import housekeeping
from service.registry.settings import RegistrySettings
from service.registry.states import State
from service.registry.storage.artifacts import Artifacts
from service.registry.storage.database import clock
from service.registry.tables import Job, Transition
from tests.service.registry.given_rows import LEASE, claim, model_with_version, request


def take(database, *pools, job_id=None):
    with database.write() as session:
        return claims.take(session, worker="w", lease=LEASE, pools=pools, job_id=job_id)


def test_a_worker_takes_jobs_of_its_pools_and_no_others(database):
    """Whatever a message says, and however long the others have been waiting."""
    with database.write() as session:
        small = request(session, model_with_version(session, "small"))
        large = model_with_version(session, "large")
        models.move_model(session, large, "a100")
        big = request(session, large)
    assert take(database, "a100", job_id=small.job_id) is None
    assert take(database, "cpu") is None
    assert take(database, "a100").job_id == big.job_id
    assert take(database, "a100", "default").job_id == small.job_id


def test_a_job_is_announced_to_its_pool_and_to_another_one_when_its_model_moves(database):
    """At once: the workers of the other pool have not heard of it."""
    with database.write() as session:
        model = model_with_version(session)
        accepted = request(session, model)
        assert jobs.take_unannounced(session, LEASE) == {accepted.job_id: "default"}
        models.move_model(session, model, "a100")
        assert jobs.take_unannounced(session, LEASE) == {accepted.job_id: "a100"}
    held = claim(database)
    with database.write() as session:
        models.move_model(session, model, "default")
        assert jobs.read(session, held.job_id).state is State.RUNNING


def test_sweepers_at_the_same_moment_return_and_announce_each_job_once(database, tmp_path):
    """Any number of replicas sweeps."""
    with database.write() as session:
        lost = [request(session, model_with_version(session, f"m{n}")).job_id for n in range(12)]
    for _ in lost:
        claim(database)
    with database.write() as session:
        for job in session.query(Job):
            job.lease_until = clock(session) - LEASE
    settings = RegistrySettings(data_dir=tmp_path)
    barrier = threading.Barrier(4)
    announced, failures = [], []

    def sweep():
        barrier.wait()
        try:
            housekeeping.sweep(database, Artifacts(tmp_path), settings)
            with database.write() as session:
                announced.extend(jobs.take_unannounced(session, LEASE))
        except Exception as error:  # noqa: BLE001  (to be seen by the main thread)
            failures.append(error)

    threads = [threading.Thread(target=sweep) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert failures == []
    assert sorted(announced) == sorted(lost)
    with database.read() as session:
        returned = session.query(Transition).filter_by(before=State.RUNNING, after=State.QUEUED).count()
        assert returned == len(lost)
        assert {job.attempt for job in session.query(Job)} == {1}
