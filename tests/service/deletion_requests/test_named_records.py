"""Forgetting a person, or records by name: their images are found through training manifests."""

import json
import os
import uuid

import fsspec
import pytest
from fastapi.testclient import TestClient
from fsspec.implementations.memory import MemoryFileSystem
from pydantic import ValidationError
from sqlalchemy import update

from service.app import create_app
from service.registry.images import archive
from service.registry.tables import DeletionRequest, Model
from service.settings import ServiceSettings
from tests.service.given import images, png, problem, row


@pytest.fixture
def stored(settings, database):
    """The images that wait for the worker, by shade, with their labels."""

    def look(answer):
        with database.read() as session:
            request = session.get_one(DeletionRequest, uuid.UUID(answer.json()["id"]))
        with archive.open_images(request, settings.data_dir / request.samples, settings) as kept:
            return sorted((image.getpixel((0, 0))[0], label) for image, label in archive.read(kept))

    return look


def test_a_subjects_images_are_fetched_and_kept(client, stored, photograph):
    """From all manifests of the lineage, those of nobody else; whole and here when the answer comes."""
    client.model_with_version()
    client.version(parent=1)
    client.manifest(
        row("a", uri=photograph("a.png", 1)), row("b", subject="otto", uri=photograph("b.png", 2)), row("c", subject="")
    )
    client.manifest(row("d", label="dog", uri=photograph("x/d.png", 4)), version="pets/versions/2")
    answer = client.forget(subject_id="jane")
    assert answer.status_code == 202
    assert answer.headers["location"] == answer.json()["links"]["self"]
    assert answer.json()["sample_count"] == 2
    assert stored(answer) == [(1, 0), (4, 1)]


def test_records_are_named_by_identifier(client, stored, photograph):
    """In a form, too. A version that does not descend from the manifest's knows nothing of its records."""
    client.model_with_version()
    client.manifest(*(row(name, uri=photograph(name, at)) for at, name in enumerate("abc")))
    metadata = json.dumps({"model": "pets", "sample_ids": ["c", "a"]})
    for form in ({"files": {"metadata": (None, metadata)}}, {"data": {"metadata": metadata}}):
        answer = client.post("/v1/deletion-requests", **form)
        assert answer.status_code == 202, answer.text
        assert stored(answer) == [(0, 0), (2, 0)]
    client.version()
    body = problem(client.forget(sample_ids=["a"]), 422, "invalid-input", "#/sample_ids/0")
    assert "lineage" in body["errors"][0]["detail"]


def test_a_record_of_two_manifests_is_one(client, stored, photograph):
    """The newer one knows its label; where they name two images, both are meant."""
    client.model_with_version()
    first, second = photograph("1.png", 1), photograph("2.png", 2)
    client.manifest(row("a", uri=first), row("b", uri=first))
    client.manifest(row("a", label="dog", uri=first), row("b", label="dog", uri=second), name="second")
    assert stored(client.forget(sample_ids=["a"])) == [(1, 1)]
    problem(client.forget(sample_ids=["a", "b"]), 422, "invalid-input", "#/sample_ids/1")  # 1.png: dog, and cat


@pytest.mark.parametrize(
    ("given", "pointers"),
    [
        ({}, ["#/images"]),
        ({"subject_id": "jane", "sample_ids": ["a"]}, ["#/sample_ids"]),
        ({"subject_id": "jane", "labels": [0]}, ["#/labels"]),
        ({"subject_id": "otto"}, ["#/subject_id"]),
        ({"subject_id": ""}, ["#/subject_id"]),
        ({"subject_id": 7}, ["#/subject_id"]),
        ({"sample_ids": []}, ["#/sample_ids"]),
        ({"sample_ids": ["a", "a"]}, ["#/sample_ids"]),
        ({"sample_ids": ["x", "a", "y"]}, ["#/sample_ids/0", "#/sample_ids/2"]),
        ({"sample_ids": "abcdefghi"}, ["#/sample_ids"]),
        ({"model": "cars", "subject_id": "jane"}, ["#/model"]),
        ({"model": 1, "wrong": 2}, ["#/model", "#"]),
    ],
)
def test_what_is_meant_must_be_clear(client, kept, photograph, given, pointers):
    """One way of naming, and something there under that name; else nothing is stored."""
    client.model_with_version()
    client.manifest(row("a", uri=photograph("a.png")))
    before = kept()
    problem(client.forget(**given), 422, "invalid-input", *pointers)
    assert kept() == before


