from datetime import timedelta

import pytest
from sqlalchemy import func, select, text, update
from sqlalchemy.exc import OperationalError

from service.registry.crypto.master_key import MasterKey
from service.registry.operations import housekeeping
from service.registry.settings import RegistrySettings
from service.registry.states import DeliveryState, State
from service.registry.storage.artifacts import Artifacts
from service.registry.storage.database import clock
from service.registry.tables import WebhookAttempt, WebhookDelivery, WebhookEndpoint, WebhookMessage
from service.registry.webhooks import endpoints, outbox
from service.registry.webhooks.outbox import LEASE, SCHEDULE, DeliveryOutcome
from tests.service.registry.given_rows import claim as take_job
from tests.service.registry.given_rows import model_with_version, publish, request, tenant

MADE = {}  # the master key of these tests
FINE, BROKEN = DeliveryOutcome(status=204, milliseconds=1), DeliveryOutcome(status=500, milliseconds=1)


@pytest.fixture(scope="module", autouse=True)
def _master_key(tmp_path_factory):
    MADE["key"] = MasterKey(RegistrySettings(data_dir=tmp_path_factory.mktemp("data")))


def endpoint(database, *events, of="acme"):
    with database.write() as session:
        return endpoints.create(
            session, tenant(session, of), MADE["key"], url="https://x.example", events=events, description=""
        )


def a_message(database, to):
    with database.write() as session:
        return endpoints.send_test(session, endpoints.find(session, to.tenant_id, to.id)).id


def claim(database, limit=9):
    with database.write() as session:
        return outbox.claim(session, limit=limit)


def record(database, claim, outcome):
    with database.write() as session:
        outbox.record(session, claim, outcome)


def now_due(database):
    with database.write() as session:
        session.execute(update(WebhookDelivery).values(next_at=clock(session)))


def read(database, delivery_id):
    with database.read() as session:
        return session.get_one(WebhookDelivery, delivery_id)


def count(database, table):
    with database.read() as session:
        return session.scalar(select(func.count()).select_from(table))


def message_types(database):
    with database.read() as session:
        return list(session.scalars(select(WebhookMessage.type).order_by(WebhookMessage.created_at)))


def test_every_state_but_the_first_is_an_event():
    """Somebody who may subscribe to a word that is never said would wait for it."""
    assert {event.value for event in endpoints.Event} == {f"deletion_request.{s}" for s in State} - {
        "deletion_request.received"
    }


def test_what_happened_and_the_message_of_it_are_committed_together(database):
    """Or neither is."""
    endpoint(database)
    with database.write() as session:
        request(session, model_with_version(session))
        assert session.scalar(select(func.count()).select_from(WebhookDelivery)) == 1
        session.rollback()
    assert count(database, WebhookMessage) == count(database, WebhookDelivery) == 0
    with database.write() as session:
        request(session, model_with_version(session))
    held = take_job(database)
    with database.write() as session:
        publish(session, held)
    assert message_types(database) == [f"deletion_request.{state}" for state in ("queued", "running", "completed")]


def test_nobody_is_told_who_did_not_ask(database):
    """No message without an endpoint that hears of it, and none for another tenant's."""
    endpoint(database, endpoints.Event.COMPLETED)
    endpoint(database, of="globex")
    disabled = endpoint(database)
    with database.write() as session:
        outbox.disable(session.merge(disabled), "x", at=clock(session))
        request(session, model_with_version(session))
    assert count(database, WebhookMessage) == 0
    held = take_job(database)
    with database.write() as session:
        publish(session, held)
    assert message_types(database) == ["deletion_request.completed"]


def test_a_delivery_is_one_sender_s_until_its_lease_runs_out(database):
    """Whoever lost it records nothing."""
    delivery = a_message(database, endpoint(database))
    [first] = claim(database)
    assert claim(database) == []
    assert (first.lease_until - first.at, first.delivery_id) == (LEASE, delivery)
    with database.write() as session:
        session.execute(update(WebhookDelivery).values(lease_until=clock(session) - timedelta(seconds=1)))
    [second] = claim(database)
    record(database, first, BROKEN)
    assert count(database, WebhookAttempt) == 0
    record(database, second, FINE)
    row = read(database, delivery)
    assert (row.state, row.tries, row.next_at, row.lease_until) == (DeliveryState.SUCCEEDED, 1, None, None)


def test_an_endpoint_gets_one_message_at_a_time_in_their_order(database):
    """So that one with a thousand waiting messages does not keep the others from theirs."""
    busy, idle = endpoint(database), endpoint(database)
    waiting = [a_message(database, busy) for _ in range(3)]
    other = a_message(database, idle)
    first = claim(database)
    assert [c.delivery_id for c in first] == [waiting[0], other]
    assert claim(database) == []
    record(database, first[0], FINE)
    assert [c.delivery_id for c in claim(database)] == [waiting[1]]


def test_a_sender_does_not_wait_for_another_one(postgresql):
    """What one is about to claim is invisible to the next."""
    a_message(postgresql, endpoint(postgresql))
    with postgresql.write() as session:
        assert len(outbox.claim(session, limit=9)) == 1
        assert claim(postgresql) == []


