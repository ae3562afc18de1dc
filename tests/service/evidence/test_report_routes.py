"""Yearly figures, and the records that they are counted from once these are removed."""

import json
import uuid
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import func, select, update

from service.registry.audit import audit_log, verification
from service.registry.evidence import certificates
from service.registry.operations import retention
from service.registry.tables import Certificate, DeletionRequest, Job, SubjectIdentity, Suppression, Transition, Version
from tests.service.given import problem, row
from tests.service.given_certificates import ended
from tests.service.given_jobs import Jobs
from tests.service.registry.given_reasons import A_TEST_FELL


def happened(database, request, received, days=None, regulation="ccpa"):
    """Have a request come at another time, and end so many days later."""
    changed = {"received_at": received, "due_at": received + timedelta(days=45), "regulation": regulation}
    if days is not None:
        changed["ended_at"] = received + timedelta(days=days)
    with database.write() as session:
        session.execute(update(DeletionRequest).where(DeletionRequest.id == uuid.UUID(request["id"])).values(**changed))


def test_a_year_is_counted_as_the_regulation_asks(client, database):
    """Received, complied with, denied; median and mean days of these; what is left, and what is late."""
    client.post("/v1/models", json={"name": "careful", "approval_required": True})
    client.version("careful")
    client.model_with_version()
    march = datetime(2025, 3, 1, tzinfo=UTC)
    for days in (1, 2, 9):
        happened(database, ended(client, database), march, days)
    declined = client.deletion_request(model="careful").json()
    client.signs_in(database)
    client.post(f"{declined['links']['self']}/reject", json={"reason": "not theirs"})
    happened(database, declined, march, 60)
    withdrawn = client.deletion_request().json()
    client.post(withdrawn["links"]["cancel"])
    happened(database, withdrawn, march, 1)
    happened(database, ended(client, database, A_TEST_FELL), march, 1)  # which needs review, and is late
    happened(database, client.deletion_request().json(), datetime(2025, 12, 31, 23, 59, tzinfo=UTC))
    happened(database, client.deletion_request().json(), datetime(2026, 1, 1, tzinfo=UTC))
    happened(database, client.deletion_request().json(), march, regulation="gdpr")

    figures = client.get("/v1/reports/ccpa", params={"year": 2025}).json()
    late = figures.pop("late")
    assert figures == {
        "regulation": "ccpa",
        "year": 2025,
        "received": 7,
        "complied": 3,
        "denied": 1,
        "withdrawn": 1,
        "open": 2,
        "median_days": 5.5,
        "mean_days": 18.0,
    }
    assert late == 3  # declined after 60 days, and the open ones
    assert client.get("/v1/reports/gdpr", params={"year": 2025}).json()["received"] == 1
    assert client.get("/v1/reports/lgpd", params={"year": 2025}).json()["median_days"] is None
    client.signs_in(database, tenant="another")
    assert client.get("/v1/reports/ccpa", params={"year": 2025}).json()["received"] == 0
    problem(client.get("/v1/reports/ccpa", params={"year": 1}), 422, "invalid-input", "#/year")


def of_jane_in_two_models(client, photograph, regulation):
    """What a controller sends by OpenDSR about somebody whom two models have learned from."""
    for name in ("pets", "zoo"):
        client.model_with_version(name)
        client.manifest(row(name, uri=photograph(f"{name}.png")), version=f"{name}/versions/1")
    return {
        "regulation": regulation,
        "subject_request_id": str(uuid.uuid4()),
        "subject_request_type": "erasure",
        "submitted_time": "2026-10-02T15:00:00Z",
        "subject_identities": [
            {"identity_type": "controller_customer_id", "identity_value": "jane", "identity_format": "raw"}
        ],
    }


def test_a_person_who_is_in_two_models_has_made_one_request(client, database, photograph):
    """OpenDSR spreads it over both; it is complied with when both are done."""
    asked = of_jane_in_two_models(client, photograph, "ccpa")
    assert client.post("/v2/requests", json=asked).status_code == 201
    year = {"year": datetime.now(UTC).year}
    by_hand = Jobs(database)
    by_hand.publish(by_hand.claim())
    figures = client.get("/v1/reports/ccpa", params=year).json()
    assert [figures[name] for name in ("received", "complied", "open")] == [1, 0, 1]
    by_hand.publish(by_hand.claim())
    figures = client.get("/v1/reports/ccpa", params=year).json()
    assert [figures[name] for name in ("received", "complied", "open")] == [1, 1, 0]


