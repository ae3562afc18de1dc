"""Callbacks, from the transition of a request to a real server that receives them."""

import base64
import hmac
import json
import logging
import re
import socket
import threading
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from pydantic import SecretStr
from sqlalchemy import func, select, update

from service.registry.access.scopes import Scope
from service.registry.storage.database import clock
from service.registry.tables import WebhookDelivery, WebhookEndpoint, WebhookMessage
from tests.service.cli.scripted_server import Answer, script, scripted
from tests.service.given import UNKNOWN, problem, running, wait_for
from tests.service.given_jobs import Jobs
from tests.service.registry.given_reasons import A_TEST_FELL

FINE = Answer(b"thanks")
API = (Path(__file__).parents[3] / "docs" / "api.md").read_text()


@pytest.fixture
def jobs(database):
    return Jobs(database)


@pytest.fixture
def service(settings, client):
    with running(settings, client) as service:
        yield service


def register(service, url, **more):
    answer = service.post("/v1/webhooks", json={"url": url} | more)
    assert answer.status_code == 201, answer.text
    return answer.json()


def deliveries(service, webhook):
    return service.get(webhook["links"]["deliveries"]).json()["items"]


def attempted(service, webhook, times=1):
    """The latest delivery, once it was tried so often."""

    def look():
        found = deliveries(service, webhook)
        return found and len(found[0]["attempts"]) >= times

    wait_for(look)
    return deliveries(service, webhook)[0]  # again, because attempts are read after the state


def now_due(database):
    with database.write() as session:
        session.execute(update(WebhookDelivery).values(next_at=clock(session)))


def signatures(request):
    return [signature.split(",") for signature in request.headers["webhook-signature"].split(" ")]


def by_hand(secret, request):
    """What the `v1` signature has to be."""
    content = f"{request.headers['webhook-id']}.{request.headers['webhook-timestamp']}.".encode() + request.body
    digest = hmac.digest(base64.b64decode(secret.removeprefix("whsec_")), content, "sha256")
    return ["v1", base64.b64encode(digest).decode()]


def test_a_move_of_a_request_is_told_thinly_and_signed(service, jobs, database):
    """Every state, in order; each verified by HMAC and by Ed25519, as a receiver would."""
    with scripted(script(FINE)) as (url, seen):
        webhook = register(service, url + "/in?from=us")
        service.model_with_version()
        request = service.deletion_request().json()
        jobs.publish(jobs.claim())
        wait_for(lambda: len(seen) == 3)
    told = [json.loads(call.body) for call in seen]
    assert [message["type"] for message in told] == [
        f"deletion_request.{s}" for s in ("queued", "running", "completed")
    ]
    assert told[2] == {
        "type": "deletion_request.completed",
        "timestamp": told[2]["timestamp"],
        "data": {
            "id": request["id"],
            "model": "pets",
            "state": "completed",
            "links": {"self": request["links"]["self"]},
        },
    }
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT[\d:.]+Z", told[2]["timestamp"])
    public = Ed25519PublicKey.from_public_bytes(base64.b64decode(webhook["public_key"].removeprefix("whpk_")))
    for call in seen:
        assert (call.method, call.path, call.headers["Content-Type"]) == ("POST", "/in?from=us", "application/json")
        shared, asymmetric = signatures(call)
        assert shared == by_hand(webhook["secret"], call)
        content = f"{call.headers['webhook-id']}.{call.headers['webhook-timestamp']}.".encode() + call.body
        assert asymmetric[0] == "v1a"
        public.verify(base64.b64decode(asymmetric[1]), content)
    assert len({call.headers["webhook-id"] for call in seen}) == 3


def test_the_readme_s_receiver_knows_our_signatures(service):
    """And no others: a changed body, another secret, an old time."""
    with scripted(script(FINE)) as (url, seen):
        webhook = register(service, url)
        service.post(f"{webhook['links']['self']}/test")
        [call] = wait_for(lambda: seen)
    scope = {}
    exec(re.search(r"```python\n((?:(?!```).)*def verify.*?)```", API, re.DOTALL)[1], scope)
    verify, headers = scope["verify"], dict(call.headers)
    assert verify(webhook["secret"], headers, call.body)
    assert not verify(webhook["secret"], headers, call.body + b" ")
    assert not verify("whsec_" + base64.b64encode(bytes(32)).decode(), headers, call.body)
    old = headers | {"webhook-timestamp": str(int(headers["webhook-timestamp"]) - 3600)}
    assert not verify(webhook["secret"], old, call.body)


