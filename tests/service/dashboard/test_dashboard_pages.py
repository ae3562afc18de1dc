"""What pages show, and what their forms do."""

import re
import uuid
from datetime import timedelta

import pytest
from sqlalchemy import select

from service.registry.access.scopes import Scope
from service.registry.reasons import Objection, ObjectionKind, Reason, ReasonCode
from service.registry.states import Phase, State
from service.registry.tables import ApiKey, AuditEvent, DeletionRequest, ImageView, Model
from tests.service.dashboard.given_browser import READER, Browser
from tests.service.given import UNKNOWN, key, png
from tests.service.given_certificates import PROVENANCE, REFERENCES
from tests.service.given_jobs import Jobs
from tests.service.registry import given_rows
from tests.service.registry.given_reasons import A_TEST_FELL

HOSTILE = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>"


@pytest.fixture
def request_id(client):
    client.model_with_version()
    return client.deletion_request().json()["id"]


@pytest.fixture
def work(database):
    return Jobs(database)


def state_of(database, request_id):
    with database.read() as session:
        return {str(row.id): row.state for row in session.scalars(select(DeletionRequest))}[request_id]


def test_nothing_yet_says_what_to_do(signed_in):
    assert "structguard forget" in signed_in.get("").text
    assert "structguard register" in signed_in.get("models").text
    assert "structguard forget" in signed_in.get("requests").text
    assert "/v1/webhooks" in signed_in.get("webhooks").text


@pytest.mark.parametrize(
    "path", ["", "sign-in", "requests", "models", "nowhere", "static/dashboard.css", "static/live.js"]
)
def test_every_answer_has_the_headers(signed_in, path):
    """No page is kept, framed, or runs what does not lie here."""
    headers = signed_in.get(path).headers
    policy = headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "data:" not in policy
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["x-frame-options"] == "DENY"
    assert headers["cache-control"] == ("no-cache" if path.startswith("static") else "no-store")


def test_nothing_inline_is_in_any_template(signed_in, request_id, client):
    for path in ("", "requests", f"requests/{request_id}", "models", "models/pets"):
        text = signed_in.get(path).text
        assert not re.search(r"<script(?![^>]* src=)|<style|\sstyle=|\son\w+=|javascript:", text)


def test_the_first_page_shows_what_is_urgent_first(signed_in, request_id, client, database):
    late = client.deletion_request(png(7), png(8)).json()["id"]
    with database.write() as session:
        row = session.get_one(DeletionRequest, uuid.UUID(late))
        row.due_at = row.received_at - timedelta(days=3)
    page = signed_in.get("").text
    assert page.index(late) < page.index(request_id)
    assert "3 days late" in page
    assert "(1 overdue) Overview" in page
    assert signed_in.get("requests?overdue=true").text.count("/dashboard/requests/" + late) == 1
    assert request_id not in signed_in.get("requests?overdue=true").text


def test_a_run_shows_its_phase_and_its_steps(signed_in, request_id, work):
    claim = work.claim()
    work.progress(
        claim, phase=Phase.UNLEARN, step=30, total=400, points=[(0, {"forget_accuracy": 0.0, "collapse": None})]
    )
    for path in ("", f"requests/{request_id}"):
        page = signed_in.get(path).text
        assert '<progress max="400" value="30"' in page
        assert '<li class="present" aria-current="step">unlearn</li>' in page
        assert re.search(r"data-refresh=\"[12]\"", page)
        assert "30 of at most 400<" in page
    work.progress(claim, phase=Phase.EVALUATE, step=512, total=1000, points=[])
    assert "512 of 1,000 images<" in signed_in.get("").text


def test_a_failure_says_where_what_and_what_to_do_and_is_retried(signed_in, request_id, work, database):
    work.fail(work.claim(), Reason(ReasonCode.OUT_OF_MEMORY, Phase.UNLEARN))
    page = signed_in.get(f"requests/{request_id}").text
    for text in ("unlearn</span>", "Out of memory on the device.", "more memory"):
        assert text in page
    assert f"/dashboard/requests/{request_id}/retry" in signed_in.get("").text
    answer = signed_in.submit(f"requests/{request_id}/retry")
    assert answer.headers["location"] == f"/dashboard/requests/{request_id}?done=retried"
    assert state_of(database, request_id) is State.QUEUED
    assert "Queued again" in signed_in.get(f"requests/{request_id}?done=retried").text


def test_what_cannot_be_done_is_said_with_its_status(signed_in, request_id):
    answer = signed_in.submit(f"requests/{request_id}/retry")
    assert answer.status_code == 409
    assert "Only a failed request can be retried." in answer.text
    assert signed_in.submit(f"requests/{UNKNOWN}/cancel").status_code == 404
    assert signed_in.submit("requests/nobody/cancel").status_code == 404
    assert signed_in.get("models/nobody").status_code == 404
    assert signed_in.get("requests?cursor=nonsense").status_code == 422
    assert signed_in.send("sign-in", {"key": "x" * 6000}).status_code == 422


