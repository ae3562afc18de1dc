"""Whatever is wrong with an upload: a problem that points to it, no row and no file."""

import io
import json
import pickle
import struct
import zipfile
import zlib

import numpy as np
import pytest

from tests.service.given import CLASSES, PREPROCESSING, UNKNOWN, archive, checkpoint, images, npz, png, problem, tensors


def huge_png():
    """A PNG whose header says 50 000 x 50 000 pixels."""
    header = b"IHDR" + struct.pack(">IIBBBBB", 50_000, 50_000, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + header + struct.pack(">I", zlib.crc32(header))


def zeros_png():
    """A PNG with 16 MiB of nothing behind it."""
    return png() + bytes(16 << 20)


def damaged(content):
    """The archive with one bit of its first member's data flipped."""
    at = content.index(b"IHDR") + 8
    return content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :]


def huge_labels():
    """An npz whose labels' header asks for 80 TB."""
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(file, {"descr": "<i8", "fortran_order": False, "shape": (10**13,)})
    pixels = io.BytesIO()
    np.save(pixels, np.zeros((1, 4, 4), np.uint8))
    return archive({"images.npy": pixels.getvalue(), "labels.npy": file.getvalue()})


def stored_zip(content):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as target:
        target.writestr("cat/1.png", content)
    return file.getvalue()


PIXELS = np.zeros((2, 4, 4, 3), np.uint8)
GREY = np.arange(32, dtype=np.uint8).reshape(2, 4, 4)

DELETION_REQUESTS = {
    "not an image": ({}, [png(), b"GIF89a nothing"], ["#/images/1"]),
    "an empty file": ({}, [b"", png()], ["#/images/0"]),
    "a damaged image": ({}, [png(1)[:50], png(2)], ["#/images/0"]),
    "a decompression bomb": ({}, [png(), huge_png()], ["#/images/1"]),
    "an image over the limit": ({}, [png(size=(65, 64)), png()], ["#/images/0"]),
    "two bad images": ({}, [b"a", b"b"], ["#/images/0", "#/images/1"]),
    "a label out of range": ({"labels": [0, 3]}, [png(1), png(2)], ["#/labels/1"]),
    "a negative label": ({"labels": [-1, 0]}, [png(1), png(2)], ["#/labels/0"]),
    "a label beyond 64 bits": ({"labels": [0, 10**30]}, [png(1), png(2)], ["#/labels/1"]),
    "an unknown class": ({"labels": ["cat", "cow"]}, [png(1), png(2)], ["#/labels/1"]),
    "a label that is a truth value": ({"labels": [True, 1]}, [png(1), png(2)], ["#/labels/0"]),
    "a label that is a fraction": ({"labels": [0, 1.5]}, [png(1), png(2)], ["#/labels/1"]),
    "too few labels": ({"labels": [0]}, [png(1), png(2)], ["#/labels"]),
    "no labels": ({"labels": None}, [png(1), png(2)], ["#/labels"]),
    "one image with two labels": ({}, [png(1), png(1)], ["#/labels/1"]),
    "an archive among images": ({}, [archive({"cat/1.png": png()}), png()], ["#/images/0"]),
    "an archive without images": ({"labels": None}, [archive({"__MACOSX/x": b""})], ["#/images"]),
    "an archive with an unknown folder": ({"labels": None}, [archive({"cow/1.png": png()})], ["#/labels/0"]),
    "a damaged archive": ({"labels": None}, [damaged(stored_zip(png()))], ["#/images/0"]),
    "half an archive": ({"labels": None}, [archive({"cat/1.png": png()})[:-30]], ["#/images/0"]),
    "an archive that unpacks beyond the limit": (
        {"labels": None},
        [archive({"cat/1.png": zeros_png()})],
        ["#/images/0"],
    ),
    "too many images in an archive": (
        {"labels": None},
        [archive({f"cat/{n}.png": png(n) for n in range(9)})],
        ["#/images"],
    ),
    "an npz of objects": (
        {"labels": None},
        [npz(images=np.array([{}, {}], object), labels=np.array([0, 1]))],
        ["#/images/0/images"],
    ),
    "labels that are objects": (
        {"labels": None},
        [npz(images=GREY, labels=np.array([{}, {}], object))],
        ["#/images/0/labels"],
    ),
    "an npz without labels": ({"labels": None}, [npz(images=PIXELS)], ["#/images/0/labels"]),
    "an npz with labels twice": ({}, [npz(images=GREY, labels=np.array([0, 1]))], ["#/labels"]),
    "an npz of fractions": (
        {"labels": None},
        [npz(images=PIXELS / 255, labels=np.array([0, 1]))],
        ["#/images/0/images"],
    ),
    "an npz with a label out of range": (
        {"labels": None},
        [npz(images=GREY, labels=np.array([0, 3]))],
        ["#/images/0/labels/1"],
    ),
    "an npz with fewer labels": ({"labels": None}, [npz(images=GREY, labels=np.array([0]))], ["#/images/0/labels"]),
    "an npz with one image twice": (
        {"labels": None},
        [npz(images=PIXELS, labels=np.array([0, 1]))],
        ["#/images/0/labels/1"],
    ),
    "an npz that asks for all memory": ({"labels": None}, [huge_labels()], ["#/images"]),
    "an unknown model": ({"model": "cows"}, [png(1), png(2)], ["#/model"]),
    "a model's name with NUL": ({"model": "pe\0ts"}, [png(1), png(2)], ["#/model"]),
    "an unknown anchor set": (
        {"options": {"encoder": "precomputed", "anchor_set": UNKNOWN}},
        [png(1), png(2)],
        ["#/options/anchor_set"],
    ),
    "a seed beyond 64 bits": ({"options": {"seed": 2**64}}, [png(1), png(2)], ["#/options/seed"]),
    "an unknown option": ({"options": {"speed": 9}}, [png(1), png(2)], ["#/options"]),
    "an encoder without anchors": ({"options": {"encoder": "precomputed"}}, [png(1), png(2)], ["#/options"]),
    "a regulation with NUL": ({"regulation": "gd\0pr"}, [png(1), png(2)], ["#/regulation"]),
    "an unknown field": ({"email": "a@b.c"}, [png(1), png(2)], ["#/metadata"]),
}


