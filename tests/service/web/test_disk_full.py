"""No room: whoever sent something is told so, and nothing of it stays. `/dev/full` is a disk that always is."""

import os
import tempfile
import uuid
from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import Engine, event, text
from sqlalchemy.exc import OperationalError

from service.registry.storage.disk_full import is_disk_full
from tests.service.given import CLASSES, VERSION, archive, checkpoint, csv_of, images, npz, png, problem, row, running

PIXELS = npz(images=np.zeros((1, 4, 4), np.uint8), labels=np.array([0]))
UPLOADS = {
    "a checkpoint": ("/v1/models/pets/versions", VERSION, {"checkpoint": checkpoint()}),
    "an evaluation set": ("/v1/models/pets/evaluation-sets", {"name": "t", "kind": "test"}, images(PIXELS)),
    "images": ("/v1/deletion-requests", {"model": "pets", "labels": ["cat"]}, images(png())),
    "a zip": ("/v1/deletion-requests", {"model": "pets"}, images(archive({"cat/1.png": png()}))),
    "an npz": ("/v1/deletion-requests", {"model": "pets"}, images(PIXELS)),
    "anchors": ("/v1/anchor-sets", {"classes": CLASSES}, {"anchors": npz(emb=np.eye(3), names=np.array(CLASSES))}),
    "a manifest": ("/v1/models/pets/versions/1/manifests", {"name": "m"}, {"manifest": csv_of(row("a"))}),
}


@pytest.fixture
def full_store(client, monkeypatch):
    """The artifact store has no room left once there is a model."""
    client.model_with_version()

    def mkstemp(**where):
        path = where["dir"] / uuid.uuid4().hex
        path.symlink_to("/dev/full")
        return os.open(path, os.O_WRONLY), str(path)

    monkeypatch.setattr(tempfile, "mkstemp", mkstemp)


@pytest.fixture
def temporary_files_are(monkeypatch):
    """Have every file of a form written to this place."""

    def choose(path):
        monkeypatch.setattr("starlette.formparsers.MultiPartParser.spool_max_size", 1)
        monkeypatch.setattr(tempfile, "TemporaryFile", lambda *_, **__: path.open("r+b", buffering=0))

    return choose


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # what zipfile leaves half-written
@pytest.mark.parametrize("case", UPLOADS)
def test_an_upload_that_cannot_be_kept_is_a_507(client, full_store, kept, case):
    """Whatever it is, and however it is unpacked: a full disk is no damaged archive."""
    before = kept()
    problem(client.upload(*UPLOADS[case]), 507, "storage-full")
    assert kept() == before


def test_a_full_store_is_not_ready(client, full_store):
    """The probe writes to it."""
    assert problem(client.get("/readyz"), 503, "unavailable")["checks"]["artifacts"] == "failed"


def test_an_upload_that_cannot_be_received_is_a_507(client, kept, temporary_files_are):
    """Large files wait in temporary ones; the caller has made no mistake if there is no room for them."""
    client.model_with_version()
    before = kept()
    temporary_files_are(Path("/dev/full"))
    for upload in UPLOADS.values():
        problem(client.upload(*upload), 507, "storage-full")
    assert kept() == before


def test_another_error_of_the_disk_stays_a_mistake_of_ours(client, settings, temporary_files_are):
    """500, and not the 400 that the framework makes of it."""
    client.model_with_version()
    temporary_files_are(settings.data_dir / "missing" / "file")
    problem(client.version(), 500, "internal-error")


def test_a_full_sqlite_can_be_read_and_says_so(client, settings, kept):
    """503: what is there is answered, and of what cannot be written nothing stays, not even its images."""
    if "sqlite" not in settings.resolved_database_url():
        return
    client.model_with_version()

    def limit(connection, _):
        (pages,) = connection.execute("PRAGMA page_count").fetchone()
        connection.execute(f"PRAGMA max_page_count={pages}")

    event.listen(Engine, "connect", limit)
    try:
        with running(settings, client) as full:
            while (answer := full.deletion_request()).status_code == 202:
                before = kept()
    finally:
        event.remove(Engine, "connect", limit)
    assert problem(answer, 503, "unavailable")["detail"] == "The database has no room left."
    assert answer.headers["retry-after"] == "5"
    assert kept() == before
    page = client.get("/v1/deletion-requests?limit=100").json()["items"]
    assert len(page) == min(100, before[0]["deletion_requests"])


def test_a_full_postgresql_is_recognised(postgresql):
    """By its code; an error of another kind is not."""
    raised = "DO $$ BEGIN RAISE EXCEPTION USING ERRCODE = '{}'; END $$"
    for code, is_full in (("53100", True), ("53200", False)):
        with pytest.raises(OperationalError) as error, postgresql.write() as session:
            session.execute(text(raised.format(code)))
        assert is_disk_full(error.value) is is_full
