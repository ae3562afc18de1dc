import threading
import uuid
from datetime import timedelta

import pytest
from sqlalchemy import select, update
from sqlalchemy.exc import IntegrityError

from service.registry.deletion_requests import lifecycle
from service.registry.errors import FenceLost, JobNotFound
from service.registry.job_queue import claims, jobs
from service.registry.models import models, versions
from service.registry.states import Phase, State
from service.registry.storage.database import clock
from service.registry.tables import Job, Transition, Version
from tests.service.registry.given_reasons import A_TEST_FELL, BROKEN, COLLAPSED
from tests.service.registry.given_rows import LEASE, claim, model_with_version, publish, request, tenant

GONE = timedelta(seconds=-1)


@pytest.fixture
def accepted(database):
    """A request on a model with one version."""
    with database.write() as session:
        return request(session, model_with_version(session))


def state(database, accepted):
    """The state of the request, which is always that of its job."""
    with database.read() as session:
        row = lifecycle.find(session, accepted.tenant_id, accepted.id)
        assert row.state is row.job.state
        return row.state


def test_a_claim_takes_the_job_and_its_request(database, accepted):
    """Running, with a lease, a fence and a first attempt."""
    held = claim(database)
    assert (held.job_id, held.fence, held.attempt) == (accepted.job_id, 1, 1)
    assert state(database, accepted) is State.RUNNING
    with database.read() as session:
        job = jobs.read(session, held.job_id)
        assert (job.worker, job.phase) == ("w", Phase.LOAD)
        assert job.lease_until - job.started_at == LEASE


def test_nothing_waits_nothing_is_claimed(database, accepted):
    """Nor a job that runs, nor one that nobody made."""
    held = claim(database)
    assert claim(database) is None
    assert claim(database, job_id=held.job_id) is None
    assert claim(database, job_id=uuid.uuid4()) is None


def test_jobs_of_one_model_run_one_after_the_other(database):
    """In the order in which they came, because each builds on the version before."""
    with database.write() as session:
        model = model_with_version(session)
        first, second = request(session, model), request(session, model)
    assert claim(database, job_id=second.job_id) is None
    held = claim(database)
    assert held.job_id == first.job_id
    assert claim(database) is None
    with database.write() as session:
        publish(session, held)
    assert claim(database).job_id == second.job_id


def test_jobs_of_two_models_run_side_by_side(database):
    """They have nothing to do with each other."""
    with database.write() as session:
        made = [request(session, model_with_version(session, name)).job_id for name in ("a", "b")]
    assert [claim(database).job_id for _ in made] == made


def test_the_database_refuses_a_second_running_job(database):
    """Whatever the code above it believes."""
    with database.write() as session:
        model = model_with_version(session)
        request(session, model), request(session, model)
    with pytest.raises(IntegrityError), database.write() as session:
        session.execute(update(Job).values(state=State.RUNNING))


