import hashlib
import json

import numpy as np
import pytest

from tests.service.given import CLASSES, UNKNOWN, VERSION, archive, checkpoint, images, npz, png, problem, running


def test_a_model_is_registered_once(client, kept):
    """201 with its place, then 409 that points to the name."""
    answer = client.post("/v1/models", json={"name": "pets", "description": "Ours", "policy": {"max_collapse": 0.5}})

    assert answer.status_code == 201
    assert answer.headers["location"] == "/v1/models/pets"
    assert client.get("/v1/models/pets").json() == answer.json()
    assert answer.json()["policy"] == {
        "parent_disposition": "keep",
        "max_test_accuracy_drop": 5.0,
        "max_collapse": 0.5,
        "min_robust_forget_accuracy": 80.0,
        "max_membership_advantage": 0.1,
    }
    before = kept()
    problem(client.model(), 409, "name-taken", "#/name")
    assert kept() == before


def test_a_model_names_a_pool_of_workers_that_there_is(client, settings):
    """Its jobs would wait for ever in another one; it can be moved."""
    problem(client.post("/v1/models", json={"name": "pets", "pool": "a100"}), 422, "invalid-input", "#/pool")
    assert client.model().json()["pool"] == "default"
    refused = problem(client.patch("/v1/models/pets", json={"pool": "a100"}), 422, "invalid-input", "#/pool")
    assert refused["errors"][0]["detail"] == "must be a pool of workers that there is: default"
    with running(settings, client, pools=frozenset({"default", "a100"})) as more:
        assert more.patch("/v1/models/pets", json={"pool": "a100"}).json()["pool"] == "a100"
        assert more.patch("/v1/models/pets", json={}).json()["pool"] == "a100"
        assert more.post("/v1/models", json={"name": "dogs", "pool": "a100"}).json()["pool"] == "a100"
        problem(more.patch("/v1/models/cats", json={"pool": "a100"}), 404, "not-found")
    assert client.get("/v1/models/pets").json()["pool"] == "a100"


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({}, "#/name"),
        ({"name": "Pets"}, "#/name"),
        ({"name": "pets", "pool": "A 100"}, "#/pool"),
        ({"name": "a" * 101}, "#/name"),
        ({"name": "pets\n"}, "#/name"),
        ({"name": "pets", "description": "a\0b"}, "#/description"),
        ({"name": "pets", "policy": {"max_collapse": 3}}, "#/policy/max_collapse"),
        ({"name": "pets", "policy": {"max_membership_advantage": 0.6}}, "#/policy/max_membership_advantage"),
        ({"name": "pets", "owner/team~1": 1}, "#"),
        ([], "#"),
    ],
)
def test_a_bad_model_is_pointed_to(client, kept, body, pointer):
    """Names are those that fit into a path; NUL and half characters fit into no database."""
    before = kept()
    problem(client.post("/v1/models", json=body), 422, "invalid-input", pointer)
    assert kept() == before


@pytest.mark.parametrize(
    ("text", "pointer"),
    [
        ('{"name": "pets", "policy": {"max_collapse": NaN}}', "#/policy/max_collapse"),
        ('{"name": "pets", "policy": {"max_collapse": Infinity}}', "#/policy/max_collapse"),
        ('{"name": "pets", "description": "\\ud800"}', "#/description"),
    ],
)
def test_what_only_python_reads_is_refused(client, kept, text, pointer):
    """Its JSON knows numbers that JSON does not, and halves of characters."""
    before = kept()
    answer = client.post("/v1/models", content=text, headers={"content-type": "application/json"})
    problem(answer, 422, "invalid-input", pointer)
    assert kept() == before


@pytest.mark.parametrize(
    ("text", "status"), [("{", 422), ("", 422), ("[" * 100_000, 400), ('{"name": ' + "1" * 5000 + "}", 400)]
)
def test_a_body_that_is_no_json_is_a_problem(client, text, status):
    """However it is broken."""
    answer = client.post("/v1/models", content=text, headers={"content-type": "application/json"})
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json")