def test_nothing_that_is_secret_or_says_who_gets_out(service, database, caplog):
    """Not into callbacks, lists or the log: neither reasons, nor secrets, nor the URL's own token."""
    caplog.set_level(logging.INFO)
    canary = "Erika Mustermann"
    with scripted(script(Answer(b"", 500), FINE)) as (url, seen):
        webhook = register(service, url + "/in?token=hunter2")
        service.post("/v1/models", json={"name": "pets", "approval_required": True})
        service.version()
        request = service.deletion_request().json()
        service.signs_in(database)  # not `client`: its own sender would be woken, and it may not call this machine
        declined = service.post(f"{request['links']['self']}/reject", json={"reason": canary})
        assert declined.json()["state"] == "rejected"
        # Both: one that is under way would be sent twice if it were due now.
        wait_for(lambda: [bool(told["attempts"]) for told in deliveries(service, webhook)] == [True, True])
        now_due(database)
        wait_for(lambda: len(seen) == 3)
        listed = service.get("/v1/webhooks").text + service.get(webhook["links"]["self"]).text
        listed += service.get(webhook["links"]["deliveries"]).text
    assert {json.loads(call.body)["data"]["state"] for call in seen} == {"awaiting_approval", "rejected"}
    told = b"".join(call.body for call in seen).decode()
    assert canary not in told + caplog.text
    assert "hunter2" not in caplog.text
    assert webhook["secret"] not in listed + caplog.text
    assert "whsec_" not in listed


def test_what_failed_is_sent_again_as_the_same_message(service, database):
    """Five seconds later at the earliest, under the same identifier with the same body, and logged both times."""
    with scripted(script(Answer(b"", 500), FINE)) as (url, seen):
        webhook = register(service, url)
        sent = service.post(f"{webhook['links']['self']}/test")
        assert (sent.status_code, sent.json()["type"], sent.json()["state"]) == (202, "webhook.test", "pending")
        failed = attempted(service, webhook)
        assert (failed["state"], failed["attempts"][0]["status"]) == ("pending", 500)
        assert failed["next_at"] > failed["attempts"][0]["at"]
        now_due(database)
        arrived = attempted(service, webhook, times=2)
    assert (arrived["state"], arrived["next_at"]) == ("succeeded", None)
    assert [attempt["status"] for attempt in arrived["attempts"]] == [500, 200]
    assert [call.headers["webhook-id"] for call in seen] == [arrived["message"]] * 2
    assert seen[0].body == seen[1].body


def test_an_endpoint_that_is_gone_is_called_no_more(service, jobs, database):
    """410 disables it; enabled again, it takes a replay."""
    with scripted(script(Answer(b"", 410), FINE)) as (url, seen):
        webhook = register(service, url)
        here = webhook["links"]["self"]
        service.post(f"{here}/test")
        failed = attempted(service, webhook)
        assert failed["state"] == "failed"
        disabled = service.get(here).json()
        assert (disabled["enabled"], disabled["disabled_reason"]) == (False, "it answered 410 Gone")
        problem(service.post(f"{here}/test"), 409, "webhook-disabled")
        problem(service.post(failed["links"]["replay"]), 409, "webhook-disabled")
        assert service.patch(here, json={"enabled": True}).json()["disabled_reason"] is None
        assert service.post(failed["links"]["replay"]).status_code == 202
        assert attempted(service, webhook, times=2)["state"] == "succeeded"
    assert seen[0].headers["webhook-id"] == seen[1].headers["webhook-id"]


def test_a_redirect_is_not_followed(service):
    """It could lead anywhere, and is no success."""
    with scripted(script(Answer(b"", 302, {"Location": "/elsewhere"}))) as (url, seen):
        webhook = register(service, url + "/in")
        service.post(f"{webhook['links']['self']}/test")
        delivery = attempted(service, webhook)
    assert (delivery["state"], delivery["attempts"][0]["status"]) == ("pending", 302)
    assert [call.path for call in seen] == ["/in"]


def test_an_endpoint_that_asks_for_an_hour_gets_it(service, database):
    """`Retry-After`."""
    with scripted(script(Answer(b"", 503, {"Retry-After": "3600"}))) as (url, _):
        webhook = register(service, url)
        service.post(f"{webhook['links']['self']}/test")
        attempted(service, webhook)
    with database.read() as session:
        row = session.scalars(select(WebhookDelivery)).one()
        assert timedelta(minutes=59) < row.next_at - clock(session) <= timedelta(hours=1)


