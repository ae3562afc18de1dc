"""Commands that read an installation, where there is none."""

import os

import pytest

from service.cli.stack import first_key, migrate
from service.registry.crypto import signing_keys
from service.registry.settings import RegistrySettings

READING = (
    "signing-keys list",
    "signing-keys export --output controller.pem",
    "keys list",
    "recompute certificate.json",
    "backup backup.tar",
)
CHANGING = (
    "signing-keys rotate",
    "keys create ci",
    "keys revoke 6f1c8a0e-7c39-4d0b-9a75-0a4b5d6e7f80",
    "rewrap certificate.json",
)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The current folder, with one file in it."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "certificate.json").write_text("{}")
    return tmp_path


def below(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))


@pytest.mark.parametrize("is_there", [False, True])
@pytest.mark.parametrize("command", READING + CHANGING)
def test_where_there_is_nothing_nothing_is_made(structguard, folder, command, is_there):
    """It fails, names the folder in which it looked, and says how to name another."""
    if is_there:
        (folder / "data").mkdir()
    before = below(folder)
    for data, arguments in ((".structguard", ()), ("data", ("--data", "data"))):
        ran = structguard(*command.split(), *arguments)
        assert (ran.code, ran.out) == (1, "")
        words = "".join(ran.err.split())  # lines are broken anywhere
        assert str(folder / data) in words
        assert "--data" in words
        assert below(folder) == before


def test_doctor_makes_no_folder(structguard, folder):
    """In one that is there it tries whether files can be written."""
    before = below(folder)
    assert structguard("doctor").code == structguard("doctor", "--data", "data").code == 9
    assert below(folder) == before


def test_keys_are_listed_without_a_master_key(structguard, folder):
    """Only the service, and whoever changes something, needs one."""
    settings = RegistrySettings(data_dir=folder / "data")
    migrate(settings)
    first_key(settings)
    (folder / "data" / "master.key").unlink()
    before = below(folder)
    assert structguard("keys", "list", "--data", "data").code == 0
    assert below(folder) == before


def test_the_data_folder_is_named(structguard, folder):
    """As `up --data` was given it: the exported key is the one that signs there, and the API key is made there."""
    settings = RegistrySettings(data_dir=folder / "data")
    assert structguard("migrate", "--data", "data").code == 0
    signer = signing_keys.signer(settings)
    assert structguard("signing-keys", "export", "-o", "controller.pem", "--data", "data").code == 0
    assert (folder / "controller.pem").read_text() == signer.public.pem
    successor = structguard("signing-keys", "rotate", "--data", "data", "--json").document["id"]
    listed = structguard("signing-keys", "list", "--data", "data", "--json").document["items"]
    assert [key["id"] for key in listed] == [successor, signer.key_id]
    key_id = structguard("keys", "create", "ci", "--data", "data", "--json").document["id"]
    assert structguard("keys", "revoke", key_id, "--data", "data").code == 0
    assert structguard("rewrap", folder / "data" / "master.key", "--data", "data").code == 0
    assert not (folder / ".structguard").exists()


def test_a_key_of_the_settings_is_exported_and_nothing_else_is_made(structguard, folder, monkeypatch):
    """A configured key is not made, and needs no data folder."""
    signer = signing_keys.signer(RegistrySettings(data_dir=folder / "data"))
    monkeypatch.setenv("STRUCTGUARD_SIGNING_KEY_FILE", os.fspath(folder / "data" / "signing" / "private.pem"))
    assert structguard("signing-keys", "export").out == signer.public.pem
    assert not (folder / ".structguard").exists()
