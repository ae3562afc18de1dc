"""OpenDSR 2.0: a controller asks to erase a person, follows that, and takes it back."""

import base64
import hashlib
import json
import logging
import uuid
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.hashes import SHA256
from fastapi.testclient import TestClient
from sqlalchemy import func, select, update

from service.app import create_app
from service.registry.access.scopes import Scope
from service.registry.tables import Base, DeletionRequest, Model, SubjectRequest
from tests.service.given import UNKNOWN, problem, row, running
from tests.service.given_jobs import Jobs
from tests.service.registry.given_reasons import A_TEST_FELL

SHA = hashlib.sha256(b"erika@example.com").hexdigest()


@pytest.fixture
def jobs(database):
    return Jobs(database)


def person(value="jane", kind="controller_customer_id", form="raw"):
    return {"identity_type": kind, "identity_value": value, "identity_format": form}


def asking(*people, **more):
    return {
        "regulation": "gdpr",
        "subject_request_id": str(uuid.uuid4()),
        "subject_request_type": "erasure",
        "submitted_time": "2026-10-02T15:00:00Z",
        "subject_identities": list(people or [person()]),
        "api_version": "2.0",
    } | more


def ask(client, *people, path="/v2/requests", **more):
    return client.post(path, json=asking(*people, **more))


def verified(client, answer):
    """The answer's document, if its signatures hold for the certificate that is published."""
    certificate = x509.load_pem_x509_certificate(client.get("/v2/cert.pem").content)
    for name in ("OpenDSR", "OpenGDPR"):
        assert answer.headers[f"X-{name}-Processor-Domain"] == "localhost"
        signature = base64.b64decode(answer.headers[f"X-{name}-Signature"], validate=True)
        certificate.public_key().verify(signature, answer.content, PKCS1v15(), SHA256())
    assert answer.headers["cache-control"] == "no-store"
    return answer.json()


def refused(answer, status, kind, *pointers):
    """Check that the answer is this error, in the words of section 7.6; its messages."""
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/json"), answer.text
    error = answer.json()["error"]
    assert error["code"] == status
    assert [(each["domain"], each["reason"]) for each in error["errors"]] == [(kind, at) for at in pointers]
    return [error["message"], *(each["message"] for each in error["errors"])]


def status(client, answer):
    return verified(client, client.get(f"/v2/requests/{answer.json()['subject_request_id']}"))


def ours(document):
    return document["extensions"]["localhost"]


def times(receipt):
    names = ("received_time", "expected_completion_time")
    return [datetime.strptime(receipt[name], "%Y-%m-%dT%H:%M:%S%z") for name in names]


@pytest.fixture
def known(client, photograph):
    """Two models that have learned from jane, and one that has not."""
    for name, subject in (("pets", "jane"), ("cars", "jane"), ("toys", "otto")):
        client.model_with_version(name)
        client.manifest(row("a", subject=subject, uri=photograph(f"{name}.png", 3)), version=f"{name}/versions/1")


def test_a_person_is_erased_from_every_model_that_learned_from_them(client, jobs, known):
    """By ordinary deletion requests; the whole is completed when the last of them is."""
    answer = ask(client)
    assert answer.status_code == 201, answer.text
    receipt = verified(client, answer)
    assert client.get(answer.headers["location"]).json()["subject_request_id"] == receipt["subject_request_id"]
    assert receipt["controller_id"] == "acme"
    listed = client.get("/v1/deletion-requests").json()["items"]
    assert sorted(item["model"] for item in listed) == ["cars", "pets"]
    _, expected = times(receipt)
    for item in listed:  # each has read the clock for itself
        assert abs(datetime.fromisoformat(item["due_at"]) - expected) < timedelta(minutes=1)

    before = status(client, answer)
    assert before["request_status"] == "pending"
    assert [served["state"] for served in ours(before)["deletion_requests"]] == ["queued", "queued"]
    assert client.get(ours(before)["deletion_requests"][0]["href"]).json()["regulation"] == "gdpr"

    jobs.publish(jobs.claim())
    assert status(client, answer)["request_status"] == "in_progress"
    jobs.publish(jobs.claim())
    after = status(client, answer)
    assert (after["request_status"], ours(after)["outcome"]) == ("completed", "completed")
    assert ours(after)["needs_unlearning"] == 2  # the versions from before: nobody has taken them out of use


