"""What the tests send."""

import csv
import io
import json
import time
import zipfile
from contextlib import contextmanager
from datetime import timedelta

import numpy as np
from fastapi.testclient import TestClient
from PIL import Image
from safetensors.numpy import save

from service.app import create_app
from service.registry.access import api_keys
from service.registry.access.scopes import Scope
from service.registry.models.architectures import Architecture, expected_tensors

CLASSES = ["cat", "dog", "bird"]
PREPROCESSING = {"size": [32, 32], "mean": [0.5, 0.5, 0.5], "std": [0.25, 0.25, 0.25]}
VERSION = {"architecture": {"name": "cifar_resnet8"}, "classes": CLASSES, "preprocessing": PREPROCESSING}
UNKNOWN = "6f1c8a0e-7c39-4d0b-9a75-0a4b5d6e7f80"


def tensors():
    """The weights of a CIFAR ResNet-8 for three classes, all zero."""
    expected = expected_tensors(Architecture(name="cifar_resnet8"), num_classes=3, image_size=(32, 32))
    return {name: np.zeros(want.shape, np.int64 if want.integer else np.float32) for name, want in expected.items()}


def checkpoint(**changed):
    return save(tensors() | changed)


def png(shade=0, size=(8, 8)):
    file = io.BytesIO()
    Image.new("RGB", size, (shade, shade, shade)).save(file, "PNG")
    return file.getvalue()


def archive(members):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as target:
        for name, content in members.items():
            target.writestr(name, content)
    return file.getvalue()


def npz(**arrays):
    file = io.BytesIO()
    np.savez(file, **arrays)
    return file.getvalue()


def images(*contents):
    return [("images", ("image", content)) for content in contents]


def key(database, *scopes, tenant="acme", **more):
    """A new API key."""
    with database.write() as session:
        owner = api_keys.ensure_tenant(session, tenant)
        given = {"name": "test", "scopes": scopes or [Scope.ADMIN], "expires_at": None} | more
        return api_keys.create_key(session, owner.id, **given)[1]


class Client:
    """The HTTP client, and what most tests begin with."""

    def __init__(self, http):
        self.http = http
        self.get, self.head, self.put, self.post, self.delete = http.get, http.head, http.put, http.post, http.delete
        self.patch = http.patch

    def signs_in(self, database, *scopes, tenant="acme"):
        """Go on with a new key; without scopes one that may do everything."""
        self.http.headers["Authorization"] = f"Bearer {key(database, *scopes, tenant=tenant)}"

    def upload(self, path, metadata, files):
        text = metadata if isinstance(metadata, str | bytes) else json.dumps(metadata)
        return self.http.post(path, data={"metadata": text}, files=files)

    def model(self, name="pets"):
        return self.post("/v1/models", json={"name": name})

    def version(self, name="pets", files=None, **metadata):
        return self.upload(f"/v1/models/{name}/versions", VERSION | metadata, files or {"checkpoint": checkpoint()})

    def model_with_version(self, name="pets"):
        assert self.model(name).status_code == 201
        answer = self.version(name)
        assert answer.status_code == 201
        return answer.json()

    def manifest(self, *rows, version="pets/versions/1", name="training", content=None):
        files = {"manifest": csv_of(*rows) if content is None else content}
        return self.upload(f"/v1/models/{version}/manifests", {"name": name}, files)

    def forget(self, **given):
        """A deletion request as plain JSON."""
        return self.post("/v1/deletion-requests", json={"model": "pets"} | given)

    def deletion_request(self, *contents, **metadata):
        contents = contents or (png(1), png(2))
        return self.upload(
            "/v1/deletion-requests", {"model": "pets", "labels": ["cat", 1]} | metadata, images(*contents)
        )


@contextmanager
def running(settings, client, **changed):
    """Another process of the service, which may call back to this machine."""
    changed = {"webhook_private": True, "sweep_interval": timedelta(seconds=0.1)} | changed
    with TestClient(create_app(settings.model_copy(update=changed)), raise_server_exceptions=False) as http:
        http.headers["Authorization"] = client.http.headers["Authorization"]
        yield Client(http)


def wait_for(condition):
    """What the condition gives, once that is something."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if found := condition():
            return found
        time.sleep(0.05)
    raise AssertionError("it did not happen within a minute")


def problem(answer, status, slug, *pointers):
    """Check that the answer is this problem, with these pointers; its body."""
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json"), answer.text
    body = answer.json()
    assert body["type"] == f"/problems/{slug}"
    assert body["status"] == status
    assert body["instance"].startswith("urn:uuid:")
    assert [error["pointer"] for error in body["errors"]] == list(pointers)
    return body


def row(sample, subject="jane", label="cat", uri=None):
    """A row of a training manifest."""
    return {"sample_id": sample, "subject_id": subject, "label": label, "uri": uri or f"s3://photographs/{sample}.png"}


def csv_of(*rows):
    file = io.StringIO()
    writer = csv.DictWriter(file, ["uri", "sample_id", "label", "subject_id"])
    writer.writeheader()
    writer.writerows(rows)
    return file.getvalue().encode()
