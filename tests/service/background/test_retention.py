"""The images of a deletion request are nowhere as they are, and once it has ended nowhere at all, nor is their key."""

import io
import tempfile
import uuid
from datetime import timedelta

import numpy as np
import pytest
from PIL import Image
from sqlalchemy import select

from service.registry.crypto.master_key import MasterKey
from service.registry.deletion_requests import image_retention
from service.registry.operations import housekeeping
from service.registry.storage.artifacts import Artifacts
from service.registry.tables import Base, DeletionRequest
from tests.service.given import npz, problem
from tests.service.given_jobs import Jobs

PIXELS = np.random.default_rng(7).integers(0, 256, (24, 24, 3), np.uint8)


def png():
    file = io.BytesIO()
    Image.fromarray(PIXELS).save(file, "PNG")
    return file.getvalue()


#: In the forms that they are sent in: rows of pixels, and what PNG makes of them (which is noise, so no part recurs).
SENT = {"png": (png(), ["cat"]), "npz": (npz(images=PIXELS[None], labels=np.array([0])), None)}
TELLING = [PIXELS.tobytes()[at : at + 24] for at in range(0, PIXELS.size - 24, 24)] + [
    png()[at : at + 24] for at in range(64, len(png()) - 24, 24)
]


@pytest.fixture
def everywhere(settings, database, tmp_path, monkeypatch):
    """Everything that is stored: all columns, all files of the data folder and of that for temporary ones."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))

    def look():
        with database.read() as session:
            columns = [column for table in Base.metadata.sorted_tables for column in table.columns]
            values = [value for column in columns for value in session.scalars(select(column))]
        found = [value if isinstance(value, bytes) else str(value).encode() for value in values]
        files = [path for folder in (settings.data_dir, tmp_path) for path in folder.rglob("*") if path.is_file()]
        return b"\n".join(found + [path.read_bytes() for path in files] + [str(path).encode() for path in files])

    return look


def sweep(database, settings):
    housekeeping.sweep(database, Artifacts(settings.data_dir), settings)


def row(database, request_id):
    with database.read() as session:
        return session.get_one(DeletionRequest, uuid.UUID(request_id))


@pytest.mark.parametrize("form", SENT)
def test_images_are_kept_encrypted_and_die_with_their_key(client, database, settings, everywhere, form):
    """While the request waits neither they nor their key are to be seen; when it has ended neither is left."""
    client.model_with_version()
    content, labels = SENT[form]
    assert any(it in content for it in TELLING)
    request_id = client.deletion_request(content, labels=labels).json()["id"]
    waiting = row(database, request_id)
    key = MasterKey(settings).unwrap(waiting.samples_key, waiting.id)
    sealed = (settings.data_dir / waiting.samples).read_bytes()
    seen = everywhere()
    assert sealed in seen
    assert waiting.samples_key in seen
    assert not [it for it in (*TELLING, key, key.hex().encode()) if it in seen]

    jobs = Jobs(database)
    jobs.publish(jobs.claim())
    sweep(database, settings)

    over = row(database, request_id)
    assert (over.samples, over.samples_key) == (None, None)
    assert over.samples_destroyed_at is not None
    gone = [*TELLING, key, key.hex().encode(), waiting.samples_key, sealed[:64], waiting.samples.encode()]
    seen = everywhere()
    assert not [it for it in gone if it in seen]


def test_a_refused_upload_leaves_nothing(client, settings, everywhere):
    """The image before the one that is wrong was written already."""
    client.model_with_version()
    problem(client.deletion_request(png(), b"x"), 422, "invalid-input", "#/images/1")
    assert list((settings.data_dir / "staging").iterdir()) == []
    seen = everywhere()
    assert not [it for it in TELLING if it in seen]


def failed_for(database, days, request_id):
    jobs = Jobs(database)
    jobs.fail(jobs.claim())
    with database.write() as session:
        request = session.get_one(DeletionRequest, uuid.UUID(request_id))
        request.ended_at -= timedelta(days=days)


def test_a_failed_request_keeps_its_images_for_a_while(client, database, settings):
    """Then they are destroyed, and a retry says so; alone and among others."""
    client.model_with_version()
    accepted = client.deletion_request().json()
    failed_for(database, 29, accepted["id"])
    sweep(database, settings)
    assert client.post(f"{accepted['links']['self']}/retry").status_code == 202

    failed_for(database, 31, accepted["id"])
    sweep(database, settings)

    assert list((settings.data_dir / "samples").iterdir()) == []
    assert row(database, accepted["id"]).samples_key is None
    assert "retry" not in client.get(accepted["links"]["self"]).json()["links"]
    problem(client.post(f"{accepted['links']['self']}/retry"), 409, "images-destroyed")
    answer = client.post("/v1/deletion-requests/retry", json={"ids": [accepted["id"]]})
    assert answer.json()["items"][0]["outcome"] == "not-retriable"


def test_images_that_are_needed_again_stay(client, database, settings):
    """Somebody retries the request after the sweep has seen it failed."""
    client.model_with_version()
    accepted = client.deletion_request().json()
    failed_for(database, 31, accepted["id"])
    with database.read() as session:
        (doomed,) = image_retention.requests_with_expired_samples(session, settings)
    assert client.post(f"{accepted['links']['self']}/retry").status_code == 202
    with database.write() as session:
        assert image_retention.forget_samples(session, doomed, settings) is None
    assert row(database, accepted["id"]).samples_key is not None