@pytest.mark.parametrize("case", DELETION_REQUESTS)
def test_a_bad_deletion_request_leaves_nothing(client, kept, case):
    """Each mistake is pointed to, and nothing of the request is kept."""
    client.model_with_version()
    before = kept()
    metadata, contents, pointers = DELETION_REQUESTS[case]

    problem(client.deletion_request(*contents, **metadata), 422, "invalid-input", *pointers)

    assert kept() == before


@pytest.mark.parametrize(
    "metadata", ["", "{", "[]", '"x"', "nul\0", b"\xff\xfe", '{"model": "\\ud800"}', "[" * 100_000]
)
def test_malformed_metadata_is_pointed_to(client, kept, metadata):
    """What is no JSON object is not a request."""
    client.model_with_version()
    before = kept()

    answer = client.upload("/v1/deletion-requests", metadata, images(png()))

    assert answer.status_code == 422
    assert answer.json()["errors"][0]["pointer"] == "#/metadata"
    assert kept() == before


def test_a_request_without_parts_names_what_is_missing(client, kept):
    """Of a deletion request the metadata, which may name images that lie elsewhere; else metadata and files both."""
    before = kept()
    problem(client.post("/v1/deletion-requests", files={}), 422, "invalid-input", "#/metadata")
    answer = client.post("/v1/models/pets/evaluation-sets", files={})
    problem(answer, 422, "invalid-input", "#/metadata", "#/images")
    assert kept() == before


def test_parts_that_nobody_asked_for_are_refused(client, kept):
    """As unknown fields of JSON are: `image` for `images` should not go unnoticed."""
    client.model_with_version()
    before = kept()
    for path in ("/v1/deletion-requests", "/v1/models/pets/evaluation-sets", "/v1/anchor-sets"):
        answer = client.upload(path, {}, {"image": png()})
        problem(answer, 422, "invalid-input", "#")
    assert kept() == before