def test_a_receipt_repeats_the_body_and_times_are_of_rfc_3339(client):
    """Byte for byte, whatever spaces are in it."""
    body = json.dumps(asking(), indent=3).encode()
    answer = client.post("/v2/requests", content=body, headers={"content-type": "application/json"})
    receipt = verified(client, answer)
    assert base64.b64decode(receipt["encoded_request"]) == body
    received, expected = times(receipt)
    assert timedelta(days=28) <= expected - received <= timedelta(days=31)
    assert set(receipt) == {
        *("controller_id", "expected_completion_time", "received_time", "encoded_request", "subject_request_id"),
    }


def test_the_regulation_sets_the_deadline(client):
    """45 days for the CCPA, counted from receipt."""
    received, expected = times(ask(client, regulation="ccpa").json())
    assert expected - received == timedelta(days=45)


def test_nobody_we_know_is_completed_at_once(client, database, known):
    """With the outcome that says why. What only another tenant knows is the same."""
    client.signs_in(database, tenant="other")
    answer = ask(client)
    document = status(client, answer)
    assert (document["request_status"], ours(document)["outcome"]) == ("completed", "nothing_to_do")
    assert ours(document)["deletion_requests"] == []
    assert client.get("/v1/deletion-requests").json()["items"] == []


def test_nobody_sees_another_tenants_requests(client, database, known):
    """Neither reads nor cancels; the same identifier is free to use."""
    given = asking()
    assert client.post("/v2/requests", json=given).status_code == 201
    client.signs_in(database, tenant="other")
    here = f"/v2/requests/{given['subject_request_id']}"
    for answer in (client.get(here), client.delete(here), client.get(f"/v2/requests/{UNKNOWN}")):
        refused(answer, 404, "not-found")
    assert client.post("/v2/requests", json=given).status_code == 201


def test_the_same_body_again_is_the_same_request(client, kept, known):
    """Byte for byte the same answer, after it has run, too; another body under the identifier is refused."""
    given = asking()
    first = client.post("/v2/requests", json=given)
    rows = kept()
    again = client.post("/v2/requests", json=given)
    assert (again.status_code, again.content) == (201, first.content)
    assert again.headers["X-OpenDSR-Signature"] == first.headers["X-OpenDSR-Signature"]
    refused(client.post("/v2/requests", json=given | {"regulation": "ccpa"}), 409, "subject-request-reused")
    assert kept() == rows


def test_many_at_once_are_one(client, database, known):
    """Whoever is not the first gets the first one's answer."""
    given = asking()
    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(lambda _: client.post("/v2/requests", json=given), range(6)))
    assert {answer.status_code for answer in answers} == {201}
    assert len({answer.content for answer in answers}) == 1
    with database.read() as session:
        assert session.scalar(select(func.count()).select_from(SubjectRequest)) == 1
        assert session.scalar(select(func.count()).select_from(DeletionRequest)) == 2


def test_a_controller_may_mean_certain_models_only(client, known):
    """By our extension; those of other processors are none of our business."""
    extensions = {"localhost": {"models": ["pets", "toys"]}, "other.example": {"models": 7}}
    document = status(client, ask(client, extensions=extensions))
    assert [served["model"] for served in ours(document)["deletion_requests"]] == ["pets"]
    for wrong, pointer in (
        ({"models": ["pets", "cows"]}, "/models/1"),
        ({"models": []}, "/models"),
        ({"model": "pets"}, "/models"),
        ("pets", ""),
    ):
        answer = ask(client, extensions={"localhost": wrong})
        assert answer.json()["error"]["errors"][0]["reason"] == f"#/extensions/localhost{pointer}"


