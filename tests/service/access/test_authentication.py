"""Who is let in, and what they may do there."""

import json
import threading
import time
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from fastapi.testclient import TestClient
from pydantic import SecretStr
from sqlalchemy import text

from service.app import create_app
from service.registry.access import api_keys
from tests.service.given import UNKNOWN, key, problem

ISSUER, AUDIENCE = "https://login.example", "structguard"


@pytest.mark.parametrize(
    ("authorization", "challenge"),
    [
        (None, 'Bearer realm="structguard"'),
        ("Basic dXNlcjpwYXNz", 'Bearer realm="structguard"'),
        ("Bearer ", 'Bearer realm="structguard"'),
        ("Bearer sg_0123456789ab_" + "0" * 64, 'Bearer realm="structguard", error="invalid_token"'),
        ("Bearer sg_short", 'Bearer realm="structguard", error="invalid_token"'),
        ("Bearer " + "x" * 5000, 'Bearer realm="structguard", error="invalid_token"'),
    ],
)
def test_without_a_good_key_nobody_comes_in(client, authorization, challenge):
    """Not even to learn what exists; the header says how to do better (RFC 6750)."""
    del client.http.headers["Authorization"]
    headers = {} if authorization is None else {"Authorization": authorization}
    for path in ("/v1/models", "/v1/models/pets", f"/v1/jobs/{UNKNOWN}", "/v1/nothing"):
        answer = client.get(path, headers=headers)
        problem(answer, 401, "unauthenticated")
        assert answer.headers["www-authenticate"] == challenge
    assert "x" * 20 not in client.get("/v1/models", headers=headers).text


def test_health_and_documentation_need_no_key(client):
    """Probes and readers have none."""
    del client.http.headers["Authorization"]
    for path in ("/livez", "/readyz", "/docs", "/openapi.json", "/problems/unauthenticated"):
        assert client.get(path).status_code == 200
    assert client.get("/livezzz").status_code == 401


def test_a_strangers_body_is_not_read(client):
    """The refusal comes before the first byte is looked at, and ends the connection."""
    del client.http.headers["Authorization"]

    def body():
        raise AssertionError("it was read")
        yield b""

    answer = client.post("/v1/models", content=body())
    assert (answer.status_code, answer.headers["connection"]) == (401, "close")


@pytest.mark.parametrize(
    ("method", "path", "scope"),
    [
        ("POST", "/v1/deletion-requests", "requests:create"),
        ("GET", "/v1/deletion-requests", "requests:read"),
        ("GET", f"/v1/deletion-requests/{UNKNOWN}", "requests:read"),
        ("POST", f"/v1/deletion-requests/{UNKNOWN}/cancel", "requests:cancel"),
        ("POST", f"/v1/deletion-requests/{UNKNOWN}/retry", "requests:create"),
        ("POST", f"/v1/deletion-requests/{UNKNOWN}/approve", "requests:approve"),
        ("POST", f"/v1/deletion-requests/{UNKNOWN}/reject", "requests:approve"),
        ("GET", f"/v1/jobs/{UNKNOWN}", "requests:read"),
        ("POST", "/v1/models", "models:register"),
        ("GET", "/v1/models/pets", "models:read"),
        ("POST", "/v1/models/pets/versions", "models:register"),
        ("GET", "/v1/models/pets/versions/1/checkpoint", "models:download"),
        ("POST", "/v1/api-keys", "admin"),
    ],
)
def test_each_operation_takes_its_scope(client, database, method, path, scope):
    """A key without it is refused with its name, whatever else it may do; a key with it is let through to the route."""
    others = sorted(set(api_keys.Scope) - {scope, "admin"})
    client.signs_in(database, *others)
    answer = client.http.request(method, path)
    problem(answer, 403, "scope-missing")
    assert answer.headers["www-authenticate"] == f'Bearer error="insufficient_scope", scope="{scope}"'
    client.signs_in(database, scope)
    assert client.http.request(method, path).status_code not in (401, 403)


