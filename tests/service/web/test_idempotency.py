"""The same creating request, sent again."""

import json
import threading
import uuid
from datetime import timedelta

import pytest
from sqlalchemy import func, select, update

from service.models import uploads
from service.registry.access import api_keys, idempotency_keys
from service.registry.storage.database import clock
from service.registry.tables import Creation
from tests.service.given import CLASSES, VERSION, archive, checkpoint, images, npz, png, problem


def post(client, path, metadata, files, key):
    headers = {"Idempotency-Key": key}
    return client.http.post(path, data={"metadata": json.dumps(metadata)}, files=files, headers=headers)


REQUEST = {"model": "pets", "labels": ["cat"]}


@pytest.mark.parametrize(
    ("path", "metadata", "files"),
    [
        ("/v1/models/pets/versions", VERSION, {"checkpoint": checkpoint()}),
        ("/v1/models/pets/evaluation-sets", {"name": "t", "kind": "test", "labels": ["cat"]}, images(png())),
        ("/v1/deletion-requests", REQUEST, images(png())),
        ("/v1/anchor-sets", {"classes": CLASSES}, {"anchors": npz(emb=[[1.0], [2.0], [3.0]], names=CLASSES)}),
    ],
)
def test_the_same_upload_again_gets_the_same_answer(client, kept, path, metadata, files):
    """Byte for byte, and nothing is created a second time. How the client separates the parts does not matter."""
    client.model_with_version()
    first = post(client, path, metadata, files, '"k-1"')
    rows = kept()
    again = post(client, path, metadata, files, "k-1")
    assert first.is_success
    assert (again.status_code, again.content) == (first.status_code, first.content)
    assert again.headers["location"] == first.headers["location"]
    assert again.headers.get("retry-after") == first.headers.get("retry-after")
    assert ("idempotent-replayed" in first.headers, again.headers["idempotent-replayed"]) == (False, "true")
    assert kept() == rows


def test_the_same_json_again_gets_the_same_answer(client, kept):
    """Where it would be a conflict without the key."""
    headers = {"Idempotency-Key": "k"}
    first = client.post("/v1/models", json={"name": "pets"}, headers=headers)
    rows = kept()
    again = client.post("/v1/models", json={"name": "pets"}, headers=headers)
    assert (again.status_code, again.content, kept()) == (201, first.content, rows)
    problem(client.post("/v1/models", json={"name": "pets"}), 409, "name-taken", "#/name")


def test_a_key_is_for_one_request(client, database):
    """Another body under it is refused; another operation or another tenant has keys of its own."""
    client.model_with_version()
    post(client, "/v1/deletion-requests", REQUEST, images(png(1)), "k")
    for metadata, picture in ((REQUEST, png(2)), (REQUEST | {"regulation": "ccpa"}, png(1))):
        refused = post(client, "/v1/deletion-requests", metadata, images(picture), "k")
        problem(refused, 422, "idempotency-key-reused")
    assert client.post("/v1/models", json={"name": "b"}, headers={"Idempotency-Key": "k"}).status_code == 201
    client.signs_in(database, tenant="other")
    assert client.post("/v1/models", json={"name": "b"}, headers={"Idempotency-Key": "k"}).status_code == 201


@pytest.mark.parametrize("key", ["", '"', '"a', 'a"b', '"a\\b"', "a b", "x" * 256, '"' + "x" * 256 + '"', "é"])
def test_a_key_that_is_none_is_refused(client, key):
    """An empty one, an unfinished string, or more than 255 characters."""
    answer = client.post("/v1/models", json={"name": "pets"}, headers={"Idempotency-Key": key.encode()})
    problem(answer, 422, "invalid-input", "#/Idempotency-Key")


def test_quotes_are_not_part_of_the_key(client):
    """RFC 8941 strings and what most clients send are the same key; escapes are read."""
    first = client.post("/v1/models", json={"name": "a"}, headers={"Idempotency-Key": '"k"'})
    assert client.post("/v1/models", json={"name": "a"}, headers={"Idempotency-Key": "k"}).content == first.content
    assert client.post("/v1/models", json={"name": "b"}, headers={"Idempotency-Key": '"k\\""'}).status_code == 201


def test_a_request_that_failed_can_be_sent_again_under_its_key(client):
    """Corrected or not: only what was created is remembered."""
    headers = {"Idempotency-Key": "k"}
    problem(post(client, "/v1/deletion-requests", REQUEST, images(png()), "k"), 422, "invalid-input", "#/model")
    problem(client.post("/v1/models", json={"name": "?"}, headers=headers), 422, "invalid-input", "#/name")
    client.model_with_version()
    assert post(client, "/v1/deletion-requests", REQUEST, images(png()), "k").status_code == 202
    assert client.post("/v1/models", json={"name": "b"}, headers=headers).status_code == 201


