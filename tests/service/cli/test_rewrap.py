"""Changing the master key, where the database is."""

import json
import secrets

import pytest

from service.cli.stack import migrate
from service.registry.access import api_keys
from service.registry.audit import audit_log
from service.registry.crypto.master_key import MasterKey, OtherMasterKey
from service.registry.settings import RegistrySettings
from service.registry.storage.database import Database
from service.registry.tables import DeletionRequest
from service.registry.webhooks import endpoints
from tests.service.registry import given_rows


@pytest.fixture
def registry(tmp_path, monkeypatch):
    """A migrated database whose settings the environment has, and the settings."""
    settings = RegistrySettings(data_dir=tmp_path / "data")
    settings.data_dir.mkdir()
    migrate(settings)
    monkeypatch.setenv("STRUCTGUARD_DATA_DIR", str(settings.data_dir))
    database = Database.of(settings)
    yield database, settings
    database.close()


def test_what_the_old_key_opened_the_new_one_opens(structguard, registry, tmp_path, monkeypatch):
    """And the old one no longer does."""
    database, settings = registry
    old, key, file = MasterKey(settings), secrets.token_bytes(32), tmp_path / "new.key"
    file.write_text(secrets.token_hex(32))
    with database.write() as session:
        tenant = api_keys.ensure_tenant(session, "acme")
        hook = endpoints.create(session, tenant.id, old, url="https://x.example", events=[], description="")
        secret = endpoints.unwrap_key(hook.secret, hook.id, old)
        model = given_rows.model_with_version(session)
        request = given_rows.request(session, model)
        request.samples_key = old.wrap(key, request.id)
    monkeypatch.setenv("STRUCTGUARD_MASTER_KEY_FILE", str(file))
    ran = structguard("rewrap", settings.data_dir / "master.key", "--json")
    assert (ran.code, ran.document) == (0, {"rewrapped": 3})
    new = MasterKey(settings.model_copy(update={"master_key_file": file}))
    with database.read() as session:
        hook = endpoints.find(session, tenant.id, hook.id)
        request = session.get_one(DeletionRequest, request.id)
        assert endpoints.unwrap_key(hook.secret, hook.id, new) == secret
        assert new.unwrap(request.samples_key, request.id) == key
        with pytest.raises(OtherMasterKey):
            endpoints.unwrap_key(hook.private_key, hook.id, old)
        # Rows with a MAC of the old key are chained into the audit log before that key is gone.
        entries = [json.loads(link.entry) for link in audit_log.entries(session, tenant.id, 1)]
        assert [entry["as_written"] for entry in entries] == [True] * 5
        assert audit_log.unchained_tenants(session) == []


def test_nothing_is_changed_when_something_is_of_a_third_key(structguard, registry, tmp_path):
    """All of it or nothing."""
    database, settings = registry
    old, other = MasterKey(settings), tmp_path / "other.key"
    other.write_text(secrets.token_hex(32))
    with database.write() as session:
        tenant = api_keys.ensure_tenant(session, "acme")
        hook = endpoints.create(session, tenant.id, old, url="https://x.example", events=[], description="")
    assert "not the master key" in structguard("rewrap", other).err
    with database.read() as session:
        assert endpoints.unwrap_key(endpoints.find(session, tenant.id, hook.id).secret, hook.id, old)
    other.write_text("no key")
    assert structguard("rewrap", other).code == 1
