import inspect
import re

import pytest
from fastapi.testclient import TestClient

from service.app import create_app
from service.registry import errors
from service.registry.models import architectures, checkpoint_files
from service.settings import ServiceSettings
from service.web import problem_types, problems
from tests.service.given import checkpoint, images, png, problem

DOCUMENTED_ELSEWHERE = {errors.RegistryError, errors.FenceLost}


def registry_errors():
    found = {errors.RegistryError}
    for module in (errors, architectures, checkpoint_files):
        found |= {c for _, c in inspect.getmembers(module, inspect.isclass) if issubclass(c, errors.RegistryError)}
    return found - DOCUMENTED_ELSEWHERE


@pytest.mark.parametrize("error", sorted(registry_errors(), key=lambda c: c.__name__))
def test_every_fact_has_a_status(error):
    """A new error without a line in the table would be answered with 500."""
    assert any(base in problem_types.TABLE for base in error.__mro__)


def test_a_type_has_one_title_and_one_status():
    """And the 4xx and 5xx are what they say."""
    kinds = set(problem_types.TABLE.values())
    assert len({kind.slug for kind in kinds}) == len(kinds)
    assert all(400 <= kind.status < 600 for kind in kinds)
    assert all(problem_types.TABLE[key].status == key for key in problem_types.TABLE if isinstance(key, int))


def test_every_type_has_a_page(client):
    """The `type` of a problem is a path that leads somewhere."""
    for kind in set(problem_types.TABLE.values()):
        page = client.get(f"/problems/{kind.slug}")
        assert page.status_code == 200
        assert kind.title in page.text
    problem(client.get("/problems/nonsense"), 404, "not-found")


@pytest.mark.parametrize(
    ("location", "pointer"),
    [
        (("body", "metadata", "labels", 0), "#/labels/0"),
        (("body", "metadata"), "#/metadata"),
        (("body", "name"), "#/name"),
        (("body", 17), "#"),
        (("body",), "#"),
        (("query", "limit"), "#/limit"),
        (("body", "a/b~c", "ü d"), "#/a~1b~0c/%C3%BC%20d"),
    ],
)
def test_locations_become_json_pointers(location, pointer):
    """In the URI fragment form of RFC 6901, section 6."""
    assert problems.pointer(location) == pointer


def test_no_route_is_a_problem(client):
    """Also with a slash at the end: one resource has one path."""
    for path in ("/", "/v1", "/v2/models", "/v1/models/"):
        problem(client.get(path), 404, "not-found")


@pytest.mark.parametrize(
    ("path", "allowed"),
    [
        ("/v1/models", "GET, POST"),
        ("/v1/models/pets", "GET, PATCH"),
        ("/v1/models/pets/versions/1/checkpoint", "GET, HEAD"),
        ("/v1/deletion-requests/x/cancel", "POST"),
        ("/v1/deletion-requests/retry", "POST"),
        ("/livez", "GET"),
    ],
)
def test_a_wrong_method_is_told_the_right_ones(client, path, allowed):
    """405 with `Allow`, which has the methods of all routes of the path."""
    answer = client.put(path)
    problem(answer, 405, "method-not-allowed")
    assert answer.headers["allow"] == allowed


def test_each_answer_can_be_found_in_the_log(client, caplog):
    """The problem's instance, the header and the log line agree."""
    caplog.set_level("INFO")
    answer = client.get("/v1/models/cows")
    instance = answer.json()["instance"].removeprefix("urn:uuid:")
    assert answer.headers["x-request-id"] == instance
    assert any(
        "route=/v1/models/{name} status=404" in r.getMessage() and instance in r.getMessage() for r in caplog.records
    )


def test_a_mistake_of_ours_tells_nothing(client, settings):
    """500 without details, here for a file that somebody removed behind the service's back."""
    client.model_with_version()
    for path in (settings.data_dir / "checkpoints").iterdir():
        path.unlink()
    body = problem(client.get("/v1/models/pets/versions/1/checkpoint"), 500, "internal-error")
    assert "checkpoints" not in str(body)


