"""Certificates: what they say, in which forms, and who may have them."""

import re
import threading
import uuid
import zlib
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import delete, func, select, update

from service.evidence.renderings.facts import Document, Table
from service.evidence.renderings.page import page
from service.evidence.renderings.pdf import pdf
from service.registry.access.scopes import Scope
from service.registry.crypto import dsse, signing_keys
from service.registry.crypto.canonical_json import leaves, sha256
from service.registry.crypto.pseudonyms import Pseudonyms
from service.registry.crypto.signing_keys import PublicKey
from service.registry.evidence import certificates
from service.registry.job_queue.batching import Batching
from service.registry.states import State
from service.registry.tables import Certificate, DeletionRequest, Tenant
from tests.service.given import UNKNOWN, png, problem, row, running, wait_for
from tests.service.given_certificates import MEASURED, POLICY, all_measured, ended, statement
from tests.service.given_jobs import Jobs
from tests.service.registry.given_reasons import A_TEST_FELL, COLLAPSED

PAGE, PDF = {"Accept": "text/html"}, {"Accept": "application/pdf"}

#: What nobody can promise, and no certificate may say.
PROMISES = re.compile(r"erased?|erasure|anonym\w*|complian\w*|\bcomplies\b", re.IGNORECASE)


def text_of(pdf):
    """The words of a PDF."""
    streams = re.findall(rb"stream\r?\n(.*?)endstream", pdf, re.DOTALL)
    # What follows a stream is ignored: its own last byte may be one of a line's end.
    drawn = b"".join(zlib.decompressobj().decompress(stream) for stream in streams if stream[:1] == b"x")
    parts = re.findall(rb"\(((?:[^()\\]|\\.)*)\)\s*Tj", drawn)
    return b" ".join(re.sub(rb"\\(.)", rb"\1", part) for part in parts).decode("latin-1")


@pytest.fixture
def request_(client, database):
    """A request that has passed the gate."""
    client.model_with_version()
    return ended(client, database)


def certificate(client, request, **more):
    answer = client.get(request["links"]["certificate"], **more)
    assert answer.status_code == 200, answer.text
    return answer


def test_it_states_what_was_measured_of_which_file(client, request_):
    """As an in-toto Statement: subject, parent, method, measurements, gate, and what nobody may conclude."""
    said = statement(certificate(client, request_).content)
    version = client.get(request_["links"]["version"]).json()
    assert said["_type"] == "https://in-toto.io/Statement/v1"
    assert said["subject"] == [{"name": "pets/2/model.safetensors", "digest": {"sha256": version["sha256"]}}]
    about = said["predicate"]
    assert about["request_ids"] == [request_["id"]]
    assert (about["regulation"], about["outcome"]) == ("gdpr", "completed")
    assert (about["received"], about["due"]) == (request_["received_at"], request_["due_at"])
    assert about["completed"] == request_["ended_at"]
    assert about["parent"]["name"] == "pets/1"
    assert about["measurements"] == MEASURED
    assert about["method"]["parameters_sha256"] == sha256(about["method"]["parameters"])
    assert (about["method"]["goal"], about["method"]["scope"]) == ("misclassify", "views")
    assert about["gate"] == {"result": "PASSED", "objections": [], "policy": POLICY, "policy_sha256": sha256(POLICY)}
    assert about["evaluation_sets"][0]["count"] == 397
    assert about["forget_set"]["count"] == 2
    assert len(about["statement_of_limits"]) > 5


def test_what_stands_for_the_images_is_shown_by_whoever_has_the_key(client, database, request_):
    """And two requests for the same images have different commitments."""
    first = statement(certificate(client, request_).content)["predicate"]["forget_set"]["commitment"]
    second = statement(certificate(client, ended(client, database)).content)["predicate"]["forget_set"]["commitment"]
    with database.read() as session:
        rows = session.scalars(select(DeletionRequest).order_by(DeletionRequest.received_at)).all()
        pseudonyms = Pseudonyms(session.scalars(select(Tenant.pseudonym_key)).one())
    assert rows[0].samples_hmac == rows[1].samples_hmac
    assert [first, second] == [f"hmac-sha256:{pseudonyms.commitment(one.id, one.samples_hmac)}" for one in rows]
    assert first != second
    assert rows[0].samples_hmac not in first