def test_what_is_another_tenants_is_not_there(client, database):
    """Its models, requests and jobs are not found, not forbidden; its names are free."""
    client.model_with_version()
    request = client.deletion_request().json()
    client.signs_in(database, tenant="other")
    for path in (*request["links"].values(), "/v1/models/pets/versions", "/v1/deletion-requests?model=pets"):
        method = "POST" if path.endswith("/cancel") else "GET"
        assert client.http.request(method, path).status_code == 404, path
    for listing in ("/v1/models", "/v1/deletion-requests", "/v1/jobs", "/v1/anchor-sets"):
        assert client.get(listing).json()["items"] == []
    problem(client.deletion_request(), 422, "invalid-input", "#/model")
    assert client.model("pets").status_code == 201


def test_a_key_is_shown_once_and_kept_nowhere(client, database):
    """Only its digest, how it begins and how it ends."""
    answer = client.post("/v1/api-keys", json={"name": "ci", "scopes": ["models:read"]})
    made = answer.json()
    assert (answer.status_code, answer.headers["cache-control"]) == (201, "no-store")
    listed = client.get("/v1/api-keys").json()["items"][0]
    assert listed == {name: value for name, value in made.items() if name != "key"}
    assert (made["key"].startswith(made["prefix"]), made["key"].endswith(made["last_four"])) == (True, True)
    with database.read() as session:
        rows = session.execute(text("SELECT * FROM api_keys")).all()
    assert made["key"].rpartition("_")[2] not in str(rows)
    client.http.headers["Authorization"] = f"Bearer {made['key']}"
    assert client.get("/v1/models").status_code == 200


def test_a_revoked_or_expired_key_is_none(client, database):
    """At once."""
    made = client.post("/v1/api-keys", json={"name": "ci", "scopes": ["models:read"]}).json()
    assert client.get("/v1/models", headers={"Authorization": f"Bearer {made['key']}"}).status_code == 200
    revoked = client.delete(f"/v1/api-keys/{made['id']}").json()
    assert revoked["revoked_at"] is not None
    assert client.delete(f"/v1/api-keys/{made['id']}").json() == revoked
    problem(client.get("/v1/models", headers={"Authorization": f"Bearer {made['key']}"}), 401, "unauthenticated")
    past = key(database, expires_at=datetime.now(UTC) - timedelta(seconds=1))
    problem(client.get("/v1/models", headers={"Authorization": f"Bearer {past}"}), 401, "unauthenticated")


def test_a_caller_that_asks_too_often_has_to_wait(settings, database):
    """And is told for how long; others are not held up."""
    limited = settings.model_copy(update={"rate_limit": 2})
    one, two = ({"Authorization": f"Bearer {key(database)}"} for _ in range(2))
    with TestClient(create_app(limited)) as http:
        first = http.get("/v1/models", headers=one)
        assert first.headers["ratelimit-policy"] == '"default";q=2;w=60'
        assert first.headers["ratelimit"].startswith('"default";r=1;t=')
        http.get("/v1/models", headers=one)
        refused = http.get("/v1/models", headers=one)
        body = problem(refused, 429, "quota-exceeded")
        assert body["violated-policies"] == ["default"]
        assert 1 <= int(refused.headers["retry-after"]) <= 60
        assert http.get("/v1/models", headers=two).status_code == 200


def test_processes_count_together_where_there_is_a_broker(settings, database, broker):
    """Or a caller would have as many quotas as there are replicas."""
    limited = settings.model_copy(update={"rate_limit": 2, "broker_url": SecretStr(broker)})
    mine = {"Authorization": f"Bearer {key(database)}"}
    with TestClient(create_app(limited)) as one, TestClient(create_app(limited)) as two:
        left = [http.get("/v1/models", headers=mine).headers["ratelimit"].split(";")[1] for http in (one, two)]
        assert left == ["r=1", "r=0"]
        problem(one.get("/v1/models", headers=mine), 429, "quota-exceeded")


