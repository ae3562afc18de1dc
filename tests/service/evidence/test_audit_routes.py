import json

import pytest
from sqlalchemy import select

from service.registry.audit import audit_log, checkpoints, verification
from service.registry.audit.export import verify
from service.registry.audit.hash_chain import Broken, digest
from service.registry.crypto import signing_keys
from service.registry.tables import Tenant
from tests.service.given import problem


@pytest.fixture
def tenant_id(client, database):
    with database.read() as session:
        return session.scalars(select(Tenant.id)).one()


@pytest.fixture
def keys(settings):
    return {key.key_id: key for key in signing_keys.public_keys(settings)}


@pytest.fixture
def log(client, database, settings, tenant_id):
    """What a request and its withdrawal leave, in two parts, the first of which is signed."""
    client.model_with_version()
    request = client.deletion_request().json()
    _chain_and_sign(database, tenant_id, settings)
    client.post(request["links"]["cancel"])
    _chain_and_sign(database, tenant_id, settings)


def _chain_and_sign(database, tenant_id, settings):
    with database.write() as session:
        audit_log.chain(session, tenant_id)
        checkpoints.sign(session, tenant_id, signing_keys.signer(settings))


def test_the_keys_that_sign_are_shown(client, tenant_id, keys):
    """Before they have signed anything, too."""
    shown = client.get("/v1/audit").json()
    assert shown["tenant"] == str(tenant_id)
    assert {key["key_id"]: key["pem"] for key in shown["keys"]} == {key.key_id: key.pem for key in keys.values()}


def test_the_head_its_signature_and_its_verification_are_shown(client, log, database, settings, tenant_id):
    verification.verify_due(database, signing_keys.public_keys(settings))
    shown = client.get("/v1/audit").json()
    with database.read() as session:
        head = audit_log.head(session, tenant_id)
    assert shown["head"] == {"height": head.height, "sha256": head.sha256.hex()}
    assert shown["checkpoint"]["height"] == shown["verification"]["height"] == head.height
    assert shown["verification"]["broken"] is None
    for link in shown["links"].values():
        assert client.get(link).status_code == 200


def test_entries_come_in_pages_that_anybody_can_verify(client, log):
    """The hash of each is over the one before it and its own bytes."""
    items, after = [], 0
    while after is not None:
        page = client.get("/v1/audit/entries", params={"after": after, "limit": 3}).json()
        items, after = items + page["items"], page["next"]
    assert [item["height"] for item in items] == list(range(1, len(items) + 1))
    assert len(items) == 7
    previous = bytes(32)
    for item in items:
        assert item["previous"] == previous.hex()
        previous = digest(previous, item["entry"])
        assert (item["sha256"], item["content"]) == (previous.hex(), json.loads(item["entry"]))
    assert client.get("/v1/audit").json()["head"]["sha256"] == previous.hex()
    request = client.get("/v1/deletion-requests").json()["items"][0]["id"]
    about = client.get("/v1/audit/entries", params={"about": request}).json()["items"]
    assert [item["content"]["event"] for item in about] == [
        *["deletion_request.moved"] * 3,
        "deletion_request.withdrawn",
    ]


def test_checkpoints_come_in_pages(client, log, keys):
    first = client.get("/v1/audit/checkpoints", params={"limit": 1}).json()
    rest = client.get("/v1/audit/checkpoints", params={"after": first["next"]}).json()
    assert [item["height"] for item in (*first["items"], *rest["items"])] == [5, 7]
    assert rest["next"] is None
    assert {item["key_id"] for item in rest["items"]} == set(keys)


def export(client):
    answer = client.get("/v1/audit/export")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/x-ndjson"
    return answer.content.decode().splitlines(keepends=True)


def test_an_export_is_whole_and_up_to_now(client, log, database, keys, tenant_id):
    """What was not chained or signed yet is so for this."""
    client.post("/v1/models", json={"name": "birds"})
    lines = export(client)
    report = verify(lines, keys)
    with database.read() as session:
        assert report.head == audit_log.head(session, tenant_id)
    assert (report.tenant_id, report.key_ids) == (tenant_id, tuple(keys))
    assert sum("model.registered" in line for line in lines) == 2
    verify(lines, keys, {report.head.height: report.head.sha256})
    for height, sha256 in ((2, bytes(32)), (99, report.head.sha256)):
        with pytest.raises(Broken, match="asked for"):
            verify(lines, keys, {height: sha256})


def test_no_byte_of_an_export_can_be_changed(client, log, keys):
    """Each in turn, by one bit."""
    whole = "".join(export(client)).encode()
    missed = []
    for at in range(len(whole)):
        changed = whole[:at] + bytes([whole[at] ^ 1 << at % 8]) + whole[at + 1 :]
        lines = changed.decode(errors="surrogateescape").split("\n")
        try:
            verify([f"{line}\n" for line in lines[:-1]] + [line for line in lines[-1:] if line], keys)
        except Broken:
            continue
        missed.append((at, whole[max(0, at - 20) : at + 20]))
    assert not missed


def test_no_line_of_an_export_can_be_removed_doubled_or_moved(client, log, keys):
    """Nor its end be cut off; only a checkpoint may be missing that a later one makes up for."""
    lines = export(client)
    earlier = next(at for at, line in enumerate(lines) if '"signature"' in line)
    for at, line in enumerate(lines):
        wrong = [lines[:at] + lines[at + 1 :]] if at != earlier else []
        wrong += [lines[:at] + lines[at + 1 : at + 2] + [line] + lines[at + 2 :]] if at + 1 < len(lines) else []
        wrong += [lines[: at + 1] + lines[at:]] if '"signature"' not in line else []
        for changed in wrong:
            with pytest.raises(Broken):
                verify(changed, keys)
    with pytest.raises(Broken, match="a key that was not given"):
        verify(lines, {})


def test_a_log_is_for_auditors_of_its_tenant(client, log, database):
    """Others see their own, which is empty, or nothing."""
    problem(client.get("/v1/audit/entries", params={"after": "-1"}), 422, "invalid-input", "#/after")
    client.signs_in(database, "evidence:read", tenant="other")
    assert client.get("/v1/audit").json()["head"]["height"] == 0
    assert client.get("/v1/audit/entries").json()["items"] == []
    client.signs_in(database, "requests:read", "models:read")
    for path in ("", "/entries", "/checkpoints", "/export"):
        problem(client.get(f"/v1/audit{path}"), 403, "scope-missing")
