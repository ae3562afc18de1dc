import base64
import hashlib

import pytest

from tests.service.given import checkpoint, problem

PATH = "/v1/models/pets/versions/1/checkpoint"
CONTENT = checkpoint()
ETAG = f'"sha256:{hashlib.sha256(CONTENT).hexdigest()}"'


@pytest.fixture(autouse=True)
def _a_version(client):
    client.model_with_version()


def test_the_file_comes_back_byte_for_byte(client):
    """With its digest, a name, and headers that let it be cached for ever."""
    answer = client.get(PATH)
    digest = base64.b64encode(hashlib.sha256(CONTENT).digest()).decode()

    assert (answer.status_code, answer.content) == (200, CONTENT)
    assert answer.headers["etag"] == ETAG
    assert answer.headers["repr-digest"] == f"sha-256=:{digest}:"
    assert answer.headers["content-disposition"] == 'attachment; filename="pets-v1.safetensors"'
    assert answer.headers["accept-ranges"] == "bytes"
    assert "immutable" in answer.headers["cache-control"]


def test_head_says_the_same_without_the_file(client):
    """Every header but the request's identity."""
    got, asked = client.get(PATH), client.head(PATH)
    assert (asked.status_code, asked.content) == (200, b"")
    assert {k: v for k, v in asked.headers.items() if k != "x-request-id"} == {
        k: v for k, v in got.headers.items() if k != "x-request-id"
    }


@pytest.mark.parametrize(
    ("ranges", "start", "end"),
    [
        ("bytes=0-99", 0, 100),
        ("bytes=1000-", 1000, len(CONTENT)),
        ("bytes=-7", len(CONTENT) - 7, len(CONTENT)),
        (f"bytes=5-{10**30}", 5, len(CONTENT)),
    ],
)
def test_a_range_is_sent_alone(client, ranges, start, end):
    """206 with the part, and still the digest and tag of the whole."""
    answer = client.get(PATH, headers={"range": ranges})
    assert (answer.status_code, answer.content) == (206, CONTENT[start:end])
    assert answer.headers["content-range"] == f"bytes {start}-{end - 1}/{len(CONTENT)}"
    assert answer.headers["content-length"] == str(end - start)
    assert answer.headers["etag"] == ETAG


def test_several_ranges_come_in_parts(client):
    """As multipart/byteranges."""
    answer = client.get(PATH, headers={"range": "bytes=0-1,10-11"})
    assert answer.status_code == 206
    assert answer.headers["content-type"].startswith("multipart/byteranges")
    assert CONTENT[0:2] in answer.content


@pytest.mark.parametrize(
    ("if_range", "status"),
    [(ETAG, 206), ('"another"', 200), (f"W/{ETAG}", 200), ("Sat, 01 Jan 2000 00:00:00 GMT", 200)],
)
def test_if_range_goes_by_our_tag(client, if_range, status):
    """The part only if the file is still the same; a weak tag does not prove that."""
    answer = client.get(PATH, headers={"range": "bytes=0-9", "if-range": if_range})
    assert (answer.status_code, answer.content) == (status, CONTENT[:10] if status == 206 else CONTENT)


@pytest.mark.parametrize("ranges", [f"bytes={len(CONTENT)}-", "bytes=-0", f"bytes={10**30}-{10**30}"])
def test_a_range_outside_is_a_problem(client, ranges):
    """416 that says how long the file is."""
    answer = client.get(PATH, headers={"range": ranges})
    problem(answer, 416, "range-not-satisfiable")
    assert answer.headers["content-range"] == f"bytes */{len(CONTENT)}"


@pytest.mark.parametrize("ranges", ["lines=1-2", "bytes", "bytes=", "bytes=x-y", "bytes=9-5"])
def test_a_range_that_makes_no_sense_is_ignored(client, ranges):
    """RFC 9110, section 14.2."""
    assert client.get(PATH, headers={"range": ranges}).status_code == 200


@pytest.mark.parametrize(("tags", "status"), [(ETAG, 304), (f'"other", W/{ETAG}', 304), ("*", 304), ('"other"', 200)])
def test_what_the_caller_has_is_not_sent_again(client, tags, status):
    """304 without a body, with the tag."""
    for method in (client.get, client.head):
        answer = method(PATH, headers={"if-none-match": tags})
        assert (answer.status_code, answer.headers["etag"]) == (status, ETAG)
    assert answer.content == b""