VERSIONS = {
    "an unknown architecture": ({"architecture": {"name": "resnet18"}}, None, ["#/architecture"]),
    "too many channels": (
        {"architecture": {"name": "cifar_resnet8", "in_channels": 17}},
        None,
        ["#/architecture/in_channels"],
    ),
    "one channel, three means": (
        {"architecture": {"name": "cifar_resnet8", "in_channels": 1}},
        None,
        ["#/preprocessing/mean", "#/preprocessing/std"],
    ),
    "an impossible size": ({"preprocessing": PREPROCESSING | {"size": [4, 4]}}, None, ["#/preprocessing/size"]),
    "an infinite mean": (
        {"preprocessing": PREPROCESSING | {"mean": [0, 0, float("inf")]}},
        None,
        ["#/preprocessing/mean/2"],
    ),
    "a mean that is no number": (
        {"preprocessing": PREPROCESSING | {"mean": [0, 0, float("nan")]}},
        None,
        ["#/preprocessing/mean/2"],
    ),
    "one class": ({"classes": ["cat"]}, None, ["#/classes"]),
    "a class twice": ({"classes": ["cat", "cat", "dog"]}, None, ["#/classes"]),
    "a class without a name": ({"classes": ["cat", "", "dog"]}, None, ["#/classes/1"]),
    "a class with NUL": ({"classes": ["cat", "d\0g", "bird"]}, None, ["#/classes/1"]),
    "attributes of strangers": ({"attributes": {"cow": ["big"]}}, None, ["#/attributes"]),
    "an attribute with NUL": ({"attributes": {"cat": ["b\0g"]}}, None, ["#/attributes"]),
    "an unknown parent": ({"parent": 7}, None, ["#/parent"]),
    "a parent beyond 64 bits": ({"parent": 2**70}, None, ["#/parent"]),
    "other classes than before": ({"classes": ["cat", "bird", "dog"]}, None, ["#/classes"]),
    "another file": ({}, {"other": b"x"}, ["#"]),
}


@pytest.mark.parametrize("case", VERSIONS)
def test_a_bad_version_leaves_nothing(client, kept, case):
    """Each mistake is pointed to, and nothing of the version is kept."""
    client.model_with_version()
    before = kept()
    metadata, files, pointers = VERSIONS[case]

    problem(client.version(files=files, **metadata), 422, "invalid-input", *pointers)

    assert kept() == before


CHECKPOINTS = {
    "an empty file": b"",
    "half a file": checkpoint()[:-100],
    "a pickle": pickle.dumps({"weight": [0.0]}),
    "a header that lies": (2**63).to_bytes(8, "little") + b"{}",
}


@pytest.mark.parametrize("case", CHECKPOINTS)
def test_what_is_no_safetensors_file_leaves_nothing(client, kept, case):
    """Nothing in it is interpreted, least of all a pickle."""
    client.model_with_version()
    before = kept()

    answer = client.version(files={"checkpoint": ("model.safetensors", CHECKPOINTS[case])})

    problem(answer, 422, "checkpoint-rejected", "#/checkpoint")
    assert kept() == before


def test_each_tensor_that_does_not_fit_is_named(client, kept):
    """One error per tensor, with what was found and what was expected."""
    client.model_with_version()
    before = kept()
    wrong = {"linear.bias": np.zeros(5, np.float32), "head.weight": np.zeros(1, np.float32)}

    body = problem(
        client.version(files={"checkpoint": checkpoint(**wrong)}), 422, "checkpoint-rejected", *["#/checkpoint"] * 2
    )

    assert "linear.bias has shape (5,), expected (3,)" in [error["detail"] for error in body["errors"]]
    assert kept() == before


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_weights_that_are_not_finite_leave_nothing(client, kept, value):
    """The format allows them, a model does not."""
    client.model_with_version()
    before = kept()
    weights = tensors()["linear.weight"].copy()
    weights[1, 2] = value

    body = problem(
        client.version(files={"checkpoint": checkpoint(**{"linear.weight": weights})}),
        422,
        "checkpoint-rejected",
        "#/checkpoint",
    )

    assert body["errors"][0]["detail"] == "linear.weight holds NaN or infinite values"
    assert kept() == before