def test_all_identities_are_of_one_person(client, database, photograph, settings):
    """Records under either name are forgotten together; those of a kind that is not supported are ignored."""
    client.model_with_version()
    client.manifest(
        row("a", subject="jane", uri=photograph("a.png", 1)), row("b", subject=SHA, uri=photograph("b.png", 2))
    )
    kinds = frozenset({"controller_customer_id:raw", "email:sha256"})
    with running(settings, client, opendsr_identities=kinds) as service:
        assert len(service.get("/v2/discovery").json()["supported_identities"]) == 2
        answer = ask(service, person(), person(SHA.upper(), "email", "sha256"), person("x", "android_id"))
        document = status(service, answer)
    [served] = ours(document)["deletion_requests"]
    assert client.get(served["href"]).json()["sample_count"] == 2


def test_a_request_can_be_withdrawn_while_it_is_pending(client, jobs, known):
    """With all its deletion requests; again is the same. Once one of them runs, it is too late."""
    answer = ask(client)
    here = f"/v2/requests/{answer.json()['subject_request_id']}"
    withdrawn = client.delete(here)
    assert withdrawn.status_code == 202
    document = verified(client, withdrawn)
    assert set(document) == {"controller_id", "subject_request_id", "received_time", "api_version"}
    assert client.delete(here).content == withdrawn.content
    after = status(client, answer)
    assert (after["request_status"], ours(after)["outcome"]) == ("cancelled", "cancelled")
    assert {served["state"] for served in ours(after)["deletion_requests"]} == {"cancelled"}
    assert jobs.claim() is None

    late = ask(client)
    jobs.claim()
    refused(client.delete(f"/v2/requests/{late.json()['subject_request_id']}"), 409, "not-pending")
    assert [served["state"] for served in ours(status(client, late))["deletion_requests"]].count("queued") == 1
    done = ask(client, person("nobody"))
    refused(client.delete(f"/v2/requests/{done.json()['subject_request_id']}"), 409, "not-pending")


def test_what_went_wrong_is_never_completed(client, database, jobs, known):
    """A failure goes on, until somebody tries again; a declined one is cancelled, and says so."""
    only = {"extensions": {"localhost": {"models": ["pets"]}}}
    failing = ask(client, **only)
    jobs.fail(jobs.claim())
    document = status(client, failing)
    assert (document["request_status"], ours(document)["outcome"]) == ("in_progress", "failed")
    assert client.post(f"{ours(document)['deletion_requests'][0]['href']}/retry").status_code == 202
    document = status(client, failing)  # what has begun does not become pending again
    assert (document["request_status"], ours(document)["outcome"]) == ("in_progress", None)
    jobs.publish(jobs.claim(), A_TEST_FELL)
    document = status(client, failing)
    assert (document["request_status"], ours(document)["outcome"]) == ("cancelled", "needs_review")

    with database.write() as session:
        session.execute(update(Model).values(approval_required=True))
    waiting = ask(client, **only)
    document = status(client, waiting)
    assert (document["request_status"], ours(document)["deletion_requests"][0]["state"]) == (
        "pending",
        "awaiting_approval",
    )
    client.signs_in(database)
    client.post(f"{ours(document)['deletion_requests'][0]['href']}/reject", json={"reason": "not them"})
    document = status(client, waiting)
    assert (document["request_status"], ours(document)["outcome"]) == ("cancelled", "rejected")


