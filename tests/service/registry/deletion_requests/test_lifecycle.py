import uuid
from datetime import UTC, datetime

import pytest

from service.registry.deletion_requests import lifecycle
from service.registry.deletion_requests.lifecycle import due_at
from service.registry.errors import DeletionRequestNotFound, NotRetriable, PastCommitPoint
from service.registry.job_queue import claims
from service.registry.states import State
from tests.service.registry.given_reasons import A_TEST_FELL, BROKEN
from tests.service.registry.given_rows import claim, model_with_version, publish, request, tenant


@pytest.mark.parametrize(
    ("regulation", "received", "due"),
    [
        ("gdpr", "2026-01-31", "2026-02-28"),
        ("gdpr", "2028-01-31", "2028-02-29"),
        ("GDPR", "2026-11-21", "2026-12-21"),
        ("ccpa", "2026-01-01", "2026-02-15"),
        ("lgpd", "2026-01-01", "2026-01-31"),
    ],
)
def test_the_deadline_is_the_regulation_s(regulation, received, due):
    """One month is to the same day of the next, or its last."""
    start, end = (datetime.fromisoformat(day).replace(tzinfo=UTC) for day in (received, due))
    assert due_at(regulation, start) == end


def test_an_unknown_request_is_not_found(database):
    """A fact, not a `None`."""
    with database.write() as session, pytest.raises(DeletionRequestNotFound):
        lifecycle.find(session, tenant(session), uuid.uuid4())


def end(database, how):
    held = claim(database)
    with database.write() as session:
        if how is State.COMPLETED:
            publish(session, held)
        elif how is State.NEEDS_REVIEW:
            publish(session, held, [A_TEST_FELL])
        elif how is State.FAILED:
            claims.report_failure(session, held, reason=BROKEN)
        else:
            claims.stop_withdrawn(session, held)


@pytest.mark.parametrize("how", [State.COMPLETED, State.NEEDS_REVIEW, State.FAILED, State.CANCELLED])
def test_what_has_ended_cannot_be_withdrawn(database, how):
    """And only what failed can be retried."""
    with database.write() as session:
        accepted = request(session, model_with_version(session))
    end(database, how)
    with database.write() as session:
        row = lifecycle.find(session, accepted.tenant_id, accepted.id)
        assert row.state is how
        assert row.ended_at is not None
        with pytest.raises(PastCommitPoint):
            lifecycle.withdraw(session, row)
        if how is not State.FAILED:
            with pytest.raises(NotRetriable):
                lifecycle.retry(session, row)


@pytest.mark.parametrize("runs", [False, True])
def test_what_has_not_ended_cannot_be_retried(database, runs):
    """It is being worked on already."""
    with database.write() as session:
        accepted = request(session, model_with_version(session))
    if runs:
        claim(database)
    with database.write() as session, pytest.raises(NotRetriable):
        lifecycle.retry(session, lifecycle.find(session, accepted.tenant_id, accepted.id))


def test_a_retry_starts_afresh(database):
    """The same identifier, all attempts, the same images, no end; the fence goes on growing."""
    with database.write() as session:
        accepted = request(session, model_with_version(session))
    end(database, State.FAILED)
    with database.write() as session:
        again = lifecycle.retry(session, lifecycle.find(session, accepted.tenant_id, accepted.id))
        assert (again.id, again.state, again.reason, again.ended_at) == (accepted.id, State.QUEUED, "retried", None)
        assert (again.samples, again.job.finished_at, again.job.version) == (accepted.samples, None, None)
    held = claim(database)
    assert (held.attempt, held.fence) == (1, 2)


def test_listings_know_their_filter(database):
    """By model, by state, by both, page by page."""
    with database.write() as session:
        a, b = model_with_version(session, "a"), model_with_version(session, "b")
        made = [request(session, model) for model in (a, b, a)]
        lifecycle.withdraw(session, made[2])

    def listed(model=None, state=None, limit=10):
        ids, cursor = [], None
        with database.read() as session:
            while True:
                page = lifecycle.list_requests(
                    session, a.tenant_id, model=model, state=state, cursor=cursor, limit=limit
                )
                ids += [row.id for row in page.items]
                cursor = page.next
                if cursor is None:
                    return ids

    first, second, third = (row.id for row in made)
    assert listed(limit=1) == listed() == [third, second, first]
    assert listed(model=a, limit=1) == [third, first]
    assert listed(state=State.QUEUED) == [second, first]
    assert listed(model=a, state=State.CANCELLED) == [third]
