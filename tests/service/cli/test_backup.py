"""What `structguard backup` writes, and what `structguard restore` makes of it, and of what is no backup."""

import hashlib
import io
import json
import os
import subprocess
import sys
import tarfile
from contextlib import closing

import pytest
from sqlalchemy import select, text, update

from service.cli.backup import restoring, taking
from service.cli.backup.archive import MANIFEST, Writer
from service.registry.crypto.encrypted_files import EncryptedWriter
from service.registry.crypto.master_key import MasterKey
from service.registry.errors import RegistryError
from service.registry.images import archive
from service.registry.models import models
from service.registry.settings import RegistrySettings
from service.registry.states import State
from service.registry.storage.artifacts import Artifacts
from service.registry.storage.database import Database
from service.registry.tables import DeletionRequest, Version
from tests.service.registry import given_rows

PIXELS = b"these are somebody's pixels" * 10


@pytest.fixture
def installation(sqlite, tmp_path):
    """Settings of a data folder with a version, a signing key, a log, and a request that waits."""
    settings = RegistrySettings(data_dir=tmp_path)
    for name, content in (("checkpoints/x", b"weights"), ("opendsr/localhost.pem", b"key"), ("logs/service.log", b"-")):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_bytes(content)
    with sqlite.write() as session:
        given_rows.model_with_version(session)
        session.execute(update(Version).values(sha256=hashlib.sha256(b"weights").hexdigest()))
    add_request(sqlite, settings)
    return settings


@pytest.fixture
def elsewhere(tmp_path_factory):
    return tmp_path_factory.mktemp("elsewhere")


def add_request(database, settings, *, encrypted=True):
    """A request that waits, and its images."""
    with database.write() as session:
        request = given_rows.request(session, models.find_model(session, given_rows.tenant(session), "pets"))
        file = settings.data_dir / request.samples
        file.parent.mkdir(exist_ok=True)
        if encrypted:
            with EncryptedWriter(file) as writer:
                writer.write(PIXELS)
            request.samples_key = MasterKey(settings).wrap(writer.key, request.id)
        else:
            file.write_bytes(PIXELS)
        return request


@pytest.fixture
def backup(structguard, elsewhere, installation):
    """Makes a backup; its file, and what was said of it."""

    def run(*options):
        file = elsewhere / f"{len(list(elsewhere.iterdir()))}.tar"
        ran = structguard("backup", file, "--data", installation.data_dir, "--json", *options)
        assert ran.code == 0, ran.err
        return file, ran.document

    return run


def contents(file):
    with tarfile.open(file) as tar:
        return {member.name: tar.extractfile(member).read() for member in tar}


def requests_in(folder):
    with closing(Database(f"sqlite:///{folder / 'registry.sqlite'}")) as database, database.read() as session:
        return session.scalars(select(DeletionRequest)).all()


def opened(request, settings):
    """The images of a request, decrypted."""
    with archive.open_images(request, settings.data_dir / request.samples, settings) as file:
        return file.read()


def test_what_was_backed_up_comes_back(structguard, backup, installation, elsewhere):
    """Rows, files, keys that others know us by, and images, which the master key opens."""
    file, summary = backup()
    key = installation.data_dir / "master.key"
    assert (summary["images"], summary["images_left_out"], summary["missing"], summary["altered"]) == (1, 0, [], [])
    assert file.stat().st_mode & 0o077 == 0

    ran = structguard("restore", file, "--data", elsewhere / "new", "--master-key", key, "--json")

    assert (ran.code, ran.document["waiting"], ran.document["sealed"]) == (0, 1, 1), ran.err
    restored = RegistrySettings(data_dir=elsewhere / "new")
    (request,) = requests_in(restored.data_dir)
    assert opened(request, restored) == PIXELS
    assert (restored.data_dir / "checkpoints/x").read_bytes() == b"weights"
    assert (restored.data_dir / "opendsr/localhost.pem").read_bytes() == b"key"
    assert (restored.data_dir / "master.key").stat().st_mode & 0o777 == 0o600
    assert not (restored.data_dir / "logs").exists()
    assert [path.name for path in (installation.data_dir / "staging").iterdir()] == []


def test_a_backup_opens_no_image_by_itself(structguard, backup, installation, elsewhere):
    """The master key is not in it, under whatever name; restored without, it says what to do."""
    key = installation.data_dir / "master.key"
    secret = key.read_bytes().strip()
    (installation.data_dir / "master.key.0123").write_bytes(secret)  # as a process leaves it that is killed
    file, _ = backup()
    assert not any(secret in content or PIXELS[:27] in content for content in contents(file).values())

    ran = structguard("restore", file, "--data", elsewhere / "new")
    assert ran.code == 0
    assert "1 requests wait" in ran.out
    assert "first put the master key" in ran.out
    restored = RegistrySettings(data_dir=elsewhere / "new")
    (request,) = requests_in(restored.data_dir)
    with pytest.raises(RegistryError):
        opened(request, restored)