def test_unknown_names_are_not_found(client):
    """A model, a version, an evaluation set, an anchor set; and whatever cannot be an identifier."""
    client.model_with_version()
    for path in (
        "/v1/models/cows",
        "/v1/models/COWS",
        "/v1/models/%00",
        "/v1/models/cows/versions",
        "/v1/models/cows/versions/1",
        "/v1/models/pets/versions/2",
        "/v1/models/pets/versions/0",
        "/v1/models/pets/versions/one",
        f"/v1/models/pets/versions/{10**30}",
        "/v1/models/pets/versions/2/checkpoint",
        "/v1/models/pets/evaluation-sets/x",
        "/v1/models/cows/evaluation-sets",
        f"/v1/anchor-sets/{UNKNOWN}",
        "/v1/anchor-sets/x",
    ):
        problem(client.get(path), 404, "not-found")
    problem(client.version("cows"), 404, "not-found")
    problem(
        client.upload("/v1/models/cows/evaluation-sets", {"name": "a", "kind": "test"}, images(png())), 404, "not-found"
    )


def test_versions_are_numbered_and_know_their_parent(client):
    """Everything that was said about a version is there to read."""
    first = client.model_with_version()
    answer = client.version(parent=1, attributes={"cat": ["whiskers"]})

    assert answer.status_code == 201
    second = answer.json()
    assert answer.headers["location"] == second["links"]["self"] == "/v1/models/pets/versions/2"
    assert (first["number"], first["parent"], second["number"], second["parent"]) == (1, None, 2, 1)
    assert second["links"]["parent"] == "/v1/models/pets/versions/1"
    assert (second["method"], second["gate"], second["classes"]) == ("registered", None, CLASSES)
    assert second["size"] == len(checkpoint())
    assert client.get("/v1/models/pets/versions/2").json() == second
    first["children"] = [2]
    assert client.get("/v1/models/pets/versions").json() == {"items": [second, first], "next": None}


@pytest.mark.parametrize("spell", [str.lower, str.upper])
def test_a_checkpoint_that_arrives_whole_has_the_digest_that_was_sent(client, spell):
    """In the hex that `sha256sum` prints, or the capitals of other programs."""
    client.model()
    answer = client.version(sha256=spell(hashlib.sha256(checkpoint()).hexdigest()))
    assert answer.status_code == 201
    assert answer.json()["sha256"] == hashlib.sha256(checkpoint()).hexdigest()


@pytest.mark.parametrize("content", [checkpoint(), checkpoint()[:-1], b""])
def test_a_checkpoint_that_arrives_damaged_is_not_kept(client, kept, content):
    """Its digest is what is wrong with it, whatever else is."""
    client.model()
    before = kept()
    damaged = client.version(files={"checkpoint": content}, sha256=hashlib.sha256(b"another").hexdigest())
    problem(damaged, 422, "invalid-input", "#/sha256")
    assert kept() == before


@pytest.mark.parametrize("sha256", ["", "a" * 63, "g" * 64, "sha-256=:AAAA:", 7])
def test_a_digest_is_64_hexadecimal_digits(client, sha256):
    """Anything else is no digest that could differ."""
    client.model()
    problem(client.version(sha256=sha256), 422, "invalid-input", "#/sha256")


def test_metadata_may_come_as_a_file(client):
    """`curl --form metadata=@version.json` sends a file name along."""
    client.model()
    files = {"metadata": ("version.json", json.dumps(VERSION)), "checkpoint": checkpoint()}
    assert client.post("/v1/models/pets/versions", files=files).status_code == 201


def test_listings_go_on_where_they_stopped(client):
    """Page by page, newest first, and rows that arrive in between disturb nothing."""
    for number in range(5):
        client.model(f"m{number}")
    first = client.get("/v1/models?limit=2").json()
    client.model("late")
    second = client.get("/v1/models", params={"limit": 2, "cursor": first["next"]}).json()
    third = client.get("/v1/models", params={"limit": 2, "cursor": second["next"]}).json()

    assert [[item["name"] for item in page["items"]] for page in (first, second, third)] == [
        ["m4", "m3"],
        ["m2", "m1"],
        ["m0"],
    ]
    assert third["next"] is None


def test_cursors_of_others_are_refused(client):
    """Made up, of another listing, or of another filter."""
    for name in ("a", "b"):
        client.model(name)
    cursor = client.get("/v1/models?limit=1").json()["next"]
    for path in ("/v1/jobs", "/v1/anchor-sets", "/v1/deletion-requests", "/v1/models/a/versions"):
        problem(client.get(path, params={"cursor": cursor}), 422, "malformed-cursor", "#/cursor")
    for made_up in ("x", "é", "W10", "bnVsbA", "\0", cursor[:-4]):
        problem(client.get("/v1/models", params={"cursor": made_up}), 422, "malformed-cursor", "#/cursor")
    for limit in (0, 101, "x", 10**30):
        problem(client.get("/v1/models", params={"limit": limit}), 422, "invalid-input", "#/limit")


