"""Server-sent events of a deletion request. The stream is read from a real server: test clients buffer it."""

import json
import threading
import time

import httpx
import pytest
import uvicorn

from service.app import create_app
from service.registry.states import Phase
from tests.service.given import problem
from tests.service.given_jobs import Jobs
from tests.service.registry.given_reasons import BROKEN


@pytest.fixture
def jobs(database):
    return Jobs(database)


@pytest.fixture
def url(settings):
    """The application behind a real server."""
    server = uvicorn.Server(uvicorn.Config(create_app(settings), port=0, log_config=None))
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    server.should_exit = True
    thread.join()


def stream(client, url, path, last=None):
    """The events as (id, kind, data), as they come."""
    headers = {"Authorization": client.http.headers["Authorization"]} | (
        {} if last is None else {"Last-Event-ID": last}
    )
    with httpx.stream("GET", url + path, headers=headers, timeout=20) as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        event = {}
        for line in answer.iter_lines():
            name, _, value = line.partition(": ")
            if line and name:
                event[name] = value
            elif event:
                yield event.get("id"), event["event"], json.loads(event["data"])
                event = {}


def point(at, **values):
    return (at, {"forget_accuracy": 0.0} | values)


def test_a_run_is_told_as_it_happens_and_again_from_where_a_connection_broke(client, url, jobs):
    """Moves and curve points have identifiers to go on from; nothing is told twice and nothing left out."""
    client.model_with_version()
    path = client.deletion_request().json()["links"]["events"]
    events = stream(client, url, path)
    assert [next(events)[2]["after"] for _ in range(2)] == ["received", "queued"]
    assert next(events)[1:] == ("progress", {"phase": None, "step": 0, "total": 0, "attempt": 0})

    claim = jobs.claim()
    jobs.progress(claim, phase=Phase.UNLEARN, step=7, total=10, points=[point(0), point(7, collapse=0.1)])
    told = [next(events) for _ in range(3)]
    assert [(kind, data.get("after") or data.get("step")) for _, kind, data in told] == [
        ("state", "running"),
        ("step", 0),
        ("step", 7),
    ]
    assert next(events)[1] == "progress"
    events.close()

    jobs.publish(claim)
    rest = list(stream(client, url, path, last=told[1][0]))
    assert [kind for _, kind, _ in rest] == ["step", "state", "end"]
    assert (rest[0][2]["step"], rest[1][2]["after"]) == (7, "completed")
    assert rest[2][2] == {"state": "completed", "reason": None, "version": 2}
    assert [kind for _, kind, _ in stream(client, url, path, last=rest[2][0])] == ["end"]
    whole = list(stream(client, url, path, last="nonsense"))
    assert [data.get("after", data.get("step")) for _, kind, data in whole if kind != "end"] == [
        *("received", "queued", "running", 0, 7, "completed")
    ]


def test_a_second_attempt_tells_its_own_curve(client, url, jobs):
    """Points of the first one, which is void, are not mixed in."""
    client.model_with_version()
    request = client.deletion_request().json()
    first = jobs.claim()
    jobs.progress(first, phase=Phase.UNLEARN, points=[point(0), point(9)])
    jobs.fail(first)
    ended = list(stream(client, url, request["links"]["events"]))
    assert ended[-1][2] == {"state": "failed", "reason": str(BROKEN), "version": None}
    client.post(f"/v1/deletion-requests/{request['id']}/retry")
    second = jobs.claim()
    jobs.progress(second, phase=Phase.UNLEARN, points=[point(0)])
    jobs.publish(second)
    rest = list(stream(client, url, request["links"]["events"], last=ended[-1][0]))
    assert [data.get("after", data.get("step")) for _, kind, data in rest if kind != "end"] == [
        *("queued", "running", 0, "completed")
    ]


def test_what_is_not_there_is_not_followed(client, database):
    """A 404 as a problem, not a stream that ends."""
    client.model_with_version()
    path = client.deletion_request().json()["links"]["events"]
    client.signs_in(database, tenant="other")
    problem(client.get(path), 404, "not-found")