EMB = np.eye(3, 4)
ANCHORS = {
    "no npz": (b"nothing", ["#/anchors"]),
    "half an npz": (npz(emb=EMB, names=np.array(CLASSES))[:-40], ["#/anchors"]),
    "nothing in it": (npz(other=EMB), ["#/anchors/emb", "#/anchors/names"]),
    "vectors that are objects": (npz(emb=np.array([{}] * 3, object), names=np.array(CLASSES)), ["#/anchors/emb"]),
    "names that are objects": (npz(emb=EMB, names=np.array(CLASSES, object)), ["#/anchors/names"]),
    "integers": (npz(emb=np.eye(3, dtype=int), names=np.array(CLASSES)), ["#/anchors/emb"]),
    "a row too many": (npz(emb=np.eye(4), names=np.array(CLASSES)), ["#/anchors/emb"]),
    "an infinite vector": (npz(emb=np.full((3, 4), np.inf), names=np.array(CLASSES)), ["#/anchors/emb"]),
    "a vector beyond float32": (npz(emb=EMB * 1e300, names=np.array(CLASSES)), ["#/anchors/emb"]),
    "a vector of zeros": (npz(emb=np.diag([1.0, 0.0, 1.0]), names=np.array(CLASSES)), ["#/anchors/emb"]),
    "a class twice": (npz(emb=EMB, names=np.array(["cat", "cat", "bird"])), ["#/anchors/names"]),
    "an unknown class": (npz(emb=EMB, names=np.array(["cat", "dog", "cow"])), ["#/anchors/names"]),
}


@pytest.mark.parametrize("case", ANCHORS)
def test_bad_anchors_leave_nothing(client, kept, case):
    """Each mistake is pointed to, and nothing of the anchors is kept."""
    before = kept()
    content, pointers = ANCHORS[case]

    problem(
        client.upload("/v1/anchor-sets", {"classes": CLASSES}, {"anchors": content}), 422, "invalid-input", *pointers
    )

    assert kept() == before


def test_a_bad_evaluation_set_leaves_nothing(client, kept):
    """Its images are checked like those to forget, under a limit of their own."""
    client.model_with_version()
    before = kept()
    path = "/v1/models/pets/evaluation-sets"
    many = archive({f"cat/{n}.png": png(n) for n in range(13)})

    problem(client.upload(path, {"name": "a", "kind": "test"}, images(many)), 422, "invalid-input", "#/images")
    problem(client.upload(path, {"name": "a", "kind": "best"}, images(png())), 422, "invalid-input", "#/kind")
    problem(client.upload(path, {"name": "A", "kind": "test"}, images(png())), 422, "invalid-input", "#/name")

    assert kept() == before


def test_values_are_never_repeated(client):
    """An answer may be logged by whoever gets it, so it says where the mistake is, not what was sent."""
    client.model_with_version()
    canary = "canary-5d1f"
    answers = [
        client.deletion_request(labels=[canary, 1]),
        client.deletion_request(model=canary.upper()),
        client.deletion_request(regulation=f"{canary}!"),
        client.deletion_request(options={"anchor_set": canary, "encoder": canary, "seed": canary}),
        client.deletion_request(labels=canary),
        client.upload("/v1/deletion-requests", canary, images(png())),
        client.upload("/v1/deletion-requests", json.dumps({"model": "pets"}), [("images", (f"{canary}.png", b"x"))]),
        client.get(f"/v1/deletion-requests/{canary}"),
        client.get("/v1/deletion-requests", params={"cursor": canary, "limit": canary}),
        client.get(f"/{canary}"),
    ]
    assert all(400 <= answer.status_code < 500 for answer in answers)
    assert not any(canary in answer.text.lower() for answer in answers)
