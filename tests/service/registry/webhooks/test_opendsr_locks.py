"""Shared runs that serve the same OpenDSR requests take their locks in one order, on a database that locks rows."""

import threading
import time
import uuid

import pytest
from sqlalchemy import select, text
from sqlalchemy.exc import OperationalError

from service.registry.deletion_requests import subject_requests
from service.registry.job_queue.batching import Batching
from service.registry.tables import DeletionRequest, SubjectRequest
from service.registry.webhooks import opendsr_status
from tests.service.registry.given_rows import claim, model_with_version, publish, request, tenant


def persons(session, *models):
    """Two OpenDSR requests, each with a deletion request for each of the models, last one first."""
    made = []
    for _ in range(2):
        whole = subject_requests.accept(
            session,
            tenant(session),
            subject_request_id=uuid.uuid4(),
            fingerprint="0" * 64,
            domain="localhost",
            regulation="gdpr",
            subjects=[],
            callbacks=[],
        )
        for model in models:
            subject_requests.add_erasure(session, whole, request(session, model))
        made.append(whole.id)
    return sorted(made)


def is_free(database, request_id):
    """May somebody else lock it at this moment?"""
    try:
        with database.write() as session:
            row = select(SubjectRequest.id).where(SubjectRequest.id == request_id)
            session.scalars(row.with_for_update(nowait=True)).one()
    except OperationalError:
        return False
    return True


def wait_for_a_lock(database):
    """Return once somebody waits for one."""
    waiting = text(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    )
    deadline = time.monotonic() + 60
    while True:
        with database.read() as session:
            if session.scalar(waiting):
                return
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.parametrize("backwards", [False, True])
def test_whatever_order_requests_come_in_those_behind_them_are_locked_in_one(postgresql, backwards):
    """Whoever waits for the first holds none of the others, so that nobody can wait for them in turn."""
    with postgresql.write() as session:
        low, high = persons(session, model_with_version(session))
        served = session.scalars(select(DeletionRequest).order_by(DeletionRequest.id)).all()
    begun, ended = threading.Event(), threading.Event()

    def move():
        with postgresql.write() as session:
            opendsr_status.lock_subject_requests(session, served[::-1] if backwards else served)
            begun.set()
            ended.wait(60)

    thread = threading.Thread(target=move)
    with postgresql.write() as session:
        session.get(SubjectRequest, low, with_for_update=True)
        thread.start()
        wait_for_a_lock(postgresql)
        assert is_free(postgresql, high)
    assert begun.wait(60)
    assert not is_free(postgresql, low)
    assert not is_free(postgresql, high)
    ended.set()
    thread.join(60)


def test_two_shared_runs_for_the_same_persons_end_at_the_same_moment(postgresql):
    """Neither waits for the other for good, and each person's request has ended with the second."""
    with postgresql.write() as session:
        persons(session, model_with_version(session, "a"), model_with_version(session, "b"))
    held = [claim(postgresql, batching=Batching(images=10)) for _ in range(2)]
    barrier = threading.Barrier(2)
    failures = []

    def end(one):
        barrier.wait()
        try:
            with postgresql.write() as session:
                publish(session, one)
        except Exception as error:  # noqa: BLE001  (to be seen by the main thread)
            failures.append(error)

    threads = [threading.Thread(target=end, args=(one,)) for one in held]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert failures == []
    with postgresql.read() as session:
        assert session.scalars(select(SubjectRequest.status)).all() == ["completed", "completed"]