def test_a_request_is_withdrawn_and_the_audit_log_says_by_whom(signed_in, request_id, database):
    assert signed_in.submit(f"requests/{request_id}/cancel").status_code == 303
    assert state_of(database, request_id) is State.CANCELLED
    with database.read() as session:
        events = {event.event: event.by for event in session.scalars(select(AuditEvent))}
    assert events["deletion_request.withdrawn"] == events["api_key.signed_in"]


@pytest.mark.parametrize("verb", ["approve", "reject", "cancel", "retry"])
def test_a_form_from_elsewhere_does_nothing(signed_in, request_id, verb, database):
    path, form = f"requests/{request_id}/{verb}", {"reason": "no"}
    before = state_of(database, request_id)
    assert signed_in.send(path, form).status_code == 403
    assert signed_in.send(path, form | {"csrf": "0" * 64}).status_code == 403
    forged = form | {"csrf": signed_in.token()}
    assert signed_in.send(path, forged, **{"Sec-Fetch-Site": "cross-site"}).status_code == 403
    assert signed_in.send(path, forged, **{"Sec-Fetch-Site": "same-site"}).status_code == 403
    assert state_of(database, request_id) is before


def test_nobody_is_signed_in_or_out_from_elsewhere(signed_in, database):
    assert signed_in.send("sign-out").status_code == 403
    assert signed_in.send("sign-in", {"key": key(database)}).status_code == 403


def test_a_second_person_approves_or_declines(client, signed_in, database):
    client.post("/v1/models", json={"name": "careful", "approval_required": True})
    client.version("careful")
    first, second = (client.deletion_request(png(n), png(n + 1), model="careful").json()["id"] for n in (1, 3))
    assert signed_in.submit(f"requests/{first}/approve").status_code == 303
    assert signed_in.submit(f"requests/{second}/reject").status_code == 422  # no reason
    assert signed_in.submit(f"requests/{second}/reject", reason="not theirs").status_code == 303
    assert state_of(database, first) is State.QUEUED
    assert state_of(database, second) is State.REJECTED


def test_one_does_not_approve_ones_own(client, browser, database):
    secret = key(database)
    client.http.headers["Authorization"] = f"Bearer {secret}"
    client.post("/v1/models", json={"name": "careful", "approval_required": True})
    client.version("careful")
    own = client.deletion_request(model="careful").json()["id"]
    browser.sign_in(secret)
    assert "Your own request" in browser.get("").text
    assert browser.submit(f"requests/{own}/approve").status_code == 403


def test_without_the_scope_there_is_no_button_and_no_way(browser, client, request_id, work, database):
    work.fail(work.claim())
    browser.sign_in(key(database, *READER))
    assert 'action="/dashboard/requests' not in browser.get("").text + browser.get(f"requests/{request_id}").text
    for verb in ("retry", "cancel", "approve"):
        assert browser.submit(f"requests/{request_id}/{verb}").status_code == 403


def test_results_show_what_was_measured_before_and_after(signed_in, request_id, work):
    claim = work.claim()
    points = [(n, {"forget_accuracy": 10.0 * n, "collapse": 0.01 * n, "deletion": 5.0 - n}) for n in range(5)]
    work.progress(claim, phase=Phase.UNLEARN, step=4, total=9, points=points)
    before = {"forget_accuracy": 0.0, "test_accuracy": 93.5}
    after = {
        "forget_accuracy": 100.0,
        "test_accuracy": 91.25,
        "collapse": 0.31,
        "membership": {"unseen": {"advantage": 0.2}},
    }
    work.publish(
        claim,
        Objection(ObjectionKind.COLLAPSE, 0.31, 0.25),
        A_TEST_FELL,
        measured={"before": before, "after": after},
        provenance=PROVENANCE | {"references": REFERENCES},
    )
    page = signed_in.get(f"requests/{request_id}").text
    for text in (
        f"<li>structural collapse is 0.310, 0.25 is allowed</li><li>{A_TEST_FELL}</li>",
        "93.5",
        "91.25",
        "−2.25",
        "0.31",
        "0.2",
        "Loss: deletion",
        "<dt>Reference models</dt><dd>1 of 2</dd>",
    ):
        assert text in page
    assert page.count('<path class="line" d="M') >= 3
    assert "data-refresh" not in page
    assert "91.25" in signed_in.get("models").text
    model = signed_in.get("models/pets").text
    assert "needs review" in model
    assert f"/dashboard/requests/{request_id}#curves" in model
    compared = signed_in.get("models/pets/compare?first=1&second=2")
    assert "Version 2 was made from version 1." in compared.text


