"""API keys from the command line, made where the database is."""

import httpx2
import pytest

from service.cli.stack import first_key, migrate
from service.registry.settings import RegistrySettings


@pytest.fixture
def data(tmp_path, monkeypatch):
    """A migrated embedded database that the environment names."""
    migrate(RegistrySettings(data_dir=tmp_path))
    monkeypatch.setenv("STRUCTGUARD_DATA_DIR", str(tmp_path))
    return tmp_path


def test_a_key_is_made_shown_once_listed_and_revoked(structguard, data):
    """The list has no secret; the key alone is printed, so that a shell can take it."""
    made = structguard("keys", "create", "ci", "--scope", "models:read", "--days", "30", "--json").document
    assert (made["scopes"], made["tenant"]) == (["models:read"], "default")
    plain = structguard("keys", "create", "other")
    assert plain.out.strip().startswith("sg_")
    listed = structguard("keys", "list", "--json")
    assert [item["name"] for item in listed.document["items"]] == ["other", "ci"]
    assert made["key"] not in listed.out
    assert "ci" in structguard("keys", "list").out
    assert structguard("keys", "revoke", made["id"]).code == 0
    (revoked,) = (i for i in structguard("keys", "list", "--json").document["items"] if i["id"] == made["id"])
    assert revoked["revoked_at"] is not None


def test_what_cannot_be_done_is_said(structguard, data, tmp_path, monkeypatch):
    """An unknown tenant, an unknown key, a database that nobody has prepared."""
    assert "no tenant" in structguard("keys", "list", "--tenant", "nobody").err
    structguard("keys", "create", "ci")
    refused = structguard("keys", "revoke", "6f1c8a0e-7c39-4d0b-9a75-0a4b5d6e7f80")
    assert (refused.code, "no API key" in refused.err) == (1, True)
    monkeypatch.setenv("STRUCTGUARD_DATA_DIR", str(tmp_path / "new"))
    (tmp_path / "new").mkdir()
    assert "structguard migrate" in structguard("keys", "list").err


def test_the_first_key_is_made_once(data):
    """Where there is any, `up` makes no other."""
    settings = RegistrySettings(data_dir=data)
    assert first_key(settings).startswith("sg_")
    assert first_key(settings) is None


def test_commands_send_the_key_of_the_environment(structguard, server, monkeypatch):
    """Without it they are refused, with what to do."""
    assert structguard("status", "--server", server).code == 0
    monkeypatch.delenv("STRUCTGUARD_API_KEY")
    refused = structguard("status", "--server", server)
    assert refused.code == 3
    assert "Nobody knows who is calling." in refused.err
    assert httpx2.get(f"{server}/livez").status_code == 200