def test_an_endpoint_that_is_removed_does_not_break_what_it_would_be_told_of(postgresql):
    """The removal waits for the transaction that tells it something, and takes that along."""
    gone = endpoint(postgresql)
    with postgresql.write() as session:
        request(session, model_with_version(session))
        with postgresql.write() as other:
            other.execute(text("SET LOCAL lock_timeout = '50ms'"))
            with pytest.raises(OperationalError):
                endpoints.remove(other, gone.tenant_id, gone.id)
    with postgresql.write() as session:
        endpoints.remove(session, gone.tenant_id, gone.id)
    assert count(postgresql, WebhookDelivery) == 0


def test_a_sender_need_only_hear_of_sessions_that_have_something_to_send(database):
    """A turn of its own costs a deletion request as much as two statements."""
    with database.write() as session:
        request(session, model_with_version(session))
    assert not outbox.has_due_deliveries(session)
    endpoint(database)
    with database.write() as session:
        request(session, model_with_version(session, name="other"))
    assert outbox.has_due_deliveries(session)


def test_the_schedule_is_the_specification_s_and_then_the_endpoint_is_disabled(database):
    """Ten attempts over 75.6 hours, each up to a tenth late."""
    assert sum(SCHEDULE, timedelta()) == timedelta(hours=75, minutes=35, seconds=5)
    to = endpoint(database)
    delivery = a_message(database, to)
    for delay in SCHEDULE[1:]:
        [held] = claim(database)
        record(database, held, BROKEN)
        late = read(database, delivery).next_at - held.at
        assert delay <= late < delay * 1.1 + timedelta(seconds=5)
        now_due(database)
    record(database, claim(database)[0], DeliveryOutcome(error="timeout", milliseconds=15_000))
    row = read(database, delivery)
    assert (row.state, row.tries, row.next_at) == (DeliveryState.FAILED, 10, None)
    with database.read() as session:
        assert session.get_one(WebhookEndpoint, to.id).disabled_reason == "a delivery failed 10 times"
    assert count(database, WebhookAttempt) == 10


@pytest.mark.parametrize(("asked", "given"), [(0, 5), (3600, 3600), (10**8, 24 * 3600)])
def test_an_endpoint_may_ask_for_patience(database, asked, given):
    """Never for less than the schedule has, and for a day at most."""
    delivery = a_message(database, endpoint(database))
    [held] = claim(database)
    record(database, held, DeliveryOutcome(status=503, milliseconds=1, retry_after=timedelta(seconds=asked)))
    late = (read(database, delivery).next_at - held.at).total_seconds()
    assert given <= late < given + 5


def test_what_waits_for_a_disabled_endpoint_goes_on_when_it_is_enabled(database):
    """Nothing is lost, and nothing is sent in between."""
    to = endpoint(database)
    a_message(database, to)
    for enabled, claims in ((False, 0), (True, 1)):
        with database.write() as session:
            row = endpoints.find(session, to.tenant_id, to.id)
            endpoints.change(session, row, url=None, events=None, description=None, enabled=enabled)
        assert len(claim(database)) == claims


def test_the_outcome_for_an_endpoint_that_is_gone_is_nobody_s(database):
    """It was removed while something was sent to it."""
    to = endpoint(database)
    a_message(database, to)
    [held] = claim(database)
    with database.write() as session:
        endpoints.remove(session, to.tenant_id, to.id)
    record(database, held, FINE)
    assert count(database, WebhookAttempt) == count(database, WebhookDelivery) == 0


def test_messages_and_rotated_secrets_are_not_kept_for_ever(database, tmp_path):
    """Messages go thirty days after they were made with all that became of them, secrets when they no longer sign."""
    to = endpoint(database)
    a_message(database, to)
    record(database, claim(database)[0], FINE)
    with database.write() as session:
        endpoints.rotate_secret(session, endpoints.find(session, to.tenant_id, to.id), MADE["key"])
    old = a_message(database, to)
    for days, left in ((29, 2), (31, 1)):
        with database.write() as session:
            earlier = clock(session) - timedelta(days=days)
            first = select(WebhookDelivery.message_id).where(WebhookDelivery.id != old)
            session.execute(update(WebhookMessage).where(WebhookMessage.id.in_(first)).values(created_at=earlier))
            if days == 31:
                session.execute(update(WebhookEndpoint).values(previous_secret_until=earlier))
        housekeeping.sweep(database, Artifacts(tmp_path / "artifacts"), RegistrySettings())
        assert count(database, WebhookMessage) == count(database, WebhookDelivery) == left
        with database.read() as session:
            row = session.get_one(WebhookEndpoint, to.id)
        assert (row.previous_secret is None) == (days == 31)
    assert count(database, WebhookAttempt) == 0


def test_what_a_sender_holds_shows_no_secret(database):
    """Were it ever printed."""
    to = endpoint(database)
    a_message(database, to)
    [held] = claim(database)
    assert repr(held.secrets[0]) not in repr(held)
    assert to.url not in repr(held)