def test_a_database_that_is_away_is_a_503(tmp_path):
    """Nothing is wrong with the request, so it may be sent again."""
    (tmp_path / "data").mkdir()
    settings = ServiceSettings(data_dir=tmp_path / "data", database_url=f"sqlite:///{tmp_path}/missing/registry.sqlite")
    with TestClient(create_app(settings), raise_server_exceptions=False) as http:
        answer = http.get("/v1/models", headers={"Authorization": "Bearer sg_0123456789ab_" + "0" * 64})
        problem(answer, 503, "unavailable")
        assert answer.headers["retry-after"] == "5"


def test_the_description_covers_every_operation(client):
    """Each has a summary, a body or none, its own identifier, and problems of the type that is really sent."""
    document = client.get("/openapi.json").json()
    operations = [operation for path in document["paths"].values() for operation in path.values()]
    assert len({operation["operationId"] for operation in operations}) == len(operations) == 86
    for operation in operations:
        assert operation["summary"]
        if "security" in operation:
            assert {"401", "403", "429", "503"} <= operation["responses"].keys()
        media_type = "application/json" if "OpenDSR" in operation["tags"][0] else problems.MEDIA_TYPE
        for status, response in operation["responses"].items():
            if status[0] in "45":
                assert list(response["content"]) == [media_type]
    assert "HTTPValidationError" not in str(document)
    assert re.search(r"NewDeletionRequest", str(document))
    assert client.get("/docs").status_code == 200


def test_too_many_parts_are_refused(client, kept):
    """One file more than images are allowed, and more fields than any form has."""
    client.model_with_version()
    before = kept()
    problem(client.deletion_request(*[png(n) for n in range(9)]), 400, "malformed-request")
    many = client.post("/v1/deletion-requests", data={f"f{n}": "" for n in range(20)}, files=images(png()))
    problem(many, 400, "malformed-request")
    broken = client.post(
        "/v1/deletion-requests", content=b"nonsense", headers={"content-type": "multipart/form-data; boundary=x"}
    )
    problem(broken, 400, "malformed-request")
    problem(client.post("/v1/deletion-requests", data={}), 422, "invalid-input", "#/metadata")
    assert kept() == before


def chunks(content, boundary="b"):
    head = f'--{boundary}\r\nContent-Disposition: form-data; name="checkpoint"; filename="c"\r\n\r\n'
    yield head.encode()
    for at in range(0, len(content), 1 << 16):
        yield content[at : at + (1 << 16)]
    yield f"\r\n--{boundary}--\r\n".encode()


def test_a_body_over_the_limit_is_refused(client, kept):
    """By its declared length, and without one by what arrives."""
    client.model_with_version()
    before = kept()
    large = bytes(2 << 20)
    declared = client.version(files={"checkpoint": large})
    streamed = client.post(
        "/v1/models/pets/versions", content=chunks(large), headers={"content-type": "multipart/form-data; boundary=b"}
    )
    for answer in (declared, streamed):
        problem(answer, 413, "content-too-large")
        assert answer.headers["connection"] == "close"
    assert kept() == before


def test_json_is_held_in_memory_and_therefore_shorter(client, settings):
    """One MiB, whatever an upload may have."""
    with TestClient(create_app(settings.model_copy(update={"max_upload_bytes": 1 << 30}))) as http:
        text = '{"name": "' + "a" * (1 << 20) + '"}'
        http.headers["Authorization"] = client.http.headers["Authorization"]
        problem(http.post("/v1/models", content=text), 413, "content-too-large")
        fits = http.post("/v1/models/x/versions", files={"checkpoint": checkpoint() * 4, "metadata": (None, "{}")})
        assert fits.status_code == 422


def test_lengths_that_are_no_numbers_do_not_matter(client):
    """The server below decides about them; here they must not break anything."""
    for length in ("-1", "x", b"\xb2", "9" * 5000):
        answer = client.post("/v1/models", content=b"{}", headers={"content-length": length})
        assert answer.status_code in (413, 422)