def test_images_do_not_go_with_names(client, kept):
    """Which of the two would it be?"""
    client.model_with_version()
    before = kept()
    both = client.upload("/v1/deletion-requests", {"model": "pets", "subject_id": "jane"}, images(png()))
    problem(both, 422, "invalid-input", "#/subject_id")
    broken = client.post("/v1/deletion-requests", content="{", headers={"content-type": "application/json"})
    problem(broken, 422, "invalid-input", "#")
    assert kept() == before


def test_a_subject_with_more_images_than_a_request_may_bring(client):
    """The operator has to allow more."""
    client.model_with_version()
    client.manifest(*(row(str(n)) for n in range(9)))
    assert (
        "9 records; at most 8"
        in problem(client.forget(subject_id="jane"), 422, "invalid-input", "#/subject_id").get("errors")[0]["detail"]
    )


def test_the_same_json_again_is_the_same_request(client, kept, photograph):
    """With an `Idempotency-Key`, like a form."""
    client.model_with_version()
    client.manifest(row("a", uri=photograph("a.png")))
    send = {"json": {"model": "pets", "subject_id": "jane"}, "headers": {"Idempotency-Key": "k"}}
    first = client.post("/v1/deletion-requests", **send)
    rows = kept()
    again = client.post("/v1/deletion-requests", **send)
    assert (again.status_code, again.content, again.headers["idempotent-replayed"]) == (202, first.content, "true")
    assert kept() == rows
    send["json"] = {"model": "pets", "sample_ids": ["a"]}
    problem(client.post("/v1/deletion-requests", **send), 422, "idempotency-key-reused")


def test_both_forms_are_described(client):
    """For whoever generates a client."""
    body = client.get("/openapi.json").json()["paths"]["/v1/deletion-requests"]["post"]["requestBody"]
    assert set(body["content"]) == {"multipart/form-data", "application/json"}
    assert body["content"]["application/json"]["schema"]["$ref"].endswith("/NewDeletionRequest")


@pytest.mark.parametrize(
    "uri",
    [
        "s3://bucket/a.png",
        "http://169.254.169.254/a.png",
        "memory://a.png",
        "local:///etc/hostname",
        "simplecache::file:///etc/hostname",
        "zip://a.png::file://{outside}",
        "file://{outside}",
        "file://{root}/../{name}",
        "file://{root}/link.png",
        "file://{root}/folder/a.png",
        "file://{root}/pipe",
        "file://{root}",
        "file://{root}/loop",
        "file://{root}/nothing.png",
        "file://localhost{root}/a.png",
        "file://a.png",
        "file://~/a.png",
        "file://{root}/" + "x" * 300,
    ],
)
def test_only_what_the_operator_allows_is_fetched(client, settings, kept, tmp_path, monkeypatch, uri):
    """Other schemes, chains of them, and paths and links that lead out of the folder are not; nothing is stored."""
    root, outside = settings.manifest_root, tmp_path / "outside.png"
    outside.write_bytes(png())
    (root / "a.png").write_bytes(png())
    for name, target in (("link.png", outside), ("folder", tmp_path), ("loop", root / "loop")):
        (root / name).unlink(missing_ok=True)
        (root / name).symlink_to(target)
    (tmp_path / "a.png").write_bytes(png())
    if not (root / "pipe").exists():
        os.mkfifo(root / "pipe")
    monkeypatch.chdir(root)
    client.model_with_version()
    made = client.manifest(row("a", uri=uri.format(root=root, outside=outside, name=root.name)))
    if made.status_code == 201:  # a chain is not even a URI
        before = kept()
        body = problem(client.forget(subject_id="jane"), 422, "invalid-input", "#/subject_id")
        assert body["errors"][0]["detail"].startswith("row 0 of the manifest `training` of version 1: ")
        assert kept() == before
    else:
        problem(made, 422, "invalid-input", "#/manifest/rows/0/uri")