def test_a_secret_is_rotated_without_a_gap(service, database):
    """For a day both sign; then the old one does not."""
    with scripted(script(FINE)) as (url, seen):
        webhook = register(service, url)
        here = webhook["links"]["self"]
        answer = service.post(f"{here}/rotate-secret")
        rotated = answer.json()
        assert answer.headers["cache-control"] == "no-store"
        assert rotated["secret"] != webhook["secret"]
        assert rotated["public_key"] == webhook["public_key"]
        service.post(f"{here}/test")
        wait_for(lambda: len(seen) == 1)
        assert signatures(seen[0])[:2] == [by_hand(s, seen[0]) for s in (rotated["secret"], webhook["secret"])]
        with database.write() as session:
            session.execute(update(WebhookEndpoint).values(previous_secret_until=clock(session)))
        service.post(f"{here}/test")
        wait_for(lambda: len(seen) == 2)
    assert [kind for kind, _ in signatures(seen[1])] == ["v1", "v1a"]
    assert signatures(seen[1])[0] == by_hand(rotated["secret"], seen[1])


def test_what_arrived_can_be_replayed(service):
    """For a receiver that lost it; the identifier tells it that this is nothing new."""
    with scripted(script(FINE)) as (url, seen):
        webhook = register(service, url)
        service.post(f"{webhook['links']['self']}/test")
        delivery = attempted(service, webhook)
        again = service.post(delivery["links"]["replay"])
        assert (again.status_code, again.json()["state"]) == (202, "pending")
        assert attempted(service, webhook, times=2)["state"] == "succeeded"
    assert len({call.headers["webhook-id"] for call in seen}) == 1
    assert len(seen) == 2


def test_two_processes_send_each_message_once(service, client, settings):
    """Whichever is faster."""
    with scripted(script(FINE)) as (url, seen), running(settings, client):
        webhooks = [register(service, f"{url}/{at}") for at in range(3)]
        for _ in range(4):
            for webhook in webhooks:
                service.post(f"{webhook['links']['self']}/test")
        wait_for(lambda: all(d["state"] == "succeeded" for w in webhooks for d in deliveries(service, w)))
    assert len(seen) == len({call.headers["webhook-id"] for call in seen}) == 12


def test_a_slow_endpoint_holds_up_nobody_else(service):
    """Its messages wait for each other, those of others do not wait for them."""
    free = threading.Event()

    def answer(call):
        if call.path == "/slow":
            free.wait(20)
        return FINE

    with scripted(answer) as (url, seen):
        slow, quick = register(service, url + "/slow"), register(service, url + "/quick")
        for webhook in (slow, slow, quick, quick):
            service.post(f"{webhook['links']['self']}/test")
        wait_for(lambda: [call.path for call in seen].count("/quick") == 2)
        assert [call.path for call in seen].count("/slow") == 1
        free.set()
        wait_for(lambda: [call.path for call in seen].count("/slow") == 2)


def test_who_listens_to_some_events_hears_of_no_others(service, jobs, kept, database):
    """And nobody at all costs no row."""
    service.model_with_version()
    service.deletion_request()
    with database.read() as session:
        assert session.scalar(select(func.count()).select_from(WebhookMessage)) == 0
    with scripted(script(FINE)) as (url, seen):
        register(service, url, events=["deletion_request.failed", "deletion_request.needs_review"])
        jobs.publish(jobs.claim(), A_TEST_FELL)
        wait_for(lambda: seen)
    assert [json.loads(call.body)["type"] for call in seen] == ["deletion_request.needs_review"]


def test_a_webhook_is_made_changed_and_removed(client):
    """The secret is in the first answer only; there is no way to get it again."""
    made = client.post("/v1/webhooks", json={"url": "https://hooks.example/in", "description": "billing"})
    webhook = made.json()
    here = made.headers["location"]
    assert (made.status_code, made.headers["cache-control"]) == (201, "no-store")
    assert len(base64.b64decode(webhook.pop("secret").removeprefix("whsec_"))) == 32
    assert webhook == client.get(here).json() == client.get("/v1/webhooks").json()["items"][0]
    assert (webhook["events"], webhook["enabled"], webhook["links"]["self"]) == ([], True, here)

    change = {"events": ["deletion_request.failed"], "enabled": False, "url": "https://other.example/"}
    changed = client.patch(here, json=change).json()
    assert {name: changed[name] for name in change} == change
    assert (changed["description"], changed["disabled_reason"]) == ("billing", "its owner disabled it")
    assert client.patch(here, json={}).json() == changed
    assert client.patch(here, json={"description": ""}).json()["description"] == ""

    assert client.delete(here).status_code == 204
    for gone in (client.get(here), client.delete(here), client.patch(here, json={}), client.post(f"{here}/test")):
        problem(gone, 404, "not-found")


