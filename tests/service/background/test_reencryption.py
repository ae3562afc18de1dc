"""What earlier releases have stored as it was is encrypted when the service runs, and stays of use meanwhile."""

import base64

import pytest
from sqlalchemy import select, update

from service.registry.crypto.master_key import MasterKey
from service.registry.operations.reencryption import encrypt_plaintext
from service.registry.storage.artifacts import Artifacts
from service.registry.storage.database import clock
from service.registry.tables import Manifest, WebhookEndpoint
from service.registry.training_data import manifest_files, manifests
from service.registry.webhooks import endpoints
from tests.service.given import problem, row

PLAIN = {"secret": bytes(range(32)), "previous_secret": bytes(range(1, 33)), "private_key": bytes(range(2, 34))}


@pytest.fixture
def hook(client):
    answer = client.post("/v1/webhooks", json={"url": "https://93.184.216.34/hook", "events": []})
    assert answer.status_code == 201, answer.text
    return answer.json()


def endpoint(database):
    with database.read() as session:
        return session.scalars(select(WebhookEndpoint)).one()


def test_a_secret_is_stored_wrapped(client, database, settings, hook):
    """The master key opens it, for this webhook only."""
    secret = base64.b64decode(hook["secret"].removeprefix("whsec_"))
    row = endpoint(database)
    assert secret not in row.secret + row.private_key
    assert endpoints.unwrap_key(row.secret, row.id, MasterKey(settings)) == secret
    rotated = client.post(f"/v1/webhooks/{hook['id']}/rotate-secret").json()
    row = endpoint(database)
    assert endpoints.unwrap_key(row.previous_secret, row.id, MasterKey(settings)) == secret
    assert base64.b64decode(rotated["secret"].removeprefix("whsec_")) not in row.secret


def test_secrets_of_an_earlier_release_work_and_are_wrapped(client, database, settings, hook):
    with database.write() as session:
        session.execute(update(WebhookEndpoint).values(**PLAIN, previous_secret_until=clock(session)))
    before = client.get(f"/v1/webhooks/{hook['id']}").json()["public_key"]
    for _ in range(2):
        encrypt_plaintext(database, Artifacts(settings.data_dir), MasterKey(settings))
    row = endpoint(database)
    for name, plain in PLAIN.items():
        assert plain not in getattr(row, name)
        assert endpoints.unwrap_key(getattr(row, name), row.id, MasterKey(settings)) == plain
    assert client.get(f"/v1/webhooks/{hook['id']}").json()["public_key"] == before


def test_a_secret_under_another_master_key_is_said_to_be_unreadable(client, database, hook, tmp_path, settings):
    """It is no mistake of the service, and nothing is changed."""
    other = MasterKey(settings.model_copy(update={"data_dir": tmp_path / "other"}))
    with database.write() as session:
        session.execute(update(WebhookEndpoint).values(private_key=other.wrap(bytes(32), endpoint(database).id)))
    problem(client.get(f"/v1/webhooks/{hook['id']}"), 503, "unavailable")


def opened(database, settings):
    """The URIs of the one manifest, and its file."""
    with database.read() as session:
        manifest = session.scalars(select(Manifest)).one()
    artifacts = Artifacts(settings.data_dir)
    file = manifests.open_uris(manifest, artifacts, MasterKey(settings))
    return manifest_files.read_uris(file, {0, 1}), artifacts.path(manifest.uris)


def test_uris_of_an_earlier_release_are_read_and_encrypted(client, database, settings):
    """In a new file; the plain one is gone."""
    client.model_with_version()
    client.manifest(row("1"), row("2"))
    uris = {0: "s3://photographs/1.png", 1: "s3://photographs/2.png"}
    plain = settings.data_dir / "manifests" / "plain"
    plain.write_text("".join(f"{uri}\n" for uri in uris.values()))
    with database.write() as session:
        session.execute(update(Manifest).values(uris="manifests/plain", uris_key=None))
    assert opened(database, settings) == (uris, plain)
    for _ in range(2):
        encrypt_plaintext(database, Artifacts(settings.data_dir), MasterKey(settings))
    found, file = opened(database, settings)
    assert found == uris
    assert b"photographs" not in file.read_bytes()
    assert not plain.exists()


def test_a_plain_file_outlives_a_process_that_dies_while_it_is_encrypted(client, database, settings, monkeypatch):
    """Before the COMMIT: the row names the plain one, and the next turn does it again."""
    client.model_with_version()
    client.manifest(row("1"), row("2"))
    plain = settings.data_dir / "manifests" / "plain"
    plain.write_text("s3://a/1\ns3://a/2\n")
    with database.write() as session:
        session.execute(update(Manifest).values(uris="manifests/plain", uris_key=None))

    def killed(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(manifests, "replace_uris", killed)
        with pytest.raises(KeyboardInterrupt):
            encrypt_plaintext(database, Artifacts(settings.data_dir), MasterKey(settings))
    assert opened(database, settings)[1] == plain
    encrypt_plaintext(database, Artifacts(settings.data_dir), MasterKey(settings))
    assert opened(database, settings)[0] == {0: "s3://a/1", 1: "s3://a/2"}