def test_a_link_within_the_folder_may_be_followed(client, settings, stored, photograph):
    """It leads nowhere else."""
    photograph("a.png", 5)
    (settings.manifest_root / "same.png").symlink_to("a.png")
    client.model_with_version()
    client.manifest(row("a", uri=f"file://{settings.manifest_root}/same.png"))
    assert stored(client.forget(subject_id="jane")) == [(5, 0)]


def test_what_is_fetched_is_checked_like_what_is_sent(client, kept, photograph):
    """Every image with its row; one that is too large is not read to its end."""
    client.model_with_version()
    client.manifest(
        row("a", uri=photograph("a.png", 1)),
        row("b", uri=photograph("b.png", content=b"nonsense")),
        row("c", uri=photograph("c.png", content=b"")),
        row("d", uri=photograph("d.png", content=png(size=(100, 100)))),
        row("e", uri="s3://elsewhere/e.png"),
    )
    before = kept()
    body = problem(
        client.forget(sample_ids=list("abcde")), 422, "invalid-input", *(f"#/sample_ids/{n}" for n in range(1, 5))
    )
    assert [error["detail"].partition(": ")[2] for error in body["errors"]] == [
        "is not a PNG, JPEG or WebP image",
        "the file is empty",
        "the image has more than 4096 pixels",
        "has a URI that this service may not fetch from",
    ]
    assert kept() == before


def test_images_come_from_object_stores(client, settings, stored):
    """Here one in memory stands in for S3."""
    fsspec.register_implementation("s3", MemoryFileSystem, clobber=True)
    fsspec.filesystem("s3").pipe("/bucket/a.png", png(9))
    allowed = ServiceSettings(**settings.model_dump() | {"manifest_schemes": "s3, file"})
    client.model_with_version()
    client.manifest(row("a", uri="s3://bucket/a.png"))
    with TestClient(create_app(allowed)) as http:
        authorization = client.http.headers["Authorization"]
        answer = http.post(
            "/v1/deletion-requests",
            json={"model": "pets", "subject_id": "jane"},
            headers={"Authorization": authorization},
        )
    assert answer.status_code == 202, answer.text
    assert stored(answer) == [(9, 0)]


def test_nothing_is_fetched_until_the_operator_says_from_where(monkeypatch):
    """And what cannot work is said when the service starts."""
    assert ServiceSettings().manifest_schemes == frozenset()
    for schemes in ("https", "memory", "file"):
        monkeypatch.setenv("STRUCTGUARD_MANIFEST_SCHEMES", schemes)
        with pytest.raises(ValidationError):
            ServiceSettings()
    monkeypatch.setenv("STRUCTGUARD_MANIFEST_ROOT", "/srv/photographs")
    assert ServiceSettings().manifest_schemes == {"file"}


def test_a_scheme_whose_package_is_missing_stops_the_start(monkeypatch):
    """Better than the first deletion request."""

    def missing(_):
        raise ImportError("Install s3fs")

    monkeypatch.setattr(fsspec, "get_filesystem_class", missing)
    with pytest.raises(ValidationError, match="Install s3fs"):
        ServiceSettings(manifest_schemes="s3")


def test_a_request_that_waits_for_approval_names_them_already(client, database, photograph):
    """It is accepted, and its images are here."""
    client.model_with_version()
    with database.write() as session:
        session.execute(update(Model).values(approval_required=True))
    client.manifest(row("a", uri=photograph("a.png")))
    answer = client.forget(subject_id="jane").json()
    assert (answer["state"], answer["reach"][0]["state"]) == ("awaiting_approval", "pending")
