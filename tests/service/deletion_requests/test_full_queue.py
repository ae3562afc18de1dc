"""A tenant's queue is as long as it may be: no more requests, and everything else goes on."""

import pytest
from sqlalchemy import update

from service.registry.access.scopes import Scope
from service.registry.tables import Model
from tests.service.given import UNKNOWN, images, key, png, problem, row, running
from tests.service.given_jobs import Jobs


@pytest.fixture
def short(client, settings):
    """Another process of the service, where two requests may wait."""
    client.model_with_version()
    with running(settings, client, max_queued_requests=2) as short:
        yield short


def full(answer):
    problem(answer, 429, "queue-full")
    assert answer.headers["retry-after"] == "60"


def test_no_more_than_may_wait_are_accepted(short, kept):
    """The next one is refused with nothing kept; room is there again when one is withdrawn."""
    first, second = (short.deletion_request(png(shade), labels=[0]) for shade in (1, 2))
    assert (first.status_code, second.status_code) == (202, 202)
    before = kept()
    full(short.deletion_request())
    full(short.forget(subject_id="jane"))
    assert kept() == before

    assert short.post(f"{first.headers['location']}/cancel").status_code == 202
    assert short.deletion_request().status_code == 202
    full(short.deletion_request())


def test_the_key_of_a_refused_request_is_free(short):
    """It may be sent again with it; and one that was accepted gets its answer however many wait."""
    headers = {"Idempotency-Key": "k"}
    send = {"data": {"metadata": '{"model": "pets", "labels": [0]}'}, "files": images(png())}
    accepted = [short.deletion_request() for _ in range(2)]
    full(short.post("/v1/deletion-requests", headers=headers, **send))
    short.post(f"{accepted[0].headers['location']}/cancel")
    first = short.post("/v1/deletion-requests", headers=headers, **send)
    again = short.post("/v1/deletion-requests", headers=headers, **send)
    assert (first.status_code, again.status_code, again.content) == (202, 202, first.content)


def test_what_waits_for_approval_waits(short, database):
    """It will be queued, without asking for room."""
    with database.write() as session:
        session.execute(update(Model).values(approval_required=True))
    accepted = [short.deletion_request() for _ in range(2)]
    full(short.deletion_request())
    headers = {"Authorization": f"Bearer {key(database, Scope.REQUESTS_APPROVE)}"}
    assert short.post(f"{accepted[0].headers['location']}/approve", headers=headers).status_code == 202
    full(short.deletion_request())


def test_what_does_not_wait_does_not_count(short, database):
    """Neither what runs nor what has ended; a failed one is queued again, however many wait."""
    jobs = Jobs(database)
    failed = short.deletion_request()
    jobs.fail(jobs.claim())
    assert [short.deletion_request().status_code for _ in range(2)] == [202, 202]
    jobs.claim()
    assert short.deletion_request().status_code == 202
    full(short.deletion_request())
    assert short.post(f"{failed.headers['location']}/retry").status_code == 202


def test_each_tenant_has_a_queue_of_its_own(short, database):
    """A full one holds up nobody else."""
    assert [short.deletion_request().status_code for _ in range(2)] == [202, 202]
    full(short.deletion_request())
    short.signs_in(database, tenant="globex")
    short.model_with_version()
    assert short.deletion_request().status_code == 202


def test_a_person_to_erase_waits_outside_too(short, photograph, kept):
    """OpenDSR has the same limit, in its own words; what needs no run, and what was accepted before, is not held up."""
    body = {
        "regulation": "gdpr",
        "subject_request_id": UNKNOWN,
        "subject_request_type": "erasure",
        "submitted_time": "2026-10-02T15:00:00Z",
        "subject_identities": [
            {"identity_type": "controller_customer_id", "identity_value": "jane", "identity_format": "raw"}
        ],
    }
    other = UNKNOWN.replace("6f1c", "6f1d")
    short.manifest(row("a", uri=photograph("a.png")))
    assert short.post("/v2/requests", json=body).status_code == 201
    assert short.deletion_request().status_code == 202
    before = kept()
    answer = short.post("/v2/requests", json=body | {"subject_request_id": other})
    assert (answer.status_code, answer.headers["retry-after"]) == (429, "60")
    assert answer.json()["error"]["code"] == 429
    assert kept() == before

    assert short.post("/v2/requests", json=body).status_code == 201
    stranger = body["subject_identities"][0] | {"identity_value": "nobody"}
    nothing = body | {"subject_request_id": other, "subject_identities": [stranger]}
    assert short.post("/v2/requests", json=nothing).status_code == 201


def test_a_queue_may_have_no_limit(client, settings):
    """Zero means any number."""
    client.model_with_version()
    with running(settings, client, max_queued_requests=0) as service:
        assert [service.deletion_request().status_code for _ in range(3)] == [202] * 3