def test_one_that_needs_review_says_so(client, database):
    """The gate's objections stand in it, and in its limits that no alias moved."""
    client.model_with_version()
    request = ended(client, database, A_TEST_FELL)
    about = statement(certificate(client, request).content)["predicate"]
    assert (about["outcome"], about["gate"]["result"]) == ("needs_review", "FAILED")
    assert about["gate"]["objections"] == ["A_test fell by 9.00 points, 5 are allowed"]
    assert "did not pass" in about["statement_of_limits"][0]
    assert "A_test fell by 9.00 points, 5 are allowed" in certificate(client, request, headers=PAGE).text


def test_each_request_of_a_shared_run_has_its_own_with_its_own_accuracy(client, database):
    """All of them name the run, and how many it served."""
    client.model_with_version()
    accepted = [client.deletion_request(png(shade), png(shade + 1)).json() for shade in (1, 3)]
    by_hand = Jobs(database)
    claim = by_hand.claim(batching=Batching(images=10))
    own = [{"after": {"forget_accuracy": accuracy}} for accuracy in (100.0, 50.0)]
    of_each = {uuid.UUID(one["id"]): measured for one, measured in zip(accepted, own, strict=True)}
    by_hand.publish(claim, measured=MEASURED, own_metrics=of_each)
    said = [statement(certificate(client, client.get(one["links"]["self"]).json()).content) for one in accepted]
    assert [one["predicate"]["measurements"]["after"]["forget_accuracy"] for one in said] == [100.0, 50.0]
    assert [one["predicate"]["measurements"]["after"]["test_accuracy"] for one in said] == [98.9896] * 2
    assert [one["predicate"]["run"]["requests"] for one in said] == [2, 2]
    assert said[0]["predicate"]["request_ids"] != said[1]["predicate"]["request_ids"]


