"""Requests that wait for one model share a run, and each keeps its own way to end."""

import threading
import uuid
from collections import Counter
from datetime import timedelta

import pytest
from sqlalchemy import event, func, select, update

from service.registry.deletion_requests import lifecycle, publication
from service.registry.errors import FenceLost, NotAwaitingApproval, PastCommitPoint
from service.registry.job_queue import claims, jobs
from service.registry.job_queue.batching import Batching
from service.registry.options import Options, Reference
from service.registry.states import Phase, State
from service.registry.storage.database import clock
from service.registry.tables import DeletionRequest, Job, Version
from tests.service.registry.given_reasons import A_TEST_FELL, BROKEN, COLLAPSED
from tests.service.registry.given_rows import claim, model_with_version, publish, request, tenant

TOGETHER = Batching(images=10)
GONE = timedelta(seconds=-1)
HOUR, DAY, YEAR = timedelta(hours=1), timedelta(days=1), timedelta(days=365)


@pytest.fixture
def three(database):
    """Three requests that wait for one model."""
    with database.write() as session:
        model = model_with_version(session)
        return [request(session, model) for _ in range(3)]


def served(database, held):
    """The requests of a claimed job."""
    with database.read() as session:
        return [request.id for request in jobs.requests_of(session, held.job_id)]


def now(database, *requests):
    """The requests as they are, each with its job; its state is its job's."""
    with database.read() as session:
        rows = [lifecycle.find(session, one.tenant_id, one.id) for one in requests]
        assert all(one.state is one.job.state for one in rows)
        return rows


def states(database, requests):
    return [one.state for one in now(database, *requests)]


def cancel(database, one):
    with database.write() as session:
        return lifecycle.withdraw(session, lifecycle.find(session, one.tenant_id, one.id))


def moves(database, one):
    with database.read() as session:
        return [(move.after, move.reason) for move in lifecycle.transitions(session, one.id)]


def test_what_waits_for_one_model_runs_together(database, three):
    """In the oldest one's job; the other jobs are gone."""
    held = claim(database, batching=TOGETHER)
    assert held.job_id == three[0].job_id
    assert served(database, held) == [one.id for one in three]
    assert states(database, three) == [State.RUNNING] * 3
    with database.write() as session:
        assert session.scalars(select(Job.id)).all() == [held.job_id]
        publish(session, held)
    assert states(database, three) == [State.COMPLETED] * 3
    assert {one.job.version.number for one in now(database, *three)} == {2}


def test_a_run_for_many_takes_no_more_statements_than_one_for_three(database):
    """Claiming it, publishing it, and having each tried by itself when it has failed."""

    def statements(count, end):
        with database.write() as session:
            model = model_with_version(session, f"{count} {end.__name__}")
            for _ in range(count):
                request(session, model)
        statements = []

        def executed(_connection, _cursor, statement, _parameters, _context, _executemany):
            statements.append(statement)

        event.listen(database.engine, "before_cursor_execute", executed)
        try:
            held = claim(database, batching=Batching(images=count))
            with database.write() as session:
                end(session, held)
        finally:
            event.remove(database.engine, "before_cursor_execute", executed)
        while (held := claim(database, batching=Batching(images=count))) is not None:
            with database.write() as session:
                publish(session, held)
        return statements

    def fail(session, held):
        claims.report_failure(session, held, reason=BROKEN)

    for end in (publish, fail):
        assert len(statements(3, end)) == len(statements(40, end)) < 60


def test_each_request_runs_by_itself_if_the_operator_wants_it(database, three):
    """With `batch_images` at zero."""
    assert served(database, claim(database, batching=Batching(images=0))) == [three[0].id]


def test_a_run_takes_as_many_images_as_fit_and_nobody_overtakes(database):
    """4 + 5 of 10, not 2 more; a request over the limit runs all the same, by itself."""
    with database.write() as session:
        model = model_with_version(session)
        made = [request(session, model, images=images).id for images in (4, 5, 2, 30, 1)]
    runs = []
    while held := claim(database, batching=TOGETHER):
        runs.append(served(database, held))
        with database.write() as session:
            publish(session, held)
    assert runs == [made[:2], made[2:3], made[3:4], made[4:]]