def test_a_master_key_of_another_name_is_left_out_too(structguard, installation, elsewhere, monkeypatch):
    key = (installation.data_dir / "master.key").rename(installation.data_dir / "wrapping")
    monkeypatch.setenv("STRUCTGUARD_MASTER_KEY_FILE", str(key))
    assert structguard("backup", elsewhere / "a.tar", "--data", installation.data_dir).code == 0
    assert "wrapping" not in contents(elsewhere / "a.tar")


def test_images_stay_behind_when_asked_to_and_their_keys_with_them(structguard, backup, installation, elsewhere):
    """A request that waited then fails, and says that it has no images."""
    (request,) = requests_in(installation.data_dir)
    assert request.samples_key in contents(backup()[0])["registry.sqlite"]
    file, summary = backup("--no-images")
    assert (summary["images"], summary["images_left_out"]) == (0, 1)
    assert not any(name.startswith("samples/") for name in contents(file))
    assert request.samples_key not in contents(file)["registry.sqlite"]

    structguard("restore", file, "--data", elsewhere / "new")
    restored = RegistrySettings(data_dir=elsewhere / "new")
    (request,) = requests_in(restored.data_dir)
    with pytest.raises(archive.ImagesMissing):
        opened(request, restored)


def test_images_that_lie_open_are_not_copied(sqlite, backup, installation):
    """An earlier release has stored them so."""
    add_request(sqlite, installation, encrypted=False)
    file, summary = backup()
    assert (summary["images"], summary["images_left_out"]) == (1, 1)
    assert not any(PIXELS in content for content in contents(file).values())


def test_images_that_were_destroyed_are_not_in_it(sqlite, backup, installation):
    """Nor are files that no row names any more."""
    (request,) = requests_in(installation.data_dir)
    with sqlite.write() as session:
        session.execute(update(DeletionRequest).values(state=State.COMPLETED, samples=None, samples_key=None))
    file, summary = backup()
    assert summary["images"] == 0
    assert request.samples_key not in contents(file)["registry.sqlite"]
    assert request.samples not in contents(file)


def test_images_that_go_while_it_begins_are_done_without(sqlite, backup, installation, monkeypatch):
    """Their request has ended: the snapshot is taken again, and says so, too."""
    doomed = add_request(sqlite, installation)
    link, ended = os.link, []

    def slow(source, target):
        if not ended:
            ended.append(doomed)
            Artifacts(installation.data_dir).delete(doomed.samples)
            with sqlite.write() as session:
                row = session.get_one(DeletionRequest, doomed.id)
                row.state, row.samples, row.samples_key = State.COMPLETED, None, None
        link(source, target)

    monkeypatch.setattr(taking.os, "link", slow)
    file, summary = backup()
    assert (summary["images"], summary["images_left_out"]) == (1, 0)
    assert doomed.samples_key not in contents(file)["registry.sqlite"]


def test_what_is_missing_or_altered_is_said_and_the_rest_is_saved(sqlite, structguard, backup, installation, elsewhere):
    """When the backup is made, and when it is restored."""
    (installation.data_dir / "checkpoints/x").write_bytes(b"rotten!")
    assert backup()[1]["altered"] == ["checkpoints/x"]
    (installation.data_dir / "checkpoints/x").unlink()
    file, summary = backup()
    assert (summary["missing"], summary["altered"]) == (["checkpoints/x"], [])
    assert (
        "Missing when the backup was made: checkpoints/x" in structguard("restore", file, "--data", elsewhere / "n").out
    )


def test_it_goes_through_a_pipe(installation, elsewhere):
    """From one machine to another, or through a program that encrypts."""
    command = [sys.executable, "-m", "service.cli"]
    made = subprocess.run([*command, "backup", "-", "--data", installation.data_dir], capture_output=True, check=True)
    assert b"The master key is not in it" in made.stderr
    restored = [*command, "restore", "-", "--data", elsewhere / "new", "--json"]
    done = subprocess.run(restored, input=made.stdout, capture_output=True, check=True)
    assert json.loads(done.stdout)["waiting"] == 1