def test_a_webhook_is_its_tenant_s(client, database):
    """What another one has is not there, and takes the scope `admin`."""
    here = register(client, "https://hooks.example/")["links"]["self"]
    paths = [
        *(("GET", here), ("PATCH", here), ("DELETE", here), ("GET", f"{here}/deliveries"), ("POST", f"{here}/test")),
        *(("POST", f"{here}/rotate-secret"), ("POST", f"{here}/deliveries/{UNKNOWN}/replay")),
    ]
    problem(client.post(f"{here}/deliveries/{UNKNOWN}/replay"), 404, "not-found")
    client.signs_in(database, tenant="globex")
    assert client.get("/v1/webhooks").json()["items"] == []
    for method, path in paths:
        problem(client.http.request(method, path, json={} if method == "PATCH" else None), 404, "not-found")
    client.signs_in(database, *(scope for scope in Scope if scope is not Scope.ADMIN))
    for method, path in [*paths, ("GET", "/v1/webhooks")]:
        answer = client.http.request(method, path, json={} if method == "PATCH" else None)
        problem(answer, 403, "scope-missing")
    problem(client.post("/v1/webhooks", json={"url": "https://hooks.example/"}), 403, "scope-missing")


@pytest.mark.parametrize(
    "url",
    [
        *("http://hooks.example/", "https://127.0.0.1/", "https://10.0.0.1/", "https://169.254.169.254/latest"),
        *("https://[::1]/", "https://[::ffff:127.0.0.1]/", "https://localhost:8000/", "https://a:b@hooks.example/"),
        *("https://hooks.example/#x", "https://hooks.example:0/", "nonsense", "", "https://" + "a" * 2000),
    ],
)
def test_urls_that_lead_inside_are_not_taken(client, url):
    """When it is registered and when it is changed; the answer does not repeat them."""
    here = register(client, "https://hooks.example/")["links"]["self"]
    for answer in (client.post("/v1/webhooks", json={"url": url}), client.patch(here, json={"url": url})):
        body = problem(answer, 422, "invalid-input", "#/url")
        assert not url or url not in str(body)


def test_events_are_those_that_happen(client):
    """Each once."""
    for events in (["deletion_request.received"], ["deletion_request.failed"] * 2):
        answer = client.post("/v1/webhooks", json={"url": "https://hooks.example/", "events": events})
        assert answer.status_code == 422
        assert answer.json()["errors"][0]["pointer"].startswith("#/events")


def test_a_tenant_has_at_most_twenty(client):
    """Every move of a request makes a row for each."""
    for _ in range(20):
        register(client, "https://hooks.example/")
    problem(client.post("/v1/webhooks", json={"url": "https://hooks.example/"}), 422, "invalid-input", "#")


def test_a_name_that_leads_inside_is_not_called(client, monkeypatch):
    """It is resolved when something is sent, and what it leads to is checked; nobody is connected to."""
    ask = socket.getaddrinfo

    def getaddrinfo(host, port, *more, **named):
        if host != "hooks.example":
            return ask(host, port, *more, **named)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    with scripted(script(FINE)) as (url, seen):
        webhook = register(client, "https://hooks.example:" + url.rpartition(":")[2])
        client.post(f"{webhook['links']['self']}/test")
        delivery = attempted(client, webhook)
    assert (delivery["state"], delivery["attempts"][0]["error"]) == ("pending", "not_allowed")
    assert delivery["attempts"][0]["status"] is None
    assert seen == []


def test_deliveries_come_in_pages(service):
    """Newest first."""
    webhook = register(service, "http://127.0.0.1:9/")
    made = [service.post(f"{webhook['links']['self']}/test").json()["id"] for _ in range(3)]
    first = service.get(webhook["links"]["deliveries"], params={"limit": 2}).json()
    second = service.get(webhook["links"]["deliveries"], params={"limit": 2, "cursor": first["next"]}).json()
    assert [item["id"] for item in first["items"] + second["items"]] == made[::-1]
    wait_for(lambda: not any(item["attempts"] == [] for item in deliveries(service, webhook)))


def test_a_mistake_of_ours_counts_as_an_attempt(service, monkeypatch, caplog):
    """Or it would be repeated without end."""
    monkeypatch.setattr("service.webhooks.http_post.post", lambda *_, **__: 1 / 0)
    webhook = register(service, "https://hooks.example/")
    service.post(f"{webhook['links']['self']}/test")
    assert attempted(service, webhook)["attempts"][0]["error"] == "internal"
    assert "could not be sent" in caplog.text


def test_the_sender_outlives_a_database_that_is_away(tmp_path, settings, client, caplog):
    """It is logged, and tried again."""
    url = SecretStr(f"sqlite:///{tmp_path}/missing/registry.sqlite")
    with running(settings, client, database_url=url):
        wait_for(lambda: caplog.text.count("the webhook_sender could not finish its turn") >= 2)