def test_only_requests_that_ask_for_the_same_share_a_run(database):
    """Not those of another model or another tenant, with other options, or that wait for approval."""
    with database.write() as session:
        model = model_with_version(session)
        careful = model_with_version(session, "careful", approval_required=True)
        first = request(session, model)
        for other in ({"seed": 1}, {"references": [Reference(model="b", version=1)]}):
            request(session, model, options=Options(**other))
        request(session, model_with_version(session, "b"))
        request(session, model_with_version(session, of="other"))
        waiting = request(session, careful)
        same = request(session, model)
        approved = [request(session, careful) for _ in range(2)]
        for one in approved:
            lifecycle.approve(session, one, by="key:2")
    assert served(database, claim(database, batching=TOGETHER)) == [first.id, same.id]
    shared = claim(database, job_id=approved[0].job_id, batching=TOGETHER)
    assert served(database, shared) == [one.id for one in approved]
    assert states(database, [waiting]) == [State.AWAITING_APPROVAL]


def test_what_ran_before_or_runs_alone_is_not_taken_along(database, three):
    """A retried request runs by itself, and a second attempt takes up nobody new."""
    held = claim(database)
    with database.write() as session:
        claims.report_failure(session, held, reason=BROKEN)
        lifecycle.retry(session, lifecycle.find(session, three[0].tenant_id, three[0].id))
    held = claim(database, batching=TOGETHER)
    assert served(database, held) == [three[0].id]
    with database.write() as session:
        publish(session, held)

    held = claim(database, batching=Batching(images=1))
    with database.write() as session:
        claims.report_crash(session, held, reason=BROKEN, max_attempts=3)
    held = claim(database, batching=TOGETHER)
    assert (held.attempt, served(database, held)) == (2, [three[1].id])


def test_what_ran_before_keeps_its_job(database):
    """Its curves are there, and a request that was approved later is no reason to lose them."""
    with database.write() as session:
        model = model_with_version(session, approval_required=True)
        older, newer = request(session, model), request(session, model)
        lifecycle.approve(session, newer, by="key:2")
    held = claim(database, batching=TOGETHER)
    with database.write() as session:
        claims.record_progress(session, held, phase=Phase.UNLEARN, points=[(1, {})])
        claims.report_crash(session, held, reason=BROKEN, max_attempts=3)
        waiting = lifecycle.find(session, older.tenant_id, older.id)
        lifecycle.approve(session, waiting, by="key:2")
    assert served(database, claim(database, batching=TOGETHER)) == [older.id]


def test_with_a_window_a_request_waits_for_others(database, three):
    """Until the oldest has waited for so long."""
    waits = Batching(images=10, window=HOUR, urgency=DAY)
    assert claim(database, batching=waits) is None
    with database.write() as session:
        session.execute(update(Job).where(Job.id == three[0].job_id).values(created_at=clock(session) - HOUR))
    assert served(database, claim(database, batching=waits)) == [one.id for one in three]


@pytest.mark.parametrize("why", ["urgent", "full", "alone", "second attempt"])
def test_there_are_reasons_not_to_wait(database, three, why):
    """One of the requests is due soon, they fill a run, or it is one that shares with nobody."""
    waits = Batching(images=3 if why == "full" else 10, window=HOUR, urgency=DAY)
    with database.write() as session:
        if why == "urgent":
            soon = clock(session) + timedelta(hours=23)
            session.execute(update(DeletionRequest).where(DeletionRequest.id == three[2].id).values(due_at=soon))
    if why in ("alone", "second attempt"):
        held = claim(database)
        with database.write() as session:
            if why == "alone":
                claims.report_failure(session, held, reason=BROKEN)
                lifecycle.retry(session, lifecycle.find(session, three[0].tenant_id, three[0].id))
            else:
                claims.report_crash(session, held, reason=BROKEN, max_attempts=3)
    held = claim(database, batching=waits)
    assert served(database, held) == [one.id for one in three][: 3 if why in ("urgent", "full") else 1]


def test_the_window_of_one_model_holds_up_no_other(database, three):
    """What is due soon there runs, whatever waits here."""
    with database.write() as session:
        urgent = request(session, model_with_version(session, "b"))
        session.execute(update(DeletionRequest).where(DeletionRequest.id == urgent.id).values(due_at=clock(session)))
    waits = Batching(images=10, window=HOUR, urgency=DAY)
    assert claim(database, batching=waits).job_id == urgent.job_id
    assert claim(database, batching=waits) is None


@pytest.mark.parametrize("which", [0, 1, 2])
def test_one_that_waits_with_others_is_withdrawn_by_itself(database, three, which):
    """Before the run, and between two attempts, whichever of them it is."""
    held = claim(database, batching=TOGETHER)
    with database.write() as session:
        claims.report_crash(session, held, reason=BROKEN, max_attempts=3)
    assert cancel(database, three[which]).job.state is State.CANCELLED
    others = [one for one in three if one is not three[which]]
    assert states(database, [three[which], *others]) == [State.CANCELLED, State.QUEUED, State.QUEUED]
    assert served(database, claim(database)) == [one.id for one in others]