@pytest.mark.parametrize(
    ("damage", "complaint"),
    [
        (lambda whole: whole[:700], "cannot be read to its end"),
        (lambda whole: whole[: len(whole) // 2], "cannot be read to its end"),
        (lambda _: b"", "cannot be read to its end"),
        (lambda _: b"PK\3\4" + bytes(5000), "cannot be read to its end"),
        (lambda whole: whole.replace(b"weights", b"weighty"), "missing or altered, among them checkpoints/x"),
        (lambda whole: whole.replace(b'"format": 1', b'"format": 2'), "A newer release has made this backup"),
    ],
    ids=["cut in the first file", "cut in half", "empty", "something else", "altered", "newer"],
)
def test_what_is_no_whole_backup_is_refused_and_nothing_stays(structguard, backup, elsewhere, damage, complaint):
    file, _ = backup()
    file.write_bytes(damage(file.read_bytes()))
    before = sorted(elsewhere.rglob("*"))
    ran = structguard("restore", file, "--data", elsewhere / "new")
    assert ran.code == 1
    assert complaint in ran.err
    assert sorted(elsewhere.rglob("*")) == before


@pytest.mark.parametrize("kind", ["no end", "outside", "absolute", "a link", "a file more", "no database"])
def test_an_archive_that_somebody_made_up_is_refused(structguard, elsewhere, kind):
    with (elsewhere / "made-up.tar").open("wb") as target:
        writer = Writer(target)
        (elsewhere / "file").write_bytes(b"content")
        writer.add({"outside": "../file", "absolute": "/tmp/file"}.get(kind, "checkpoints/y"), elsewhere / "file")
        if kind == "a file more":
            writer.files.clear()
        if kind == "a link":
            link = tarfile.TarInfo("checkpoints/z")
            link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
            writer._tar.addfile(link)
        if kind == "no end":
            writer._tar.close()
        else:
            writer.close({})
    before = sorted(elsewhere.rglob("*"))
    ran = structguard("restore", elsewhere / "made-up.tar", "--data", elsewhere / "new")
    assert ran.code == 1
    assert "This is no whole backup." in ran.err
    assert sorted(elsewhere.rglob("*")) == before


def test_a_folder_that_holds_something_is_not_touched(structguard, backup, elsewhere):
    """Nor is a mount point; an empty folder will do, and keeps its mode."""
    file, _ = backup()
    (elsewhere / "used").mkdir()
    (elsewhere / "used" / "registry.sqlite").write_bytes(b"precious")
    ran = structguard("restore", file, "--data", elsewhere / "used")
    assert ran.code == 1
    assert "is not empty" in ran.err
    assert (elsewhere / "used" / "registry.sqlite").read_bytes() == b"precious"
    assert "is a mount point" in structguard("restore", file, "--data", "/proc").err
    (elsewhere / "empty").mkdir(mode=0o750)
    assert structguard("restore", file, "--data", elsewhere / "empty").code == 0
    assert (elsewhere / "empty").stat().st_mode & 0o777 == 0o750


def test_a_restore_that_breaks_off_leaves_nothing(structguard, backup, elsewhere, monkeypatch):
    file, _ = backup()

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(restoring, "flush", full)
    before = sorted(elsewhere.rglob("*"))
    ran = structguard("restore", file, "--data", elsewhere / "new")
    assert (ran.code, "No space left on device" in ran.err) == (1, True)
    assert sorted(elsewhere.rglob("*")) == before


def test_a_key_that_is_none_is_refused(structguard, backup, elsewhere):
    file, _ = backup()
    (elsewhere / "key").write_text("sesame")
    ran = structguard("restore", file, "--data", elsewhere / "new", "--master-key", elsewhere / "key")
    assert (ran.code, "is no master key" in ran.err) == (1, True)
    assert not (elsewhere / "new").exists()


def test_tables_of_a_newer_release_are_not_restored(sqlite, structguard, backup, elsewhere):
    """This one could not read them."""
    with sqlite.write() as session:
        session.execute(text("UPDATE alembic_version SET version_num = 'future'"))
    file, _ = backup()
    ran = structguard("restore", file, "--data", elsewhere / "new")
    assert (ran.code, "A newer release" in ran.err) == (1, True)


def test_a_backup_is_never_half_there_and_never_written_over(structguard, installation, elsewhere, monkeypatch):
    (elsewhere / "old.tar").write_bytes(b"precious")
    assert "is there already" in structguard("backup", elsewhere / "old.tar", "--data", installation.data_dir).err
    assert (elsewhere / "old.tar").read_bytes() == b"precious"

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Writer, "close", full)
    ran = structguard("backup", elsewhere / "new.tar", "--data", installation.data_dir)
    assert (ran.code, "No space left on device" in ran.err) == (1, True)
    assert [path.name for path in elsewhere.iterdir()] == ["old.tar"]
    assert list((installation.data_dir / "staging").iterdir()) == []


def test_an_installation_with_a_server_is_backed_up_otherwise(structguard, elsewhere, monkeypatch):
    monkeypatch.setenv("STRUCTGUARD_DATABASE_URL", "postgresql+psycopg://localhost/x")
    for command in (["backup", elsewhere / "new.tar"], ["restore", io.__file__]):
        ran = structguard(*command, "--data", elsewhere / "data")
        assert (ran.code, "embedded" in ran.err) == (1, True)
    monkeypatch.delenv("STRUCTGUARD_DATABASE_URL")
    assert (
        "There is nothing to back up" in structguard("backup", elsewhere / "new.tar", "--data", elsewhere / "data").err
    )
    assert list(elsewhere.iterdir()) == []


def test_the_manifest_says_what_every_file_is(backup):
    file, summary = backup()
    files = contents(file)
    manifest = json.loads(files.pop(MANIFEST))
    assert manifest["files"].keys() == files.keys()
    for name, content in files.items():
        assert manifest["files"][name] == {"sha256": hashlib.sha256(content).hexdigest(), "size": len(content)}
    assert summary["bytes"] == sum(map(len, files.values()))