def test_a_broker_that_is_away_refuses_nobody(settings, database):
    """A limit is not worth losing deletion requests for."""
    limited = settings.model_copy(update={"rate_limit": 1, "broker_url": SecretStr("redis://127.0.0.1:1/0")})
    mine = {"Authorization": f"Bearer {key(database)}"}
    with TestClient(create_app(limited)) as http:
        assert [http.get("/v1/models", headers=mine).status_code for _ in range(2)] == [200, 200]


@contextmanager
def identity_provider(private):
    """Publishes one key, as a JSON Web Key Set."""
    jwk = json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(private.public_key())) | {"kid": "1", "use": "sig"}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            body = json.dumps({"keys": [jwk]}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/jwks.json"
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_token_of_the_identity_provider_does_too(client, settings, database):
    """With its own scopes and tenant, until it expires; a token of or for somebody else is none."""
    private, stranger = (rsa.generate_private_key(public_exponent=65537, key_size=2048) for _ in range(2))
    good = {
        "iss": ISSUER,
        "aud": AUDIENCE,
        "sub": "jane@example.com",
        "exp": int(time.time()) + 60,
        "tenant": "acme",
        "scope": "openid models:read",
    }

    def token(private=private, **changed):
        return jwt.encode(good | changed, private, algorithm="RS256", headers={"kid": "1"})

    with identity_provider(private) as url:
        trusting = settings.model_copy(update={"jwks_url": url, "jwt_issuer": ISSUER, "jwt_audience": AUDIENCE})
        with TestClient(create_app(trusting)) as http:

            def status(path, bearer):
                return http.get(path, headers={"Authorization": f"Bearer {bearer}"}).status_code

            assert status("/v1/models", token()) == 200
            assert status("/v1/jobs", token()) == 403
            wrong = [
                {"iss": "https://other.example"},
                {"aud": "other"},
                {"exp": 1},
                {"tenant": "unknown"},
                {"private": stranger},
            ]
            for changed in wrong:
                assert status("/v1/models", token(**changed)) == 401, changed
            unsigned = jwt.encode(good, None, algorithm="none")
            assert status("/v1/models", unsigned) == 401
            # The public key is no shared secret.
            forged = jwt.encode(good, "0" * 64, algorithm="HS256", headers={"kid": "1"})
            assert status("/v1/models", forged) == 401


def test_a_request_can_need_a_second_person(client, database):
    """Whoever asked may withdraw it, but not approve it; somebody else may."""
    client.post("/v1/models", json={"name": "pets", "approval_required": True})
    client.version()
    asked = client.deletion_request().json()
    assert (asked["state"], asked["waiting_on"]) == ("awaiting_approval", "approver")
    problem(client.post(asked["links"]["approve"]), 403, "own-request")
    problem(client.post(asked["links"]["reject"], json={"reason": "no"}), 403, "own-request")

    client.signs_in(database, "requests:approve", "requests:read")
    approved = client.post(asked["links"]["approve"])
    assert (approved.status_code, approved.json()["state"]) == (202, "queued")
    problem(client.post(asked["links"]["approve"]), 409, "not-awaiting-approval")
    history = client.get(asked["links"]["self"]).json()["history"]
    assert [move["after"] for move in history] == ["received", "awaiting_approval", "queued"]


def test_a_declined_request_is_over(client, database):
    """With the reason; it does not run, and cannot be approved any more."""
    client.post("/v1/models", json={"name": "pets", "approval_required": True})
    client.version()
    asked = client.deletion_request().json()
    client.signs_in(database, "requests:approve", "requests:read", "requests:cancel")
    declined = client.post(asked["links"]["reject"], json={"reason": "not our customer"}).json()
    assert (declined["state"], declined["reason"]) == ("rejected", "not our customer")
    problem(client.post(asked["links"]["approve"]), 409, "not-awaiting-approval")
    problem(client.post(asked["links"]["cancel"]), 409, "past-commit-point")