@pytest.mark.parametrize(
    ("labels", "files"),
    [
        (["cat", 2], [png(1), png(2)]),
        (None, [archive({"cat/1.png": png(1), "dog/2.png": png(2), "__MACOSX/x": b"", ".DS_Store": b""})]),
        (["cat", "dog"], [archive({"1.png": png(1), "2.png": png(2)})]),
        (None, [npz(images=np.arange(96, dtype=np.uint8).reshape(2, 4, 4, 3), labels=np.array([0, 2]))]),
    ],
    ids=["images", "folders", "zip", "npz"],
)
def test_evaluation_sets_are_kept(client, settings, labels, files):
    """As single images, a zip with folders, a zip with labels, and an npz."""
    client.model_with_version()
    answer = client.upload(
        "/v1/models/pets/evaluation-sets", {"name": "held-out", "kind": "test", "labels": labels}, images(*files)
    )

    assert answer.status_code == 201
    assert answer.headers["location"] == "/v1/models/pets/evaluation-sets/held-out"
    assert (answer.json()["count"], answer.json()["kind"]) == (2, "test")
    assert client.get(answer.headers["location"]).json() == answer.json()
    assert client.get("/v1/models/pets/evaluation-sets").json()["items"] == [answer.json()]
    assert len(list((settings.data_dir / "evaluation-sets").iterdir())) == 1


def test_an_evaluation_set_has_a_name_of_its_own(client, kept):
    """409 on the second, and its images are not kept."""
    client.model_with_version()
    path = "/v1/models/pets/evaluation-sets"
    client.upload(path, {"name": "a", "kind": "test", "labels": [0]}, images(png()))
    before = kept()
    again = client.upload(path, {"name": "a", "kind": "retain", "labels": [0]}, images(png()))
    problem(again, 409, "name-taken", "#/name")
    assert kept() == before


def test_a_model_without_versions_has_no_classes_to_label_with(client, kept):
    """409: register a version first."""
    client.model()
    before = kept()
    problem(
        client.upload("/v1/models/pets/evaluation-sets", {"name": "a", "kind": "test"}, images(png())),
        409,
        "version-missing",
    )
    problem(client.deletion_request(), 409, "version-missing")
    assert kept() == before


def test_anchors_are_kept_once_in_the_order_of_the_classes(client, settings, kept):
    """The same upload is answered with what is there; another order of classes is another set."""
    vectors = np.array([[1.0, 0, 0, 0], [0, 2, 0, 0], [0, 0, 3, 0]])
    content = npz(emb=vectors, names=np.array(["bird", "cat", "dog"]))
    first = client.upload("/v1/anchor-sets", {"classes": CLASSES}, {"anchors": content})
    before = kept()
    again = client.upload("/v1/anchor-sets", {"classes": CLASSES}, {"anchors": content})

    assert (first.status_code, again.status_code) == (201, 200)
    assert first.json() == again.json() == client.get(first.headers["location"]).json()
    assert kept() == before
    assert (first.json()["encoder"], first.json()["dimension"]) == ("precomputed", 4)
    (path,) = (settings.data_dir / "anchor-sets").iterdir()
    with np.load(path) as arrays:
        assert arrays["names"].tolist() == CLASSES
        assert arrays["emb"].tolist() == vectors[[1, 2, 0]].tolist()
    other = client.upload("/v1/anchor-sets", {"classes": CLASSES[::-1]}, {"anchors": content})
    assert other.status_code == 201
    assert client.get("/v1/anchor-sets").json()["items"] == [other.json(), first.json()]


def test_the_allow_list_says_what_each_network_takes(client):
    """Enough to choose one and to prepare the images."""
    listed = {item["name"]: item for item in client.get("/v1/architectures").json()["items"]}
    assert listed["cifar_resnet8"] == {
        "name": "cifar_resnet8",
        "min_channels": 1,
        "max_channels": 16,
        "min_image_size": 8,
        "image_size_multiple": 1,
        "square": False,
    }
    assert listed["torchvision/resnet18"]["min_channels"] == 3
