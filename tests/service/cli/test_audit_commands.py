"""The audit log from the command line: fetched from a service, and verified without one."""

import json
import os

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from service.cli.client import API_KEY
from service.registry.crypto.signing_keys import PublicKey


@pytest.fixture
def shown(server):
    """What the service shows of its log."""
    return httpx.get(f"{server}/v1/audit", headers={"Authorization": f"Bearer {os.environ[API_KEY]}"}).json()


@pytest.fixture
def exported(structguard, server, shown, tmp_path):
    """An export, and its public key."""
    file, pem = tmp_path / "audit.ndjson", tmp_path / "public.pem"
    pem.write_text(shown["keys"][0]["pem"])
    assert structguard("audit", "export", "-o", file, "--server", server).code == 0
    return file, pem


def test_an_export_is_verified_with_the_key_alone(structguard, shown, exported):
    """In words, and as a document; and with a head that was kept elsewhere."""
    file, pem = exported
    said = structguard("audit", "verify", file, "--key", pem)
    assert (said.code, "Whole" in said.out) == (0, True)
    document = structguard("audit", "verify", file, "--key", pem, "--json").document
    assert document["key_ids"] == [shown["keys"][0]["key_id"]]
    assert document["tenant"] == shown["tenant"]
    head = f"{document['entries']}:{document['head']}"
    assert structguard("audit", "verify", file, "--key", pem, "--head", head).code == 0
    assert (
        structguard("audit", "verify", file, "--key", pem, "--head", f"{document['entries'] + 1}:{'0' * 64}").code == 8
    )


def test_an_export_that_was_changed_or_is_of_another_key_is_not(structguard, exported, tmp_path):
    """And it says what is wrong, and where."""
    file, pem = exported
    other = tmp_path / "other.pem"
    other.write_text(PublicKey.of(Ed25519PrivateKey.generate().public_key()).pem)
    refused = structguard("audit", "verify", file, "--key", other)
    assert (refused.code, "a key that was not given" in refused.err) == (8, True)
    text = file.read_text()
    file.write_text(text.replace("api_key.created", "api_key.deleted"))
    refused = structguard("audit", "verify", file, "--key", pem, "--json")
    assert (refused.code, "not as it was written" in json.loads(refused.out)["detail"]) == (8, True)


def test_what_cannot_be_used_is_said(structguard, exported):
    """A key that is none, a head that is none."""
    file, pem = exported
    pem.write_text("no key")
    assert structguard("audit", "verify", file, "--key", pem).code == 1
    assert structguard("audit", "verify", file, "--key", pem, "--head", "7").code == 2