@pytest.mark.parametrize("how", ["stop", "reap", "crash"])
def test_one_that_runs_with_others_is_withdrawn_and_they_begin_anew(database, three, how):
    """At the next step; the attempt does not count for them."""
    held = claim(database, lease=GONE, batching=TOGETHER)
    assert cancel(database, three[0]).state is State.RUNNING
    for write in (lambda s: claims.record_progress(s, held, phase=Phase.UNLEARN), lambda s: publish(s, held)):
        with pytest.raises(claims.CancelRequested), database.write() as session:
            write(session)
    with database.write() as session:
        if how == "stop":
            claims.stop_withdrawn(session, held)
        elif how == "reap":
            assert claims.reap(session, max_attempts=1) == 1
        else:
            claims.report_crash(session, held, reason=BROKEN, max_attempts=1)
    assert states(database, three) == [State.CANCELLED, State.QUEUED, State.QUEUED]
    assert moves(database, three[0])[-1] == (State.CANCELLED, "withdrawn")
    again = claim(database, batching=TOGETHER)
    assert (again.job_id, again.attempt, again.fence) == (held.job_id, 1, 2)
    assert served(database, again) == [one.id for one in three[1:]]
    with database.write() as session:
        publish(session, again)
    assert states(database, three) == [State.CANCELLED, State.COMPLETED, State.COMPLETED]


def test_if_all_that_run_together_are_withdrawn_nothing_is_left(database, three):
    """Each with a job of its own, as if it had never shared."""
    held = claim(database, batching=TOGETHER)
    for one in three:
        cancel(database, one)
    with database.write() as session:
        claims.stop_withdrawn(session, held)
    assert states(database, three) == [State.CANCELLED] * 3
    assert len({one.job_id for one in now(database, *three)}) == 3
    assert claim(database) is None


@pytest.mark.parametrize("how", ["stop", "attempts"])
def test_a_run_that_fails_for_several_fails_for_none(database, three, how):
    """Each is tried by itself, in the order in which they came and with all attempts, and ends as it deserves."""
    held = claim(database, lease=GONE, batching=TOGETHER)
    with database.write() as session:
        if how == "stop":
            claims.report_failure(session, held, reason=BROKEN)
        else:
            claims.reap(session, max_attempts=1)
    why = str(BROKEN) if how == "stop" else "the worker stopped answering, 1 times"
    reason = f"the run for 3 requests failed ({why}); each is tried by itself"
    assert [moves(database, one)[-1] for one in three] == [(State.QUEUED, reason)] * 3
    with pytest.raises(FenceLost), database.write() as session:
        claims.report_failure(session, held, reason=BROKEN)

    ends = iter((State.FAILED, State.NEEDS_REVIEW, State.COMPLETED))
    runs = []
    while held := claim(database, batching=TOGETHER):
        assert (held.attempt, held.fence) == (1, 2)
        runs.append(served(database, held))
        end = next(ends)
        with database.write() as session:
            if end is State.FAILED:
                claims.report_failure(session, held, reason=BROKEN)
            else:
                publish(session, held, [A_TEST_FELL] if end is State.NEEDS_REVIEW else [])
    assert runs == [[one.id] for one in three]
    assert states(database, three) == [State.FAILED, State.NEEDS_REVIEW, State.COMPLETED]


def test_what_was_withdrawn_is_not_tried_by_itself(database, three):
    """The run failed before it heard; the others have another try together."""
    held = claim(database, batching=TOGETHER)
    cancel(database, three[1])
    with database.write() as session:
        claims.report_failure(session, held, reason=BROKEN)
    assert states(database, three) == [State.QUEUED, State.CANCELLED, State.QUEUED]
    assert served(database, claim(database)) == [three[0].id, three[2].id]


def test_the_gate_s_objections_to_several_publish_nothing(database, three):
    """It may object because of one of them."""
    held = claim(database, batching=TOGETHER)
    with pytest.raises(publication.GateObjected, match=f"{A_TEST_FELL}; {COLLAPSED}"), database.write() as session:
        publish(session, held, [A_TEST_FELL, COLLAPSED])
    assert states(database, three) == [State.RUNNING] * 3
    with database.read() as session:
        assert session.scalars(select(Version.number)).all() == [1]


