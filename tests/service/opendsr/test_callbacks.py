"""Status callbacks of OpenDSR, to real servers that receive them."""

import base64
import json
import os
import stat
import uuid
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID
from fastapi.testclient import TestClient
from pydantic import ValidationError
from sqlalchemy import func, select, update

from service.app import create_app
from service.opendsr.processor import Processor
from service.registry.deletion_requests import subject_requests
from service.registry.tables import WebhookDelivery, WebhookEndpoint, WebhookMessage
from service.settings import ServiceSettings
from tests.service.cli.scripted_server import Answer, script, scripted
from tests.service.given import row, running, wait_for
from tests.service.given_jobs import Jobs


@pytest.fixture
def jobs(database):
    return Jobs(database)


@pytest.fixture
def service(settings, client, photograph):
    """May call this machine; one of its models has learned from jane."""
    client.model_with_version()
    client.manifest(row("a", uri=photograph("a.png")))
    with running(settings, client) as service:
        yield service


def ask(service, *urls, subject="jane"):
    person = {"identity_type": "controller_customer_id", "identity_value": subject, "identity_format": "raw"}
    answer = service.post(
        "/v2/requests",
        json={
            "regulation": "gdpr",
            "subject_request_id": str(uuid.uuid4()),
            "subject_request_type": "erasure",
            "submitted_time": "2026-10-02T15:00:00Z",
            "subject_identities": [person],
            "status_callback_urls": urls,
        },
    )
    assert answer.status_code == 201, answer.text
    return answer.json()


def test_every_change_is_told_to_every_url_and_signed(service, jobs):
    """In order, with the body of section 8.6, verified by the published certificate; nothing else is sent there."""
    with scripted(script(Answer(b"", 202))) as (url, seen), scripted(script(Answer(b""))) as (other, seen_there):
        receipt = ask(service, url + "/in?token=x", other)
        jobs.publish(jobs.claim())
        wait_for(lambda: len(seen) == len(seen_there) == 2)
    certificate = x509.load_pem_x509_certificate(service.get("/cert.pem").content)
    for call in seen + seen_there:
        for name in ("OpenDSR", "OpenGDPR"):
            assert call.headers[f"X-{name}-Processor-Domain"] == "localhost"
            signature = base64.b64decode(call.headers[f"X-{name}-Signature"])
            certificate.public_key().verify(signature, call.body, PKCS1v15(), SHA256())
        assert not [header for header in call.headers if header.lower().startswith("webhook-")]
    assert [json.loads(call.body)["request_status"] for call in seen] == ["in_progress", "completed"]
    assert (seen[1].method, seen[1].path) == ("POST", "/in?token=x")
    assert json.loads(seen[1].body) == {
        "controller_id": "acme",
        "expected_completion_time": receipt["expected_completion_time"],
        "status_callback_url": url + "/in?token=x",
        "subject_request_id": receipt["subject_request_id"],
        "request_status": "completed",
        "extensions": {"localhost": {"outcome": "completed"}},
    }


def test_ends_without_a_run_are_told_too(service):
    """Nobody we know is completed, what is withdrawn is cancelled; neither was ever in progress."""
    with scripted(script(Answer(b""))) as (url, seen):
        ask(service, url, subject="nobody")
        wait_for(lambda: seen)
        withdrawn = ask(service, url)
        assert service.delete(f"/v2/requests/{withdrawn['subject_request_id']}").status_code == 202
        wait_for(lambda: len(seen) == 2)
    told = [json.loads(call.body) for call in seen]
    assert [(body["request_status"], *body["extensions"]["localhost"].values()) for body in told] == [
        ("completed", "nothing_to_do"),
        ("cancelled", "cancelled"),
    ]


def test_a_callback_that_fails_is_sent_again(service, database):
    """By the same outbox as webhooks, with the same body and signature."""
    with scripted(script(Answer(b"", 500), Answer(b""))) as (url, seen):
        ask(service, url, subject="nobody")
        wait_for(lambda: len(seen) == 1)

        def tried():
            past = datetime.now(UTC) - timedelta(seconds=9)
            with database.write() as session:
                waiting = update(WebhookDelivery).where(WebhookDelivery.tries == 1)
                return session.execute(waiting.values(next_at=past)).rowcount

        wait_for(tried)
        wait_for(lambda: len(seen) == 2)
    assert seen[0].body == seen[1].body
    assert seen[0].headers["X-OpenDSR-Signature"] == seen[1].headers["X-OpenDSR-Signature"]


def test_a_callback_that_is_given_up_is_in_the_status(service):
    """Here at once: the other side says that it is gone for good."""
    with scripted(script(Answer(b"", 410))) as (url, _):
        receipt = ask(service, url, subject="nobody")
        here = f"/v2/requests/{receipt['subject_request_id']}"
        wait_for(lambda: service.get(here).json()["extensions"]["localhost"]["failed_callbacks"] == 1)


