"""What an operator sees of the whole installation."""

from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import update

from service.registry.crypto.master_key import MasterKey
from service.registry.deletion_requests import image_retention
from service.registry.job_queue import claims
from service.registry.models import aliases, versions
from service.registry.operations import installation_status
from service.registry.operations.installation_status import InstallationStatus
from service.registry.settings import RegistrySettings
from service.registry.states import DeliveryState, State
from service.registry.storage.database import Database, clock
from service.registry.tables import DeletionRequest, Job
from service.registry.webhooks import endpoints, outbox
from service.registry.webhooks.outbox import DeliveryOutcome
from tests.service.registry.given_reasons import A_TEST_FELL, BROKEN
from tests.service.registry.given_rows import LEASE, claim, model_with_version, publish, register_model, request

HOUR = timedelta(hours=1)


def look(database: Database) -> InstallationStatus:
    with database.read() as session:
        return installation_status.read(session, LEASE)


def earlier(database: Database, row: DeletionRequest, by: timedelta) -> None:
    """As if the request had come before."""
    with database.write() as session:
        moved = {"received_at": row.received_at - by, "due_at": row.due_at - by}
        session.execute(update(DeletionRequest).where(DeletionRequest.id == row.id).values(moved))


def test_nothing_is_an_overview_too(database: Database) -> None:
    found = look(database)
    assert set(found.requests.values()) == {0}
    assert (found.time_left, found.overdue, found.oldest_waiting, found.oldest_heartbeat) == (None, 0, 0.0, 0.0)
    assert (found.queued_jobs, found.running_jobs, found.expired_leases, found.measured) == (0, 0, 0, [])


def test_requests_are_counted_by_state_over_all_tenants(database: Database) -> None:
    with database.write() as session:
        for name, of in (("pets", "acme"), ("cars", "other")):
            request(session, model_with_version(session, name, of=of))
        careful = register_model(session, "careful", approval_required=True)
        request(session, careful)
    claim(database)
    found = look(database)
    assert {state: count for state, count in found.requests.items() if count} == {
        State.AWAITING_APPROVAL: 1,
        State.QUEUED: 1,
        State.RUNNING: 1,
    }
    assert (found.queued_jobs, found.running_jobs, found.expired_leases) == (1, 1, 0)
    assert found.oldest_heartbeat < 20


def test_deadlines_are_those_of_open_requests_and_of_failed_ones_that_can_be_retried(database: Database) -> None:
    """An ended one is not overdue, however old; nor is a failed one whose images are gone, because nothing helps it."""
    with database.write() as session:
        model = model_with_version(session)
        done, failed, waiting = (request(session, model) for _ in range(3))
    with database.write() as session:
        publish(session, claim(database))
    with database.write() as session:
        claims.report_failure(session, claim(database), reason=BROKEN)
    month = done.due_at - done.received_at
    earlier(database, done, 3 * month)
    with database.write() as session:
        image_retention.forget_samples(session, done.id, RegistrySettings())
    earlier(database, waiting, month - HOUR)
    found = look(database)
    assert found.overdue == 0
    assert found.time_left == pytest.approx(3600, abs=60)
    assert found.oldest_waiting == pytest.approx((month - HOUR).total_seconds(), abs=60)
    earlier(database, failed, month + HOUR)
    found = look(database)
    assert found.overdue == 1
    assert found.time_left == pytest.approx(-3600, abs=60)
    with database.write() as session:
        session.execute(update(DeletionRequest).where(DeletionRequest.id == failed.id).values(samples=None))
    assert look(database).overdue == 0


def test_a_worker_that_is_not_heard_of_shows(database: Database) -> None:
    with database.write() as session:
        request(session, model_with_version(session))
    held = claim(database)
    with database.write() as session:
        gone = clock(session) - HOUR
        session.execute(update(Job).where(Job.id == held.job_id).values(lease_until=gone))
    found = look(database)
    assert found.expired_leases == 1
    assert found.oldest_heartbeat == pytest.approx((HOUR + LEASE).total_seconds(), abs=60)


def test_an_alias_shows_what_was_measured_of_its_version(database: Database) -> None:
    """Of the run that made it; of a registered version only what is its own."""
    with database.write() as session:
        model = model_with_version(session)
        request(session, model)
        for name, follows in (("production", True), ("old", False)):
            version = versions.require_latest_version(session, model)
            how = {"follows_gate": follows, "override_gate": False, "expected_number": None, "by": "key:1"}
            aliases.point(session, model, name, version, **how)
    held = claim(database)
    with database.write() as session:
        publish(session, held)
        job = session.get_one(Job, held.job_id)
        job.metrics = {"before": {"forget_accuracy": 0.0}, "after": {"forget_accuracy": 100.0, "collapse": 0.2}}
    old, production = look(database).measured
    assert (old.tenant, old.model, old.alias, old.number) == ("acme", "pets", "old", 1)
    assert old.measurements == {"test_accuracy": 90.0}
    assert (production.alias, production.number) == ("production", 2)
    assert production.measurements == {"test_accuracy": 89.0, "forget_accuracy": 100.0, "collapse": 0.2}


def test_models_whose_gate_objects_are_named(database: Database) -> None:
    with database.write() as session:
        request(session, model_with_version(session))
    with database.write() as session:
        publish(session, claim(database), objections=[A_TEST_FELL])
    (found,) = look(database).objected
    assert (found.tenant, found.model, found.runs) == ("acme", "pets", 1)


def test_messages_that_do_not_arrive_are_counted(database: Database, tmp_path: Path) -> None:
    master_key = MasterKey(RegistrySettings(data_dir=tmp_path))
    with database.write() as session:
        model = model_with_version(session)
        endpoints.create(session, model.tenant_id, master_key, url="https://hooks.example/", events=[], description="")
        request(session, model)
        request(session, model)
    with database.write() as session:
        (sending,) = outbox.claim(session, limit=9)
        outbox.record(session, sending, DeliveryOutcome(milliseconds=3, status=410))
    found = look(database)
    assert found.deliveries == {DeliveryState.PENDING: 1, DeliveryState.FAILED: 1}
    assert found.counts["deliveries_ended", "failed"].count == 1
