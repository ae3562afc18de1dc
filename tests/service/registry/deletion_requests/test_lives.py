"""A model of the life of requests and jobs, held against the databases by sequences that Hypothesis makes up."""

import uuid
from collections import Counter
from datetime import timedelta

from hypothesis import HealthCheck, settings, strategies
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from sqlalchemy import delete, select

from service.registry.deletion_requests import lifecycle, publication
from service.registry.errors import FenceLost, NotAwaitingApproval, NotRetriable, PastCommitPoint
from service.registry.job_queue import claims, jobs
from service.registry.job_queue.batching import Batching
from service.registry.job_queue.state_machine import may_move
from service.registry.options import Options
from service.registry.states import ENDED, Phase, State
from service.registry.tables import Base, DeletionRequest, Job, StepMetric, Transition, Version
from tests.service.registry.given_reasons import A_TEST_FELL, BROKEN
from tests.service.registry.given_rows import claim, model_with_version, publish, request, tenant

ATTEMPTS = 2
ONE = strategies.integers(min_value=0, max_value=10**6)  # which of those there are, modulo how many
LATEST = strategies.sampled_from([0, 0, 0, 0, 1, 2])  # how many claims ago
TOGETHER = Batching(images=10)
BATCHING = strategies.sampled_from(
    [
        *[TOGETHER] * 4,
        Batching(images=3),
        Batching(images=0),
        Batching(images=10, window=timedelta(hours=1)),
        Batching(images=10, window=timedelta(hours=1), urgency=timedelta(days=400)),
    ]
)


