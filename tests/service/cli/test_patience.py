import json
import time
from datetime import UTC, datetime

import pytest

from service.cli.client import retry_after
from service.cli.stack import free_port
from tests.service.cli.scripted_server import Answer, document, script, scripted

EMPTY = {"items": [], "next": None}
BUSY = {"type": "/problems/unavailable", "title": "Busy.", "status": 503, "detail": "Later.", "errors": []}
NOW = datetime(2026, 11, 21, 12, 0, 0, tzinfo=UTC)


def test_reading_waits_for_a_busy_server(structguard):
    """As long as the server says, and no longer."""
    answers = [document(BUSY, status, **{"Retry-After": "0"}) for status in (503, 429)]
    with scripted(script(*answers, document(EMPTY))) as (address, seen):
        ran = structguard("status", "--server", address, "--json")
    assert (ran.code, ran.document) == (0, EMPTY)
    assert len(seen) == 3


def test_a_server_that_stays_busy_too_long_counts_as_unreachable(structguard):
    """Nobody waits for an hour in front of a prompt."""
    with scripted(script(document(BUSY, 503, **{"Retry-After": "3600"}))) as (address, _):
        ran = structguard("status", "--server", address)
    assert ran.code == 4
    assert ran.err == "Busy.\nLater.\n"


def test_sending_is_not_tried_again(structguard):
    """A second request would be a second request."""
    with scripted(script(document(BUSY, 503, **{"Retry-After": "0"}))) as (address, seen):
        assert structguard("cancel", "any", "--server", address).code == 4
    assert len(seen) == 1


LOST = Answer(b"{", headers={"Content-Length": "100"}, cut=1)
IN_FLIGHT = document(BUSY | {"type": "/problems/idempotency-key-in-flight", "status": 409}, 409, **{"Retry-After": "0"})
ACCEPTED = document({"id": "7", "due_at": "2026-12-21T12:00:00Z", "reach": None}, 202)


@pytest.mark.parametrize("wrong", [LOST, IN_FLIGHT, document(BUSY, 503, **{"Retry-After": "0"})])
def test_creating_is_tried_again_as_the_same_request(structguard, pictures, wrong):
    """The server tells by the `Idempotency-Key` what it has done; the whole body comes again, files too."""
    with scripted(script(wrong, ACCEPTED)) as (address, seen):
        ran = structguard("forget", "pets", *pictures, "--label", "cat", "--server", address)
    assert ran.code == 0, ran.err
    first, again = ((request.headers["Idempotency-Key"], parts(request)) for request in seen)
    assert first == again
    assert len(first[0]) == 36


def test_whom_a_request_names_is_sent_and_where_they_are_known_is_shown(structguard, tmp_path):
    (tmp_path / "who").write_text("p-4711\n")
    known = {"model": "faces", "number": 3, "state": "needs_unlearning"}
    answer = document({"id": "7", "due_at": "2026-12-21T12:00:00Z", "reach": [known]}, 202)
    with scripted(script(answer)) as (address, seen):
        ran = structguard("forget", "faces", "--subject-id", f"@{tmp_path / 'who'}", "--server", address)
    assert json.loads(seen[0].body)["subject_id"] == "p-4711"
    assert "faces version 3: needs unlearning" in ran.out


def test_each_creation_has_a_key_of_its_own(structguard, pictures):
    with scripted(script(ACCEPTED)) as (address, seen):
        for _ in range(2):
            structguard("forget", "pets", *pictures, "--label", "cat", "--server", address)
    assert seen[0].headers["Idempotency-Key"] != seen[1].headers["Idempotency-Key"]


def test_an_archive_is_sent_again_from_its_beginning(structguard, files):
    """It is streamed, and the first try has read it."""
    with scripted(script(IN_FLIGHT, ACCEPTED)) as (address, seen):
        assert structguard("forget", "pets", files / "holdout.npz", "--server", address).code == 0
    assert parts(seen[0]) == parts(seen[1])
    assert (files / "holdout.npz").read_bytes() in seen[1].body


def parts(request):
    """The body, whatever separates its parts."""
    boundary = request.headers["Content-Type"].partition("boundary=")[2]
    return request.body.replace(boundary.encode(), b"")


def test_an_absent_server_is_named(structguard):
    """Exit code 4 after a moment, in words, and as a document."""
    address, began = f"http://127.0.0.1:{free_port()}", time.monotonic()
    ran = structguard("status", "--server", address, "--json")
    assert ran.code == 4
    assert ran.err.startswith(f"{address} does not answer.\n")
    assert ran.document["title"] == f"{address} does not answer."
    assert time.monotonic() - began < 5


@pytest.mark.parametrize("body", [b"<html>Welcome to nginx!</html>", b"[]"])
def test_another_kind_of_server_is_recognised(structguard, body):
    """A wrong port shows no traceback."""
    with scripted(script(Answer(body))) as (address, _):
        ran = structguard("status", "--server", address)
    assert ran.code == 1
    assert "no StructGuard service" in ran.err


def test_a_refusal_without_a_problem_is_shown_by_its_status(structguard):
    """Proxies answer with pages."""
    with scripted(script(Answer(b"<html>", 403))) as (address, _):
        ran = structguard("status", "--server", address)
    assert (ran.code, ran.err) == (3, "HTTP 403 Forbidden\n")


def test_a_failure_of_the_server_is_no_refusal(structguard):
    """Exit code 1: trying something else does not help."""
    with scripted(script(document(BUSY | {"status": 500}, 500))) as (address, _):
        assert structguard("status", "--server", address).code == 1


@pytest.mark.parametrize(
    ("value", "seconds"),
    [("7", 7), ("Sat, 21 Nov 2026 12:00:30 GMT", 30), ("Sat, 21 Nov 2026 11:00:00 GMT", 0), ("soon", 1.5), (None, 1.5)],
)
def test_retry_after_holds_seconds_or_a_date(value, seconds):
    """RFC 9110, section 10.2.3."""
    assert retry_after(value, NOW, default=1.5) == seconds


def test_names_of_files_are_not_sent(structguard, pictures):
    """They are often the names of people."""
    with scripted(script(document({}, 422, **{"Content-Type": "application/problem+json"}))) as (address, seen):
        structguard("forget", "pets", *pictures, "--label", "cat", "--server", address)
    assert b"erika" not in seen[0].body
    assert b'filename="1.png"' in seen[0].body