def test_names_are_text_wherever_they_stand(signed_in, client, database, work):
    client.model_with_version()
    request_id = client.deletion_request().json()["id"]
    work.fail(work.claim(), Reason(ReasonCode.INPUT_UNUSABLE, Phase.LOAD, {"detail": f"{HOSTILE}; {HOSTILE}"}))
    with database.write() as session:
        for model in session.scalars(select(Model)):
            model.name, model.description = HOSTILE, HOSTILE
        for row in session.scalars(select(ApiKey)):
            row.name = HOSTILE
        for row in session.scalars(select(DeletionRequest)):
            row.regulation = HOSTILE[:40]
    client.post(
        "/v1/webhooks", json={"url": "https://hooks.example/?<script>alert(1)</script>", "description": HOSTILE}
    )
    client.get(f"/v1/deletion-requests/{request_id}")
    hostile = "requests?model=%3Cscript%3Ealert(1)%3C%2Fscript%3E&state=%22%3E%3Cscript%3E&done=%3Cscript%3E"
    for path in ("", "requests", hostile, f"requests/{request_id}", "models", "webhooks"):
        answer = signed_in.get(path)
        assert answer.status_code == 200
        assert "<script>alert" not in answer.text
        assert "<img src=x" not in answer.text
        assert "&lt;script&gt;" in answer.text


def test_requests_come_in_pages_and_keep_their_filter(signed_in, database):
    with database.write() as session:
        pets, others = (given_rows.model_with_version(session, name) for name in ("pets", "others"))
        made = {str(given_rows.request(session, pets).id) for _ in range(110)}
        given_rows.request(session, others)
    pages, path = [], "requests?model=pets"
    while path:
        text = signed_in.get(path).text
        pages.append(set(re.findall(r'title="([0-9a-f-]{36})"', text)))
        following = re.search(r'rel="next" href="/dashboard/([^"]+)"', text)
        path = following and following[1].replace("&amp;", "&")
    assert [len(page) for page in pages] == [50, 50, 10]
    assert set.union(*pages) == made


def test_another_tenant_sees_nothing(client, browser, request_id, database):
    browser.sign_in(key(database, tenant="other"))
    assert request_id not in browser.get("").text + browser.get("requests").text
    for path in (f"requests/{request_id}", f"requests/{request_id}/images", "models/pets"):
        assert browser.get(path).status_code == 404
    assert browser.submit(f"requests/{request_id}/cancel").status_code == 404


def test_images_are_shown_to_those_who_may_and_it_is_written_down(browser, client, request_id, database, caplog):
    browser.sign_in(key(database, *READER))
    assert browser.get(f"requests/{request_id}/images").status_code == 403
    assert "/images" not in browser.get(f"requests/{request_id}").text
    Browser(client).sign_in(key(database, Scope.REQUESTS_READ, Scope.REQUESTS_IMAGES, name="privacy desk"))
    with caplog.at_level("INFO", "service.dashboard"):
        answer = browser.get(f"requests/{request_id}/images")
    assert answer.status_code == 200
    assert answer.text.count('src="data:image/png;base64,') == 2
    assert answer.headers["cache-control"] == "no-store"
    assert "img-src 'self' data:;" in answer.headers["content-security-policy"]
    assert "class cat" in answer.text
    with database.read() as session:
        image_view = session.scalars(select(ImageView)).one()
        events = {event.event: event for event in session.scalars(select(AuditEvent))}
    assert (image_view.first, image_view.last, image_view.by[:4]) == (0, 1, "key:")
    viewed = events["deletion_request.images_viewed"]
    assert (viewed.by, str(viewed.about), viewed.facts) == (image_view.by, request_id, {"first": 0, "last": 1})
    assert "api_key.signed_in" in events
    assert f"request {request_id}: images from 0 on are shown to {image_view.by}" in caplog.text
    assert "privacy desk" in browser.get(f"requests/{request_id}").text


def test_images_that_are_destroyed_stay_so(signed_in, client, request_id, database, settings):
    client.post(f"/v1/deletion-requests/{request_id}/cancel")
    with database.write() as session:
        row = session.scalars(select(DeletionRequest)).one()
        row.samples = row.samples_key = None
        row.samples_destroyed_at = row.ended_at
    answer = signed_in.get(f"requests/{request_id}/images")
    assert "The images are destroyed" in answer.text
    assert "data:image" not in answer.text
    with database.read() as session:
        assert session.scalars(select(ImageView)).all() == []


def test_of_images_that_cannot_be_decrypted_the_page_says_why(signed_in, request_id, settings):
    for file in (settings.data_dir / "samples").iterdir():
        file.write_bytes(b"\0" * file.stat().st_size)
    answer = signed_in.get(f"requests/{request_id}/images")
    assert answer.status_code == 503
    assert "cannot be decrypted" in answer.text