def count(database, table):
    with database.read() as session:
        return session.scalar(select(func.count()).select_from(table))


@pytest.fixture
def old(client, database, settings, photograph):
    """The records of a person's request that ended 25 months ago, and was certified."""
    client.model_with_version()
    client.manifest(row("1", uri=photograph("1.png")))
    asked = client.forget(subject_id="jane").json()
    by_hand = Jobs(database)
    by_hand.publish(by_hand.claim())
    certificates.issue_pending(database, settings)
    happened(database, asked, datetime.now(UTC) - timedelta(days=760), 1)
    with database.write() as session:
        session.execute(update(DeletionRequest).values(samples=None, samples_key=None))
        audit_log.chain(session, session.scalars(select(DeletionRequest.tenant_id)).one())
    return asked


def test_records_are_removed_after_the_time_that_the_policy_says(client, database, settings, old):
    """Who asked, what for, why, and the certificate are gone; the request is no longer found."""
    retention.remove_old_records(database, settings)
    problem(client.get(old["links"]["self"]), 404, "not-found")
    problem(client.get(f"{old['links']['self']}/certificate"), 404, "not-found")
    assert client.get("/v1/deletion-requests").json()["items"] == []
    assert (count(database, Certificate), count(database, Transition)) == (0, 0)
    with database.read() as session:
        left = session.scalars(select(DeletionRequest)).one()
    assert (left.submitted_by, left.samples_hmac, left.reason, left.metrics) == ("", "", None, None)
    assert left.record_removed_at is not None


def test_what_others_hang_on_stays_when_a_record_is_removed(client, database, settings, old):
    """The version and its run, which versions still know the person, whom nobody shall train on, and the figures."""
    year = {"year": (datetime.now(UTC) - timedelta(days=760)).year}
    reach = client.post("/v1/subjects/reach", json={"subject_id": "jane"}).json()
    before = client.get("/v1/reports/ccpa", params=year).json()
    assert before["complied"] == 1
    retention.remove_old_records(database, settings)
    assert [count(database, table) for table in (Version, Job, Suppression)] == [2, 1, 2]
    assert client.post("/v1/subjects/reach", json={"subject_id": "jane"}).json() == reach
    assert client.get("/v1/reports/ccpa", params=year).json() == before
    certificates.issue_pending(database, settings)
    assert count(database, Certificate) == 0


def test_the_audit_log_stays_whole_when_a_record_is_removed(client, database, settings, old):
    """It holds that the request was made, ended and removed; what is not in it yet is not removed."""
    with database.write() as session:
        session.execute(update(Transition).where(Transition.after == "completed").values(chained=False))
    retention.remove_old_records(database, settings)
    assert client.get(old["links"]["self"]).status_code == 200
    with database.write() as session:
        session.execute(update(Transition).values(chained=True))
    retention.remove_old_records(database, settings)
    with database.write() as session:
        tenant_id = session.scalars(select(DeletionRequest.tenant_id)).one()
        audit_log.chain(session, tenant_id)
        head = verification.verify_all(session, tenant_id, {})
        entries = audit_log.entries(session, tenant_id, 1, head.height, about=uuid.UUID(old["id"]))
    events = [json.loads(link.entry)["event"] for link in entries]
    assert events.count("deletion_request.moved") == 4
    assert events[-1] == "deletion_request.record_removed"


@pytest.mark.parametrize("kept", [timedelta(days=800), timedelta(0)])
def test_records_stay_for_as_long_as_the_policy_says(client, database, settings, old, kept):
    """Zero is for ever; and nothing that has not ended is ever old."""
    waiting = client.deletion_request().json()
    happened(database, waiting, datetime(2020, 1, 1, tzinfo=UTC))
    retention.remove_old_records(database, settings.model_copy(update={"record_retention": kept}))
    assert client.get(old["links"]["self"]).status_code == 200
    assert client.get(waiting["links"]["self"]).status_code == 200
    assert count(database, Certificate) == 1


def test_whom_a_controller_named_is_forgotten_with_the_last_record(client, database, settings, photograph):
    """Of an OpenDSR request that was spread over two models."""
    asked = of_jane_in_two_models(client, photograph, "gdpr")
    client.post("/v2/requests", json=asked)
    with database.read() as session:
        first, last = session.scalars(select(DeletionRequest.id)).all()
    for request_id, left in ((first, 1), (last, 0)):
        with database.write() as session:
            retention.remove(session, request_id)
        assert count(database, SubjectIdentity) == left