def test_it_is_issued_once_whoever_asks_and_never_changes(client, database, settings, request_):
    """Also if several ask at once, who each may be the first."""
    answers = []
    threads = [threading.Thread(target=lambda: answers.append(certificate(client, request_))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    certificates.issue_pending(database, settings)
    client.put("/v1/models/pets/aliases/production", json={"version": 2})  # what it says of aliases is of then
    answers.append(certificate(client, request_))
    assert len({answer.content for answer in answers}) == 1
    with database.read() as session:
        assert session.scalar(select(func.count()).select_from(Certificate)) == 1


def test_it_is_issued_without_anybody_asking(client, database, settings, request_):
    """By whichever process of the service sweeps next: a crash before that loses nothing."""
    with running(settings, client):
        wait_for(lambda: issued(database))
    assert len(issued(database)) == 1


def issued(database):
    with database.read() as session:
        return session.scalars(select(Certificate)).all()


def test_a_key_that_cannot_be_used_delays_it_and_nothing_else(client, database, settings, request_, tmp_path, caplog):
    """It is answered with 503, logged, and issued once the key is right."""
    broken = tmp_path / "broken.pem"
    broken.write_bytes(signing_keys._generate_pem())
    with running(settings, client, signing_key_file=broken, sweep_interval=timedelta(hours=1)) as http:
        wait_for(lambda: issued(database))
        with database.write() as session:  # and now one that is not certified yet
            session.execute(delete(Certificate))
            session.execute(update(DeletionRequest).values(certified_at=None))
        broken.write_text("no key")
        answer = http.get(request_["links"]["certificate"])
        problem(answer, 503, "unavailable")
        assert "STRUCTGUARD_SIGNING_KEY_FILE" in answer.json()["detail"]
    certificates.issue_pending(database, settings.model_copy(update={"signing_key_file": broken}))
    assert "is not certified" in caplog.text
    assert certificate(client, request_).status_code == 200


@pytest.mark.parametrize("how", ["queued", "failed", "unknown"])
def test_a_request_without_a_version_has_none(client, database, how):
    """Nor has one that does not exist."""
    client.model_with_version()
    request = client.deletion_request().json()
    if how == "failed":
        by_hand = Jobs(database)
        by_hand.fail(by_hand.claim())
    identifier = UNKNOWN if how == "unknown" else request["id"]
    problem(client.get(f"/v1/deletion-requests/{identifier}/certificate"), 404, "not-found")
    assert "certificate" not in client.get(request["links"]["self"]).json()["links"]


def test_it_is_for_those_who_may_read_evidence_and_of_the_tenant(client, database, request_):
    """Others get a 403 or, of another tenant, a 404; for the bundle and the keys as well."""
    paths = [request_["links"]["certificate"], request_["links"]["evidence"]]
    client.signs_in(database, Scope.REQUESTS_READ, Scope.MODELS_READ)
    for path in [*paths, "/v1/signing-keys", "/v1/reports/ccpa"]:
        problem(client.get(path), 403, "scope-missing")
    client.signs_in(database, tenant="another")
    for path in paths:
        problem(client.get(path), 404, "not-found")
    client.signs_in(database, Scope.EVIDENCE_READ)
    assert [client.get(path).status_code for path in paths] == [200, 200]


def test_it_is_verified_with_a_key_that_is_asked_for_elsewhere(client, settings, request_):
    """The key that signs is listed, also as PEM; after a rotation the old one still is."""
    body = certificate(client, request_).content
    before = client.get("/v1/signing-keys").json()["items"][0]
    signing_keys.rotate(settings)
    now, *former = client.get("/v1/signing-keys").json()["items"]
    assert (now["is_current"], now["id"] != before["id"]) == (True, True)
    assert before["id"] in [key["id"] for key in former]
    answer = client.get(f"/v1/signing-keys/{before['id']}")
    assert answer.headers["content-type"] == "application/x-pem-file"
    assert dsse.verify(body, PublicKey.read(answer.content))["predicate"]["request_ids"] == [request_["id"]]
    problem(client.get(f"/v1/signing-keys/{'0' * 64}"), 404, "not-found")


@pytest.mark.parametrize("headers", [{}, PAGE, PDF], ids=["json", "page", "pdf"])
def test_each_form_has_an_etag_of_its_own(client, request_, headers):
    """It is the same each time, so a caller who has it is spared the rest."""
    first = certificate(client, request_, headers=headers)
    assert first.headers["vary"] == "Accept"
    again = client.get(request_["links"]["certificate"], headers=headers | {"If-None-Match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    others = {certificate(client, request_, headers=other).headers["etag"] for other in ({}, PAGE, PDF)}
    assert len(others) == 3


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        ("*/*", "application/json"),
        ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", "text/html; charset=utf-8"),
        ("application/pdf;q=0.5, text/html;q=0.4", "application/pdf"),
        ("application/json, text/html;q=0.9", "application/json"),
        ("image/png", "application/json"),
        ("text/html;q=nonsense", "application/json"),
    ],
)
def test_the_caller_chooses_the_form(client, request_, accept, kind):
    """By `Accept`; whoever likes none gets what was signed."""
    assert certificate(client, request_, headers={"Accept": accept}).headers["content-type"] == kind


def test_the_page_needs_nothing_and_may_do_nothing(client, request_):
    """One file, whose style alone is allowed, by its digest."""
    answer = certificate(client, request_, headers=PAGE)
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'; style-src 'sha256-" in policy
    assert not re.search(r"<script|<link|<img|\bsrc=|href=|style=", answer.text)


def test_page_and_pdf_have_the_facts_of_the_statement(client, request_):
    """Numbers, digests, identifiers and limits; what was not measured is told in words."""
    said = statement(certificate(client, request_).content)
    on_page = certificate(client, request_, headers=PAGE).text.replace("&#39;", "'")
    on_paper = text_of(certificate(client, request_, headers=PDF).content)
    about = said["predicate"]
    for fact in (request_["id"], "98.9896", "0.008125", "pets/2", "minilm/1", "not measured", about["due"]):
        assert fact in on_page
        assert fact in on_paper
    squeezed = re.sub(r"\s", "", on_paper)
    for digest in (said["subject"][0]["digest"]["sha256"], about["gate"]["policy_sha256"]):
        assert digest in on_page
        assert digest in squeezed
    for limit in about["statement_of_limits"]:
        assert limit in on_page
        assert re.sub(r"\s", "", limit) in squeezed


def test_each_measurement_is_told_in_words_and_every_number_stands_in_page_and_pdf(client, database):
    """All that the API says can be measured, so that what is new is not forgotten here."""
    client.model_with_version()
    request = ended(client, database, measured=all_measured())
    body = certificate(client, request)
    measured = statement(body.content)["predicate"]["measurements"]
    on_page = certificate(client, request, headers=PAGE).text
    on_paper = text_of(certificate(client, request, headers=PDF).content).split()
    numbers = {place: str(value) for place, value in leaves(measured) if not isinstance(value, str)}
    assert len(numbers) > 140
    assert [place for place, number in numbers.items() if f"<td>{number}</td>" not in on_page] == []
    assert [place for place, number in numbers.items() if number not in on_paper] == []
    in_words = on_page[on_page.index("What was measured") : on_page.index("The model")]
    for name, of_it in measured["after"].items():
        if name != "robust_forget_accuracy_by_view":  # ten numbers, whose mean is told
            assert any(str(value) in in_words for _, value in leaves(of_it)), name


def test_no_letter_is_lost_in_a_pdf():
    """Names have none but those of Latin-1; any other letter is shown by its number, and as it is on the page."""
    strange = "Жук κύων 模型 é"
    words = Document(strange, strange, [Table("", ("", ""), [("name", strange)])], [])
    shown = text_of(pdf(words, datetime.now(UTC)))
    assert shown.count(r"\u0416\u0443\u043a \u03ba\u03cd\u03c9\u03bd \u6a21\u578b é") == 3
    assert page(words).count(strange) == 4


@pytest.mark.parametrize("name", ["жук", "κύων", "模型", "Pets", "é"])
def test_names_in_a_certificate_are_ascii(client, request_, name):
    """Of models, aliases, sets and regulations: whatever the tenant has chosen."""
    assert client.model(name).status_code == 422
    assert client.put(f"/v1/models/pets/aliases/{name}", json={"version": 1}).status_code == 404
    assert client.upload("/v1/models/pets/evaluation-sets", {"name": name, "kind": "test"}, {}).status_code == 422
    assert client.deletion_request(regulation=name).status_code == 422


def test_no_form_promises_what_nobody_can_promise(client, database, request_):
    """In whatever form, of one that passed and of one that did not."""
    for request in (request_, ended(client, database, COLLAPSED)):
        said = certificate(client, request).content
        words = [
            str(statement(said)),
            certificate(client, request, headers=PAGE).text,
            text_of(certificate(client, request, headers=PDF).content),
        ]
        assert all(len(text) > 2000 for text in words)
        assert [PROMISES.findall(text) for text in words] == [[], [], []]


def test_it_names_every_version_and_alias_that_the_data_has_reached(client, database, photograph):
    """By what the training manifests say, also of other models; with where each stands."""
    for name in ("pets", "zoo"):
        client.model_with_version(name)
        rows = [row(f"{name}-{at}", uri=photograph(f"{name}-{at}.png", at)) for at in range(2)]
        client.manifest(*rows, version=f"{name}/versions/1")
        client.put(f"/v1/models/{name}/aliases/old", json={"version": 1, "follows_gate": False})
    asked = client.forget(subject_id="jane").json()
    by_hand = Jobs(database)
    by_hand.publish(by_hand.claim(), measured=MEASURED)
    reach = statement(certificate(client, client.get(asked["links"]["self"]).json()).content)["predicate"]["reach"]
    assert reach["basis"] == "training manifests"
    assert [(one["name"], one["state"], one["aliases"]) for one in reach["versions"]] == [
        ("pets/1", "needs_unlearning", ["old"]),
        ("pets/2", "unlearned", []),
        ("zoo/1", "needs_unlearning", ["old"]),
    ]


def test_of_images_that_were_brought_it_names_the_family_of_the_version(client, database, request_):
    """The new one is unlearned; of the others nobody knows."""
    about = statement(certificate(client, request_).content)["predicate"]
    assert about["reach"]["basis"] == "descent"
    assert [(one["name"], one["state"]) for one in about["reach"]["versions"]] == [
        ("pets/1", "presumed"),
        ("pets/2", "unlearned"),
    ]


def test_it_says_when_the_images_were_destroyed_or_will_be(client, database, settings, request_):
    """It depends on which came first."""
    soon = statement(certificate(client, request_).content)["predicate"]["forget_set"]["images"]
    assert soon == {"disposition": "to be destroyed", "at": request_["ended_at"]}
    second = ended(client, database)
    with database.write() as session:
        request = session.scalars(select(DeletionRequest).where(DeletionRequest.certified_at.is_(None))).one()
        assert request.state is State.COMPLETED
        request.samples = request.samples_key = None
        request.samples_destroyed_at = request.ended_at
    images = statement(certificate(client, second).content)["predicate"]["forget_set"]["images"]
    assert images == {"disposition": "destroyed", "at": second["ended_at"]}


def test_it_says_what_became_of_the_version_before(client, database):
    """As the model's policy has it, which the publishing transaction follows."""
    client.post("/v1/models", json={"name": "pets", "policy": {"parent_disposition": "quarantine"}})
    client.version()
    request = ended(client, database)
    about = statement(certificate(client, request).content)["predicate"]
    assert (about["parent"]["name"], about["parent"]["disposition"]) == ("pets/1", "quarantined")
    assert [(one["name"], one["disposition"]) for one in about["reach"]["versions"]] == [
        ("pets/1", "quarantined"),
        ("pets/2", "kept"),
    ]
    assert "quarantined" in certificate(client, request, headers=PAGE).text