def test_callbacks_are_no_webhooks_of_the_tenant(service, database, jobs):
    """Not listed, not counted, and told nothing of other requests."""
    with scripted(script(Answer(b""))) as (url, seen):
        ask(service, url, subject="nobody")
        wait_for(lambda: seen)
        assert service.get("/v1/webhooks").json()["items"] == []
        with database.read() as session:
            endpoint = session.scalars(select(WebhookEndpoint.id)).one()
        assert service.get(f"/v1/webhooks/{endpoint}").status_code == 404
        assert service.delete(f"/v1/webhooks/{endpoint}").status_code == 404
        service.deletion_request()
        with database.read() as session:
            assert session.scalar(select(func.count()).select_from(WebhookDelivery)) == 1


def test_callbacks_of_ended_requests_are_forgotten_with_their_messages(client, database):
    """And not before: somebody may want to know what became of them."""

    def left():
        with database.write() as session:
            subject_requests.delete_unneeded_callbacks(session)
            return session.scalar(select(func.count()).select_from(WebhookEndpoint))

    ask(client, "https://controller.example/", subject="nobody")
    assert left() == 1
    with database.write() as session:
        session.execute(WebhookMessage.__table__.delete())
    assert left() == 0


def pem(key):
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def certificate(key, host):
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "x")])
    now = datetime.now(UTC)
    built = x509.CertificateBuilder(name, name, key.public_key(), 1, now, now + timedelta(days=1))
    if host:
        built = built.add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=False)
    return built.sign(key, SHA256()).public_bytes(Encoding.PEM)


def test_a_key_of_our_own_is_made_once_and_nobody_else_may_read_it(tmp_path):
    """All processes of a data folder sign with it."""
    first = Processor(ServiceSettings(data_dir=tmp_path))
    second = Processor(ServiceSettings(data_dir=tmp_path))
    assert first.certificate == second.certificate
    assert b"PRIVATE" not in first.certificate
    assert first.headers(b"x") == second.headers(b"x") != first.headers(b"y")
    [file] = (tmp_path / "opendsr").iterdir()
    assert [stat.S_IMODE(path.stat().st_mode) for path in (file, file.parent)] == [0o600, 0o700]


def test_the_operators_key_signs(tmp_path):
    """With a certificate for the host, or for all hosts of its domain."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    (tmp_path / "key.pem").write_bytes(pem(key))
    for host in ("dsr.example.com", "*.example.com"):
        (tmp_path / "certificate.pem").write_bytes(certificate(key, host))
        settings = ServiceSettings(
            data_dir=tmp_path,
            opendsr_url="https://dsr.example.com",
            opendsr_key=tmp_path / "key.pem",
            opendsr_certificate=tmp_path / "certificate.pem",
        )
        headers = Processor(settings).headers(b"body")
        key.public_key().verify(base64.b64decode(headers["X-OpenDSR-Signature"]), b"body", PKCS1v15(), SHA256())
    assert not (tmp_path / "opendsr").exists()


@pytest.mark.parametrize("wrong", ["another host", "no host", "another key", "no RSA key"])
def test_a_key_that_does_not_fit_stops_the_start(tmp_path, wrong):
    """Better than answers that nobody can verify."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    other = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    elliptic = ec.generate_private_key(ec.SECP256R1())
    host = {"another host": "example.com", "no host": None}.get(wrong, "dsr.example.com")
    signing = {"another key": other, "no RSA key": elliptic}.get(wrong, key)
    (tmp_path / "key.pem").write_bytes(pem(signing))
    (tmp_path / "certificate.pem").write_bytes(certificate(elliptic if signing is elliptic else key, host))
    settings = ServiceSettings(
        data_dir=tmp_path,
        opendsr_url="https://dsr.example.com",
        opendsr_key=tmp_path / "key.pem",
        opendsr_certificate=tmp_path / "certificate.pem",
    )
    with pytest.raises(ValueError, match="opendsr_"), TestClient(create_app(settings)):
        pass


@pytest.mark.parametrize(
    "wrong",
    [
        {"opendsr_key": "key.pem"},
        {"opendsr_url": "dsr.example.com"},
        {"opendsr_url": "https://dsr.example.com/v2"},
        {"opendsr_url": "ftp://dsr.example.com"},
        {"opendsr_identities": ""},
        {"opendsr_identities": "email"},
        {"opendsr_identities": "email:rot13"},
    ],
)
def test_settings_that_cannot_work_stop_the_start(wrong):
    """And `os.environ` is where they come from."""
    with pytest.raises(ValidationError):
        ServiceSettings(**wrong)


def test_identities_are_listed_with_commas(monkeypatch):
    """In the environment."""
    monkeypatch.setitem(os.environ, "STRUCTGUARD_OPENDSR_IDENTITIES", "email:sha256, controller_customer_id:raw")
    assert ServiceSettings().opendsr_identities == {"email:sha256", "controller_customer_id:raw"}