def test_one_whose_images_cannot_be_read_fails_by_itself(database, three):
    """The run goes on with the others, under the same fence, and publishes."""
    held = claim(database, batching=TOGETHER)
    with database.write() as session:
        claims.fail_request(session, held, three[0].id, reason=BROKEN)
    first = now(database, three[0])[0]
    assert (first.state, first.reason, first.samples is None) == (State.FAILED, str(BROKEN), False)
    with database.write() as session:
        publish(session, held)
    assert states(database, three) == [State.FAILED, State.COMPLETED, State.COMPLETED]


def test_with_the_last_one_the_job_has_failed(database, three):
    """There is nothing to run for."""
    held = claim(database, batching=TOGETHER)
    for one in three:
        with database.write() as session:
            claims.fail_request(session, held, one.id, reason=BROKEN)
    assert states(database, three) == [State.FAILED] * 3
    with pytest.raises(FenceLost), database.write() as session:
        claims.record_progress(session, held, phase=Phase.UNLEARN)


def test_each_request_has_its_own_metrics(database, three):
    """They come with the version."""
    held = claim(database, batching=TOGETHER)
    own = {one.id: {"after": {"forget_accuracy": at}} for at, one in enumerate(three)}
    with database.write() as session:
        publish(session, held, own_metrics=own)
    assert [one.metrics for one in now(database, *three)] == list(own.values())


def test_a_request_is_found_in_whichever_job_it_is(database, three):
    """Who read it before it was taken along withdraws it from its new job, or hears what has become of it."""
    with database.write() as session:
        stale = [lifecycle.find(session, one.tenant_id, one.id) for one in three]
    held = claim(database, batching=TOGETHER)
    with database.write() as session:
        before = session.merge(stale[2], load=False)
        assert lifecycle.withdraw(session, before).job.id == held.job_id
    with database.write() as session, pytest.raises(NotAwaitingApproval):
        lifecycle.approve(session, session.merge(stale[1], load=False), by="key:2")
    with database.write() as session:
        claims.stop_withdrawn(session, held)
    with database.write() as session, pytest.raises(PastCommitPoint):
        lifecycle.withdraw(session, session.merge(stale[2], load=False))


def test_nothing_is_lost_between_posts_claims_and_withdrawals(postgresql):
    """Four workers, two callers and one that withdraws: every request ends, in one job, and none is published twice."""
    with postgresql.write() as session:
        models = [model_with_version(session, name) for name in ("a", "b")]
        owner = tenant(session)
    made, withdrawn, runs, failures = [], set(), Counter(), []
    posted = threading.Event()

    def guarded(work):
        try:
            work()
        except Exception as error:  # noqa: BLE001  (to be seen by the main thread)
            failures.append(error)

    def post():
        for at in range(30):
            with postgresql.write() as session:
                made.append(request(session, models[at % 2], images=1 + at % 3).id)

    def withdraw():
        while not posted.is_set():
            for request_id in made[::5]:
                try:
                    with postgresql.write() as session:
                        lifecycle.withdraw(session, lifecycle.find(session, owner, request_id))
                    withdrawn.add(request_id)
                except PastCommitPoint:
                    pass

    def work():
        idle = False
        while True:
            idle, was_idle = posted.is_set(), idle
            held = claim(postgresql, worker=uuid.uuid4().hex, batching=TOGETHER)
            if held is None:
                if was_idle:
                    return
                continue
            try:
                with postgresql.write() as session:
                    publish(session, held)
                    runs.update(one.id for one in jobs.requests_of(session, held.job_id))
            except claims.CancelRequested:
                with postgresql.write() as session:
                    claims.stop_withdrawn(session, held)

    callers = [threading.Thread(target=guarded, args=(post,)) for _ in range(2)]
    others = [threading.Thread(target=guarded, args=(work,)) for _ in range(4)]
    others.append(threading.Thread(target=guarded, args=(withdraw,)))
    for thread in callers + others:
        thread.start()
    for thread in callers:
        thread.join()
    posted.set()
    for thread in others:
        thread.join()

    assert failures == []
    assert len(made) == 60
    with postgresql.read() as session:
        rows = session.execute(select(DeletionRequest.id, DeletionRequest.state, Job.state).join(Job)).all()
        assert {one for one, _, _ in rows} == set(made)
        assert all(request_state is job_state for _, request_state, job_state in rows)
        completed = {one for one, state, _ in rows if state is State.COMPLETED}
        assert {one for one, state, _ in rows if state is State.CANCELLED} == set(made) - completed <= withdrawn
        assert set(runs) == completed
        assert max(runs.values()) == 1
        empty = select(Job.id).where(~select(DeletionRequest).where(DeletionRequest.job_id == Job.id).exists())
        assert session.scalars(empty).all() == []
        assert session.scalar(select(func.count()).select_from(Version)) < 2 + len(made)