class Lives(RuleBasedStateMachine):
    """Callers, approvers and workers do whatever they may, in any order."""

    database = None  # of the test

    def __init__(self):
        super().__init__()
        with self.database.write() as session:
            for table in reversed(Base.metadata.sorted_tables):
                session.execute(delete(table))
            self.models = [
                model_with_version(session, name, approval_required=name == "careful") for name in ("a", "careful")
            ]
            self.tenant = tenant(session)
        self.requests = []
        self.held = []  # all claims that were ever made, also those that have lost their fence
        self.published = 0
        self.withdrawn = set()

    def one(self, which, session):
        return self.find(session, self.requests[which % len(self.requests)])

    def find(self, session, request_id):
        return lifecycle.find(session, self.tenant, request_id)

    def claimed(self, which):
        return self.held[-1 - which % len(self.held)]

    @initialize(count=strategies.integers(1, 4))
    def begin(self, count):
        """Most of what may go wrong takes a run for several requests."""
        for _ in range(count):
            self.submit(which=0, images=1, seed=0)

    @rule(
        which=strategies.sampled_from([0, 0, 0, 1]),
        images=strategies.integers(1, 4),
        seed=strategies.sampled_from([0, 0, 0, 1]),
    )
    def submit(self, which, images, seed):
        with self.database.write() as session:
            model = self.models[which]
            self.requests.append(request(session, model, images=images, options=Options(seed=seed)).id)

    @precondition(lambda self: self.requests)
    @rule(which=ONE, agrees=strategies.booleans())
    def decide(self, which, agrees):
        with self.database.write() as session:
            row = self.one(which, session)
            before = row.state
            try:
                if agrees:
                    lifecycle.approve(session, row, by="key:2")
                else:
                    lifecycle.reject(session, row, by="key:2", reason="no")
            except NotAwaitingApproval:
                assert before is not State.AWAITING_APPROVAL

    @precondition(lambda self: self.requests)
    @rule(which=ONE)
    def cancel(self, which):
        with self.database.write() as session:
            row = self.one(which, session)
            before = row.state
            try:
                after = lifecycle.withdraw(session, row)
                assert after.state is (State.RUNNING if before is State.RUNNING else State.CANCELLED)
                assert after.withdrawn is (before is State.RUNNING)
                self.withdrawn.add(row.id)
            except PastCommitPoint:
                assert before in ENDED

    @precondition(lambda self: self.held)
    @rule(which=LATEST, request=ONE)
    def cancel_one_that_was_claimed(self, which, request):
        with self.database.read() as session:
            served = jobs.requests_of(session, self.claimed(which).job_id)
        self.cancel(self.requests.index(served[request % len(served)].id))

    @precondition(lambda self: self.requests)
    @rule(which=ONE)
    def retry(self, which):
        with self.database.write() as session:
            row = self.one(which, session)
            before = row.state
            try:
                after = lifecycle.retry(session, row)
                assert (after.state, after.job.alone) == (State.QUEUED, True)
                self.withdrawn.discard(row.id)  # it failed before its worker heard
                assert before is State.FAILED
            except NotRetriable:
                assert before is not State.FAILED

    @rule(batching=BATCHING, is_lost=strategies.sampled_from([False, False, True]))
    def claim(self, batching, is_lost):
        lease = timedelta(hours=-1 if is_lost else 1)
        held = claim(self.database, lease=lease, batching=batching)
        if held is not None:
            self.held.append(held)
            with self.database.read() as session:
                served = jobs.requests_of(session, held.job_id)
                images = sum(one.sample_count for one in served)
                assert served
                assert len(served) == 1 or not jobs.read(session, held.job_id).alone
                assert len(served) == 1 or held.attempt > 1 or images <= batching.images or held.fence > 1

    @precondition(lambda self: self.held)
    @rule(which=LATEST, points=strategies.lists(strategies.integers(0, 3), unique=True))
    def progress(self, which, points):
        self.write(
            which,
            lambda s, held: claims.record_progress(s, held, phase=Phase.UNLEARN, points=[(at, {}) for at in points]),
        )

    @precondition(lambda self: self.held)
    @rule(which=LATEST, objections=strategies.sampled_from([(), (), (A_TEST_FELL,)]))
    def publish(self, which, objections):
        def written(session, held):
            publish(session, held, objections)
            assert not objections or len(jobs.requests_of(session, held.job_id)) == 1

        if self.write(which, written):
            self.published += 1

    @precondition(lambda self: self.held)
    @rule(which=LATEST)
    def fail(self, which):
        def failed(session, held):
            claims.lock_claimed_job(session, held)
            served = jobs.requests_of(session, held.job_id)
            claims.report_failure(session, held, reason=BROKEN)
            session.flush()
            now = [self.find(session, one.id) for one in served]
            if len(now) == 1:
                assert now[0].state is State.FAILED
            elif self.withdrawn.isdisjoint(one.id for one in now):
                assert all(one.state is State.QUEUED and one.job.alone and one.job.attempt == 0 for one in now)
                assert len({one.job_id for one in now}) == len(now)
            else:
                assert all((one.state is State.CANCELLED) is (one.id in self.withdrawn) for one in now)

        self.write(which, failed)

    @precondition(lambda self: self.held)
    @rule(which=LATEST)
    def lose_the_child(self, which):
        self.write(which, lambda s, held: claims.report_crash(s, held, reason=BROKEN, max_attempts=ATTEMPTS))

    @precondition(lambda self: self.held)
    @rule(which=LATEST, request=ONE)
    def drop(self, which, request):
        def dropped(session, held):
            claims.lock_claimed_job(session, held)
            served = jobs.requests_of(session, held.job_id)
            claims.fail_request(session, held, served[request % len(served)].id, reason=BROKEN)
            assert len(jobs.requests_of(session, held.job_id)) == max(1, len(served) - 1)

        self.write(which, dropped)

    @rule()
    def reap(self):
        with self.database.write() as session:
            claims.reap(session, max_attempts=ATTEMPTS)

    def write(self, which, work):
        """As a worker: whoever has lost the job writes nothing, whoever hears of a withdrawal stops."""
        held = self.claimed(which)
        try:
            with self.database.write() as session:
                work(session, held)
        except FenceLost:
            with self.database.read() as session:
                job = jobs.read(session, held.job_id)
                assert job.fence != held.fence or job.state is not State.RUNNING
            return False
        except claims.CancelRequested:
            with self.database.write() as session:
                claims.stop_withdrawn(session, held)
            return False
        except publication.GateObjected:
            with self.database.write() as session:
                claims.report_failure(session, held, reason=BROKEN)
            return False
        return True

    @invariant()
    def every_request_has_one_job_in_the_same_state(self):
        with self.database.read() as session:
            rows = session.scalars(select(DeletionRequest)).all()
            assert Counter(one.id for one in rows) == Counter(self.requests)
            self.jobs = {job.id: job for job in session.scalars(select(Job))}
            assert {one.job_id for one in rows} == self.jobs.keys()  # and no job is left without a request
            for one in rows:
                job = self.jobs[one.job_id]
                assert (one.state, one.model_id) == (job.state, job.model_id)
                assert not one.withdrawn or job.cancel_requested
                assert (one.ended_at is None) is (one.state not in ENDED)
                assert one.state is not State.CANCELLED or one.id in self.withdrawn
            sharing = Counter(one.job_id for one in rows)
            assert not any(self.jobs[job_id].alone for job_id, count in sharing.items() if count > 1)
            assert not any(
                self.jobs[job_id].state in (State.FAILED, State.NEEDS_REVIEW, State.CANCELLED)
                for job_id, count in sharing.items()
                if count > 1
            )

    @invariant()
    def one_job_of_a_model_runs(self):
        with self.database.read() as session:
            running = session.scalars(select(Job.model_id).where(Job.state == State.RUNNING)).all()
            assert len(running) == len(set(running))

    @invariant()
    def there_is_a_version_for_each_successful_run_and_no_other(self):
        with self.database.read() as session:
            made = session.scalars(select(Version.job_id).where(Version.job_id.is_not(None))).all()
            ended = select(Job.id).where(Job.state.in_((State.COMPLETED, State.NEEDS_REVIEW)))
            assert Counter(made) == Counter(session.scalars(ended).all())
            assert len(made) == self.published

    @invariant()
    def every_move_is_legal_and_follows_the_one_before(self):
        with self.database.read() as session:
            at = {}
            for move in session.scalars(select(Transition).order_by(Transition.id)):
                assert move.before is at.get(move.request_id)
                assert move.before is None or may_move(move.before, move.after)
                at[move.request_id] = move.after
            assert at == dict(session.execute(select(DeletionRequest.id, DeletionRequest.state)).all())

    def teardown(self):
        """Nothing is stuck: workers that do their work bring every request to its end."""
        with self.database.write() as session:
            for job in session.scalars(select(Job).where(Job.state == State.RUNNING)):
                job.lease_until = job.created_at
            session.flush()
            claims.reap(session, max_attempts=100)
        while held := claim(self.database, worker=uuid.uuid4().hex, batching=TOGETHER):
            with self.database.write() as session:
                publish(session, held)
        with self.database.read() as session:
            unfinished = session.scalars(select(DeletionRequest.state).where(DeletionRequest.state.not_in(ENDED))).all()
            assert set(unfinished) <= {State.AWAITING_APPROVAL}
            assert (
                session.scalars(select(StepMetric.job_id).where(StepMetric.job_id.not_in(select(Job.id)))).all() == []
            )


def test_whatever_happens_in_whatever_order(database):
    """Nothing is lost, run twice, illegal or stuck."""
    machine = type("LivesHere", (Lives,), {"database": database})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=25,
            stateful_step_count=40,
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