@pytest.mark.parametrize("models_count", [1, 6])
def test_claimers_at_the_same_moment_never_share_a_job(database, models_count):
    """Eight workers, six jobs: each job is taken once, and never two of one model."""
    with database.write() as session:
        for name in range(models_count):
            model = model_with_version(session, f"m{name}")
            for _ in range(6 // models_count):
                request(session, model)
    barrier = threading.Barrier(8)
    taken, failures = [], []

    def work():
        barrier.wait()
        try:
            taken.append(claim(database))
        except Exception as error:  # noqa: BLE001  (to be seen by the main thread)
            failures.append(error)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert failures == []
    held = [one.job_id for one in taken if one]
    assert len(held) == len(set(held))
    assert 1 <= len(held) <= models_count
    with database.read() as session:
        running = session.scalars(select(Job).where(Job.state == State.RUNNING)).all()
        assert {job.id for job in running} == set(held)
        assert len({job.model_id for job in running}) == len(running)


def test_a_heartbeat_keeps_the_lease(database, accepted):
    """And the reaper leaves the job alone."""
    held = claim(database, lease=GONE)
    with database.write() as session:
        claims.heartbeat(session, held, LEASE)
        assert claims.reap(session, max_attempts=3) == 0
        assert jobs.read(session, held.job_id).lease_until > clock(session)
    assert state(database, accepted) is State.RUNNING


def test_a_lost_worker_s_job_is_run_again_and_in_the_end_fails(database, accepted):
    """Three attempts; the reason says what happened."""
    for attempt in (1, 2, 3):
        held = claim(database, lease=GONE)
        assert (held.attempt, held.fence) == (attempt, attempt)
        with database.write() as session:
            assert claims.reap(session, max_attempts=3) == 1
    assert state(database, accepted) is State.FAILED
    with database.read() as session:
        row = lifecycle.find(session, accepted.tenant_id, accepted.id)
        assert row.reason == "the worker stopped answering, 3 times"


def test_a_job_given_back_is_run_again(database, accepted):
    """Its child died, the supervisor did not."""
    held = claim(database)
    with database.write() as session:
        claims.report_crash(session, held, reason=BROKEN, max_attempts=3)
    assert state(database, accepted) is State.QUEUED
    assert claim(database).attempt == 2


def test_whoever_lost_the_fence_writes_nothing(database, accepted):
    """Not a version, not a step, not an end: another worker has the job."""
    old = claim(database, lease=GONE)
    with database.write() as session:
        claims.reap(session, max_attempts=3)
    new = claim(database)
    assert new.fence == old.fence + 1

    attempts = [
        lambda session: claims.heartbeat(session, old, LEASE),
        lambda session: claims.record_progress(session, old, phase=Phase.UNLEARN, step=9, points=[(9, {})]),
        lambda session: publish(session, old),
        lambda session: claims.report_failure(session, old, reason=BROKEN),
        lambda session: claims.report_crash(session, old, reason=BROKEN, max_attempts=3),
    ]
    for attempt in attempts:
        with pytest.raises(FenceLost), database.write() as session:
            attempt(session)

    with database.write() as session:
        assert session.scalars(select(Version.number)).all() == [1]
        assert jobs.curve(session, jobs.read(session, new.job_id)) == []
        publish(session, new)
    assert state(database, accepted) is State.COMPLETED


def test_a_job_publishes_once(database, accepted):
    """A worker that comes back after its commit was lost on the wire finds the fence closed."""
    held = claim(database)
    with database.write() as session:
        publish(session, held)
    with pytest.raises(FenceLost), database.write() as session:
        publish(session, held)
    with database.read() as session:
        assert session.scalars(select(Version.number).order_by(Version.number)).all() == [1, 2]


def test_publishing_is_all_or_nothing(database, accepted):
    """A transaction that fails after it leaves the job running and no version."""
    held = claim(database)

    def crash():
        with database.write() as session:
            publish(session, held)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        crash()
    assert state(database, accepted) is State.RUNNING
    with database.read() as session:
        assert session.scalars(select(Version.number)).all() == [1]


def test_a_version_that_failed_the_gate_is_not_built_on(database, accepted):
    """It exists, and the next run starts from the one before."""
    held = claim(database)
    with database.write() as session:
        version = publish(session, held, [A_TEST_FELL, COLLAPSED])
        model = models.find_model(session, tenant(session), "pets")
        assert (version.number, version.gate) == (2, "needs_review")
        assert versions.require_latest_version(session, model).number == 1
        row = lifecycle.find(session, accepted.tenant_id, accepted.id)
        assert (row.state, row.reason) == (State.NEEDS_REVIEW, f"{A_TEST_FELL}; {COLLAPSED}")
        assert row.job.version.number == 2


def test_an_unmeasured_parent_gets_its_measurements(database, accepted):
    """An uploaded version was never measured; the run that built on it did so."""
    held = claim(database)
    with database.write() as session:
        publish(session, held)
    with database.read() as session:
        metrics = session.scalars(select(Version.metrics).order_by(Version.number)).all()
        assert metrics == [{"test_accuracy": 90.0}, {"test_accuracy": 89.0}]


def test_a_running_job_hears_that_it_was_withdrawn(database, accepted):
    """At its next step or at the commit point, whichever comes first; then it is cancelled."""
    held = claim(database)
    with database.write() as session:
        lifecycle.withdraw(session, lifecycle.find(session, accepted.tenant_id, accepted.id))
    assert state(database, accepted) is State.RUNNING
    for write in (lambda s: claims.record_progress(s, held, phase=Phase.UNLEARN), lambda s: publish(s, held)):
        with pytest.raises(claims.CancelRequested), database.write() as session:
            write(session)
    with database.write() as session:
        claims.stop_withdrawn(session, held)
    assert state(database, accepted) is State.CANCELLED


@pytest.mark.parametrize("lose", ["reap", "crash"])
def test_a_withdrawn_job_whose_worker_is_lost_is_not_run_again(database, accepted, lose):
    """It is cancelled instead."""
    held = claim(database, lease=GONE)
    with database.write() as session:
        lifecycle.withdraw(session, lifecycle.find(session, accepted.tenant_id, accepted.id))
        if lose == "reap":
            claims.reap(session, max_attempts=3)
        else:
            claims.report_crash(session, held, reason=BROKEN, max_attempts=3)
    assert state(database, accepted) is State.CANCELLED
    assert claim(database) is None


def test_curves_are_those_of_the_latest_attempt(database, accepted):
    """Points of an attempt that was lost would make them jump; a step measured twice counts once."""
    held = claim(database, lease=GONE)
    with database.write() as session:
        claims.record_progress(
            session, held, phase=Phase.UNLEARN, step=7, total=9, points=[(7, {"forget_accuracy": 50.0})]
        )
        assert [point.step for point in jobs.curve(session, jobs.read(session, held.job_id))] == [7]
        claims.reap(session, max_attempts=3)
    held = claim(database)
    with database.write() as session:
        claims.record_progress(session, held, phase=Phase.UNLEARN, points=[(0, {"a": 1}), (1, {"a": 2})])
        claims.record_progress(session, held, phase=Phase.UNLEARN, points=[(1, {"a": 3})])
    with database.read() as session:
        points = jobs.curve(session, jobs.read(session, held.job_id))
        assert [(point.step, point.values) for point in points] == [(0, {"a": 1}), (1, {"a": 3})]


def test_every_move_is_written_down(database, accepted):
    """With its time and its reason, oldest first."""
    held = claim(database)
    with database.write() as session:
        claims.report_crash(session, held, reason=BROKEN, max_attempts=3)
    with database.read() as session:
        moves = lifecycle.transitions(session, accepted.id)
        assert [(move.before, move.after, move.reason) for move in moves] == [
            (None, State.RECEIVED, None),
            (State.RECEIVED, State.QUEUED, None),
            (State.QUEUED, State.RUNNING, None),
            (State.RUNNING, State.QUEUED, str(BROKEN)),
        ]
        assert [move.at for move in moves] == sorted(move.at for move in moves)


def test_a_stale_session_does_not_decide(postgresql):
    """Cancelling reads the request, waits for the worker that holds the job, and then sees what that one has done."""
    with postgresql.write() as session:
        accepted = request(session, model_with_version(session))
    held = claim(postgresql)
    waiting = threading.Event()
    outcome = []

    def cancel():
        with postgresql.write() as session:
            row = lifecycle.find(session, accepted.tenant_id, accepted.id)
            waiting.set()
            outcome.append(lifecycle.withdraw(session, row).state)

    thread = threading.Thread(target=cancel)
    with postgresql.write() as session:
        jobs.lock(session, held.job_id)
        thread.start()
        assert waiting.wait(10)
        claims.report_crash(session, held, reason=BROKEN, max_attempts=3)
    thread.join(10)

    assert outcome == [State.CANCELLED]
    with postgresql.read() as session:
        last = session.scalars(select(Transition).order_by(Transition.id.desc())).first()
        assert (last.before, last.after) == (State.QUEUED, State.CANCELLED)


def test_announcing_happens_once_in_a_while(database, accepted):
    """At first at once, then only after the given time, and not while it runs."""
    with database.write() as session:
        assert jobs.take_unannounced(session, LEASE) == {accepted.job_id: "default"}
        assert jobs.take_unannounced(session, LEASE) == {}
        assert jobs.take_unannounced(session, GONE) == {accepted.job_id: "default"}
    held = claim(database)
    with database.write() as session:
        assert jobs.take_unannounced(session, GONE) == {}
        claims.report_crash(session, held, reason=BROKEN, max_attempts=3)
        assert jobs.take_unannounced(session, LEASE) == {accepted.job_id: "default"}


def test_an_unknown_job_is_not_found(database):
    """A fact, not a `None`."""
    with database.write() as session, pytest.raises(JobNotFound):
        jobs.find(session, tenant(session), uuid.uuid4())