@pytest.mark.parametrize(
    ("wrong", "pointer"),
    [
        ({"regulation": "lgpd"}, "#/regulation"),
        ({"regulation": None}, "#/regulation"),
        ({"subject_request_id": "7"}, "#/subject_request_id"),
        ({"subject_request_id": "A7551968-D5D6-44B2-9831-815AC9017798"}, "#/subject_request_id"),
        ({"subject_request_id": "a7551968-d5d6-14b2-9831-815ac9017798"}, "#/subject_request_id"),
        ({"subject_request_type": "access"}, "#/subject_request_type"),
        ({"subject_request_type": "portability"}, "#/subject_request_type"),
        ({"subject_request_type": "forget"}, "#/subject_request_type"),
        ({"submitted_time": "yesterday"}, "#/submitted_time"),
        ({"submitted_time": 1760000000}, "#/submitted_time"),
        ({"submitted_time": "2026-10-02T15:00:00"}, "#/submitted_time"),
        ({"subject_identities": []}, "#/subject_identities"),
        ({"subject_identities": [person("canary", "name")]}, "#/subject_identities/0/identity_type"),
        ({"subject_identities": [person("canary", form="rot13")]}, "#/subject_identities/0/identity_format"),
        ({"subject_identities": [person("canary", form="sha1")]}, "#/subject_identities/0"),
        ({"subject_identities": [person("canary", "email")]}, "#/subject_identities"),
        ({"subject_identities": [{"identity_value": "canary"}]}, "#/subject_identities/0/identity_type"),
        ({"api_version": "1.0"}, "#/api_version"),
        ({"status_callback_urls": ["https://10.0.0.1/canary"]}, "#/status_callback_urls/0"),
        ({"status_callback_urls": ["ftp://canary.example"]}, "#/status_callback_urls/0"),
        ({"status_callback_urls": ["https://a.example"] * 2}, "#/status_callback_urls"),
    ],
)
def test_bad_input_is_a_400_that_repeats_nothing(client, kept, wrong, pointer):
    """In the specification's own form; nothing is stored."""
    before = kept()
    answer = ask(client, **wrong)
    assert answer.json()["error"]["errors"][0]["reason"] == pointer
    assert (answer.status_code, answer.headers["cache-control"]) == (400, "no-store")
    assert "canary" not in answer.text
    assert kept() == before