def test_while_the_first_is_worked_on_the_second_is_told_to_wait(client, kept, monkeypatch):
    """It is neither run beside it nor lost."""
    client.model_with_version()
    entered, go_on = threading.Event(), threading.Event()
    check_upload = uploads.upload_formats.check_upload

    def slow(*given, **more):
        entered.set()
        assert go_on.wait(20)
        return check_upload(*given, **more)

    monkeypatch.setattr(uploads.upload_formats, "check_upload", slow)
    answers = []
    first = threading.Thread(
        target=lambda: answers.append(post(client, "/v1/deletion-requests", REQUEST, images(png()), "k"))
    )
    first.start()
    assert entered.wait(20)
    second = post(client, "/v1/deletion-requests", REQUEST, images(png()), "k")
    go_on.set()
    first.join()
    problem(second, 409, "idempotency-key-in-flight")
    assert second.headers["retry-after"] == "1"
    assert answers[0].status_code == 202
    assert post(client, "/v1/deletion-requests", REQUEST, images(png()), "k").content == answers[0].content
    assert kept()[0]["deletion_requests"] == 1


def once(database):
    with database.write() as session:
        tenant = api_keys.ensure_tenant(session, "acme").id
    return idempotency_keys.Reservation(tenant, "POST /v1/models", "k", uuid.uuid4())


def test_a_first_try_that_died_does_not_keep_its_key_for_ever(client, database):
    """Once its time is over another may take the key; should the first one wake up, it can no longer create."""
    client.model()
    dead, alive = once(database), once(database)
    with database.write() as session:
        assert idempotency_keys.begin(session, dead, "f") is None
    with database.write() as session, pytest.raises(idempotency_keys.CreationInFlight):
        idempotency_keys.begin(session, alive, "f")
    with database.write() as session:
        session.execute(update(Creation).values(in_flight_until=clock(session) - timedelta(seconds=1)))
    with database.write() as session:
        assert idempotency_keys.begin(session, alive, "f") is None
    with database.write() as session, pytest.raises(idempotency_keys.CreationInFlight):
        idempotency_keys.finish(session, dead, status=201, headers={}, body=b"{}")
    with database.write() as session:
        idempotency_keys.abandon(session, dead)  # takes nothing from the other
        idempotency_keys.finish(session, alive, status=201, headers={}, body=b"{}")


def test_answers_are_remembered_for_a_day(client, database):
    """Then the key may be used for something else, and the sweep removes the answer."""
    headers = {"Idempotency-Key": "k"}
    client.post("/v1/models", json={"name": "a"}, headers=headers)
    with database.write() as session:
        session.execute(update(Creation).values(expires_at=clock(session) - timedelta(seconds=1)))
    assert client.post("/v1/models", json={"name": "b"}, headers=headers).status_code == 201
    with database.write() as session:
        session.execute(update(Creation).values(expires_at=clock(session) - timedelta(seconds=1)))
        idempotency_keys.forget_expired(session)
        assert session.scalar(select(func.count()).select_from(Creation)) == 0


def test_many_at_once_create_one(client, kept):
    """Whoever comes second waits or is told; nothing is doubled."""
    codes = []

    def send():
        codes.append(client.post("/v1/models", json={"name": "pets"}, headers={"Idempotency-Key": "k"}).status_code)

    threads = [threading.Thread(target=send) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(codes) <= {201, 409}
    assert codes.count(201) >= 1
    assert kept()[0]["models"] == 1


def test_the_same_images_again_are_reported_and_run_all_the_same(client):
    """In another order, as another file format, in an archive: the pixels and labels count. Not for another model."""
    client.model_with_version()
    first = client.deletion_request(png(1), png(2), labels=["cat", "dog"]).json()
    assert first["duplicate_of"] is None
    again = client.deletion_request(png(2), png(1), labels=["dog", "cat"]).json()
    assert (again["duplicate_of"], again["state"]) == (first["id"], "queued")
    zipped = client.deletion_request(archive({"cat/a.png": png(1), "dog/b.png": png(2)}), labels=None).json()
    assert zipped["duplicate_of"] == first["id"]
    assert client.deletion_request(png(1), png(2), labels=["dog", "cat"]).json()["duplicate_of"] is None
    client.model_with_version("cars")
    assert client.deletion_request(png(1), png(2), labels=["cat", "dog"], model="cars").json()["duplicate_of"] is None
    client.post(first["links"]["cancel"])
    after = client.deletion_request(png(1), png(2), labels=["cat", "dog"]).json()
    assert after["duplicate_of"] == again["id"]
