import json
from datetime import timedelta

import pytest
from fastapi.testclient import TestClient
from pydantic import SecretStr
from sqlalchemy import delete, select

from service.app import create_app
from service.registry.audit import audit_log, checkpoints, verification
from service.registry.crypto import signing_keys
from service.registry.tables import AuditEntry, AuditHead, AuditVerification, Tenant
from tests.service.given import wait_for


@pytest.fixture
def tenant_id(client, database):
    with database.read() as session:
        return session.scalars(select(Tenant.id)).one()


def said(database, tenant_id):
    with database.read() as session:
        height = audit_log.head(session, tenant_id).height
        return [json.loads(link.entry) for link in audit_log.entries(session, tenant_id, 1, height)]


def test_what_happens_is_chained_signed_and_verified(client, settings, database, tenant_id, monkeypatch):
    """By a thread of the service, for all that is written, and with who did it."""
    monkeypatch.setattr(verification, "INTERVAL", timedelta(0))  # the log may grow after the first look
    me = client.http.get("/v1/api-keys").json()["items"][0]["id"]
    client.model_with_version()
    request = client.deletion_request().json()
    client.post(request["links"]["cancel"])
    client.http.get("/v1/models/pets/versions/1/checkpoint").raise_for_status()
    with TestClient(create_app(settings.model_copy(update={"audit_interval": timedelta(seconds=0.05)}))):
        wait_for(lambda: "deletion_request.images_destroyed" in [one["event"] for one in said(database, tenant_id)])

        def verified():
            with database.read() as session:
                row = verification.find(session, tenant_id)
                return row and row.full_at and row.height == audit_log.head(session, tenant_id).height

        wait_for(verified)
    entries = said(database, tenant_id)
    assert [one["event"] for one in entries] == [
        "api_key.created",
        "model.registered",
        "version.registered",
        *["deletion_request.moved"] * 3,
        "deletion_request.withdrawn",
        "checkpoint.downloaded",
        "deletion_request.images_destroyed",
    ]
    assert [one["by"] for one in entries] == ["service", *[f"key:{me}"] * 3, None, None, *[f"key:{me}"] * 2, "service"]
    with database.read() as session:
        checkpoint = checkpoints.latest(session, tenant_id)
    keys = {key.key_id: key for key in signing_keys.public_keys(settings)}
    checkpoints.verify(checkpoint, keys[checkpoint.key_id])


@pytest.fixture
def log(database, tenant_id):
    """A log of twelve entries."""
    with database.write() as session:
        for at in range(11):
            audit_log.append(session, tenant_id, "api_key.created", number=at)
        audit_log.chain(session, tenant_id)


def test_a_log_is_verified_in_parts_and_then_again_from_the_beginning(database, settings, tenant_id, log, monkeypatch):
    monkeypatch.setattr(verification, "SLICE", 5)
    seen = []
    for _ in range(7):
        verify(database, settings)
        row = found(database, tenant_id)
        seen.append((row.height, row.again_from))
    assert seen == [(5, 0), (10, 5), (12, 10), *[(12, None)] * 4]
    assert row.full_at is not None


def test_a_second_look_ends_although_the_log_grows_between_any_two(database, settings, tenant_id, log, monkeypatch):
    monkeypatch.setattr(verification, "SLICE", 5)
    for _ in range(5):
        with database.write() as session:
            audit_log.append(session, tenant_id, "api_key.created")
            audit_log.chain(session, tenant_id)
        verify(database, settings)
    assert found(database, tenant_id).full_at is not None


def test_a_break_in_what_was_verified_is_found_when_all_is_looked_at_again(database, settings, tenant_id, log, caplog):
    """It is told once, and stays known until all of the log was found to be whole; the log remembers both."""
    for _ in range(2):
        verify(database, settings)
    assert (found(database, tenant_id).height, found(database, tenant_id).broken) == (12, None)
    harm(database, tenant_id, "api_key.created", "api_key.revoked")
    verify(database, settings)
    assert found(database, tenant_id).broken is None  # its turn comes once a day
    a_day_passes(database)
    for _ in range(4):
        verify(database, settings)
    row = found(database, tenant_id)
    assert (row.broken_height, row.broken) == (7, "the entry is not as it was written")
    assert caplog.text.count(f"the audit log of tenant {tenant_id} is broken at height 7") == 1
    with database.read() as session:
        assert verification.last_verification(session).broken == 1
    harm(database, tenant_id, "api_key.revoked", "api_key.created")
    for _ in range(4):
        verify(database, settings)
    with database.write() as session:
        audit_log.chain(session, tenant_id)
        seen = verification.last_verification(session)
    assert (seen.logs, seen.broken, seen.height, seen.verified_height) == (1, 0, 14, 12)
    assert seen.oldest_at is not None
    events = [(one["event"], one["facts"]["height"]) for one in said(database, tenant_id)[-2:]]
    assert events == [("audit_log.broken", 7), ("audit_log.whole_again", 12)]


def test_a_log_that_is_shortened_and_has_lost_its_head_is_broken(database, settings, tenant_id, log):
    """Somebody was there to see how long it was."""
    verify(database, settings)
    with database.write() as session:
        session.execute(delete(AuditHead))
        session.execute(delete(AuditEntry))
    verify(database, settings)
    assert found(database, tenant_id).broken == "the end of the log is missing"


def test_the_auditor_outlives_a_database_that_is_away(tmp_path, settings, caplog):
    """It is logged, and tried again."""
    url = SecretStr(f"sqlite:///{tmp_path}/missing/registry.sqlite")
    changed = settings.model_copy(update={"audit_interval": timedelta(seconds=0.05), "database_url": url})
    with TestClient(create_app(changed)):
        wait_for(lambda: caplog.text.count("the auditor could not finish its turn") >= 6)


def verify(database, settings):
    """As the auditor does a minute later."""
    with database.write() as session:
        for row in session.scalars(select(AuditVerification)):
            row.at -= 2 * verification.INTERVAL
    verification.verify_due(database, signing_keys.public_keys(settings))


def a_day_passes(database):
    with database.write() as session:
        for row in session.scalars(select(AuditVerification)):
            row.full_at -= 2 * verification.FULL_INTERVAL


def found(database, tenant_id):
    with database.read() as session:
        return verification.find(session, tenant_id)


def harm(database, tenant_id, old, new):
    with database.write() as session:
        row = session.get_one(AuditEntry, (tenant_id, 7))
        row.entry = row.entry.replace(old, new)