SURROGATE = json.dumps(asking(person("surrogate"))).replace("surrogate", r"\ud800").encode()


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b"null", b'"erase"', b"\xff", b"[" * 100_000, SURROGATE], ids=range(8)
)
def test_what_is_no_request_is_a_400(client, body):
    """Whatever arrives."""
    answer = client.post("/v2/requests", content=body, headers={"content-type": "application/json"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, 400)


def test_an_image_that_cannot_be_fetched_leaves_nothing_behind(client, kept, known):
    """All deletion requests or none: the picture of one model is missing, that of the other is not stored."""
    client.model_with_version("birds")
    client.manifest(row("a", uri=f"s3://nowhere/{SHA}.png"), version="birds/versions/1")
    before = kept()
    refused(ask(client), 400, "invalid-input", "#/subject_identities/0")
    assert kept() == before


def test_errors_are_problems_for_whoever_asks_for_them(client):
    """The same facts, as everywhere else in the service."""
    wants = {"accept": "application/problem+json"}
    problem(
        client.post("/v2/requests", json={}, headers=wants),
        422,
        "invalid-input",
        *[
            f"#/{name}"
            for name in (
                "regulation",
                "subject_request_id",
                "subject_request_type",
                "submitted_time",
                "subject_identities",
            )
        ],
    )
    problem(client.get(f"/v2/requests/{UNKNOWN}", headers=wants), 404, "not-found")
    refused(client.put("/v2/requests"), 405, "method-not-allowed")
    refused(client.get("/v2/requests/nonsense"), 404, "not-found")


def test_scopes_hold(client, database):
    """Discovery and certificate are for everybody; the rest takes the scopes of deletion requests."""
    given = asking()
    here = f"/v2/requests/{given['subject_request_id']}"
    client.signs_in(database, Scope.REQUESTS_READ, Scope.REQUESTS_CANCEL)
    refused(client.post("/v2/requests", json=given), 403, "scope-missing")
    client.signs_in(database, Scope.REQUESTS_CREATE)
    assert client.post("/v2/requests", json=given).status_code == 201
    refused(client.get(here), 403, "scope-missing")
    refused(client.delete(here), 403, "scope-missing")
    del client.http.headers["Authorization"]
    answer = client.get(here)
    refused(answer, 401, "unauthenticated")
    assert "www-authenticate" in answer.headers
    for path in ("/discovery", "/v1/discovery", "/v2/discovery", "/cert.pem", "/v2/cert.pem"):
        assert client.get(path).status_code == 200


def test_discovery_says_what_there_is(client, settings):
    """And where the certificate is: under the address that was asked, or the one that is configured."""
    document = client.get("/v2/discovery").json()
    assert document == {
        "api_version": "2.0",
        "supported_identities": [{"identity_type": "controller_customer_id", "identity_format": "raw"}],
        "supported_subject_request_types": ["erasure"],
        "processor_certificate": "http://testserver/v2/cert.pem",
    }
    assert client.get("/v1/discovery").json() == document | {"api_version": "1.0"}
    with running(settings, client, opendsr_url="https://dsr.example.com") as service:
        assert service.get("/discovery").json()["processor_certificate"] == "https://dsr.example.com/v2/cert.pem"
        answer = ask(service)
        assert answer.headers["X-OpenDSR-Processor-Domain"] == "dsr.example.com"
        assert list(service.get(f"/requests/{answer.json()['subject_request_id']}").json()["extensions"]) == [
            "dsr.example.com"
        ]


@pytest.mark.parametrize("prefix", ["", "/v1"])
def test_the_routes_of_version_1_live_on(client, prefix, known):
    """Without a regulation, under their old names; either version reads what the other has created."""
    given = asking(api_version="1.0")
    del given["regulation"]
    answer = client.post(f"{prefix}/opengdpr_requests", json=given)
    assert answer.status_code == 201
    verified(client, answer)
    here = f"{prefix}/opengdpr_requests/{given['subject_request_id']}"
    assert verified(client, client.get(here))["api_version"] == "1.0"
    assert status(client, answer)["api_version"] == "2.0"
    assert client.get(f"/status/{given['subject_request_id']}").json() == status(client, answer)
    assert verified(client, client.delete(here))["api_version"] == "1.0"
    refused(client.post("/v2/requests", json=given), 400, "invalid-input", "#/regulation", "#/api_version")


def test_nobody_is_named_in_rows_or_in_the_log(client, database, settings, photograph, caplog):
    """A canary, looked for everywhere that the service writes to."""
    caplog.set_level(logging.DEBUG)
    canary = "canary-4711"
    client.model_with_version()
    client.manifest(row("a", subject=canary, uri=photograph("a.png")))
    given = asking(person(canary), status_callback_urls=["https://controller.example/in"])
    assert client.post("/v2/requests", json=given).status_code == 201
    assert client.post("/v2/requests", json=given | {"regulation": canary}).status_code == 400
    assert canary not in client.get(f"/v2/requests/{given['subject_request_id']}").text
    with database.read() as session:
        rows = [str(tuple(found)) for table in Base.metadata.sorted_tables for found in session.execute(table.select())]
    assert rows
    assert not [found for found in rows if canary in found]
    assert canary not in caplog.text
    files = [path for path in settings.data_dir.rglob("*") if path.is_file()]
    assert not [path for path in files if canary.encode() in path.read_bytes()]


def test_whoever_asked_before_anybody_knew_them_is_suppressed(client, photograph):
    """A manifest that is registered later says that it holds them."""
    assert ask(client).status_code == 201
    client.model_with_version()
    made = client.manifest(row("a"), row("b", subject="otto"))
    assert made.json()["suppressed_records"] == 1


def test_a_database_that_is_away_is_an_error_of_opendsr(client, tmp_path, settings):
    """Before anybody is signed in."""
    (tmp_path / "data").mkdir()
    away = {"data_dir": tmp_path / "data", "database_url": f"sqlite:///{tmp_path}/missing/registry.sqlite"}
    with TestClient(create_app(type(settings)(**away)), raise_server_exceptions=False) as http:
        answer = http.get(f"/requests/{UNKNOWN}", headers={"Authorization": "Bearer sg_0123456789ab_" + "0" * 64})
        refused(answer, 503, "unavailable")


def test_versions_beside_the_newest_ones_lineage_are_counted_and_not_run(client, photograph):
    """The newest version never learned from them, an earlier one did: it stays, and the answer says so."""
    client.model_with_version()
    client.manifest(row("a", uri=photograph("a.png")))
    client.version()
    document = status(client, ask(client))
    assert (document["request_status"], ours(document)["needs_unlearning"]) == ("completed", 1)
    assert ours(document)["deletion_requests"] == []
