"""The production topology, started as plain processes, serves the main path through its proxy."""

import hashlib
import json
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.acceptance import compose
from tests.acceptance.compose import Topology
from tests.acceptance.conftest import Digits

CANARY = "jane-doe-4711"


@pytest.fixture(scope="module")
def topology(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Topology]:
    with compose.running(tmp_path_factory.mktemp("topology")) as started:
        yield started


def upload(client: httpx.Client, path: str, metadata: dict, files: list, **headers: str) -> httpx.Response:
    return client.post(path, data={"metadata": json.dumps(metadata)}, files=files, headers=headers)


def test_a_deletion_request_goes_all_the_way_through_the_proxy(topology: Topology, digits: Digits) -> None:
    with topology.client() as client:
        assert client.post("/v1/models", json={"name": "digits"}).status_code == 201
        weights = (digits.folder / "model.safetensors").read_bytes()
        registered = upload(client, "/v1/models/digits/versions", digits.card, [("checkpoint", ("m", weights))])
        assert registered.status_code == 201

        images = [("images", (path.name, path.read_bytes())) for path in digits.forget]
        wanted = {"model": "digits", "labels": digits.labels, "options": {"scope": "exact"}}
        first = upload(client, "/v1/deletion-requests", wanted, images, **{"Idempotency-Key": "topology-1"})
        assert first.status_code == 202, first.text
        request = first.headers["location"]

        # Whichever replica took it, each of them gives the same answer again.
        for replica in topology.replicas:
            with topology.client(replica) as direct:
                again = upload(direct, "/v1/deletion-requests", wanted, images, **{"Idempotency-Key": "topology-1"})
                assert (again.status_code, again.content) == (202, first.content)
        assert len(client.get("/v1/deletion-requests").json()["items"]) == 1

        states = follow(client, request)
        assert states == {"running": "running", "completed": "completed"}, topology.log("worker")[-3000:]

        ended = client.get(request).json()
        checkpoint, version = ended["links"]["checkpoint"], client.get(ended["links"]["version"]).json()
        half = version["size"] // 2
        head = client.get(checkpoint, headers={"Range": f"bytes=0-{half - 1}"})
        rest = client.get(checkpoint, headers={"Range": f"bytes={half}-", "If-Range": head.headers["etag"]})
        assert (head.status_code, rest.status_code) == (206, 206)
        assert rest.headers["content-range"] == f"bytes {half}-{version['size'] - 1}/{version['size']}"
        assert hashlib.sha256(head.content + rest.content).hexdigest() == version["sha256"]
        stale = client.get(checkpoint, headers={"Range": f"bytes={half}-", "If-Range": '"another"'})
        assert (stale.status_code, len(stale.content)) == (200, version["size"])


def follow(client: httpx.Client, request: str) -> dict[str, str]:
    """The states that events told of, and what the request's state was when they arrived."""
    seen = {}
    with client.stream("GET", f"{request}/events", timeout=280) as events:
        assert events.headers["content-type"].startswith("text/event-stream")
        for line in events.iter_lines():
            if line.startswith("data: ") and (told := json.loads(line[6:]).get("after")) in ("running", "completed"):
                seen[told] = client.get(request).json()["state"]
    return seen


def test_uploads_are_on_their_way_before_they_have_arrived_and_leave_nothing_at_the_proxy(topology: Topology) -> None:
    """The service sees the first bytes of a body whose last ones are still to come."""
    url = httpx.URL(topology.proxy)
    head = [
        f"POST /v1/deletion-requests HTTP/1.1\r\nHost: {url.host}\r\nAuthorization: Bearer {topology.key}",
        "Content-Type: multipart/form-data; boundary=b\r\nContent-Length: 9000000\r\n\r\n--b",
        'Content-Disposition: form-data; name="images"; filename="i"\r\n\r\n',
    ]
    with socket.create_connection((url.host, url.port)) as connection:
        connection.sendall("\r\n".join(head).encode() + bytes(4 << 20))
        spooled = Path(topology.logs / "tmp")
        topology.wait_for(lambda: in_use(topology, spooled) >= 3 << 20)
    assert [path for path in topology.logs.glob("proxy-*/**/*") if path.is_file()] == []


def in_use(topology: Topology, folder: Path) -> int:
    """Bytes of files, nameless ones too, that the replicas hold open below a folder."""
    total = 0
    for name, process in topology.processes.items():
        if name.startswith("service"):
            for entry in Path(f"/proc/{process.pid}/fd").iterdir():
                try:
                    if str(entry.readlink()).startswith(str(folder)):
                        total += entry.stat().st_size
                except OSError:  # closed in between
                    continue
    return total


def test_what_a_client_says_of_itself_is_not_believed(topology: Topology) -> None:
    forged = {"X-Forwarded-Proto": "https", "X-Forwarded-For": "203.0.113.7"}
    with topology.client() as client:
        found = client.get("/v2/discovery", headers=forged).json()
        assert found["processor_certificate"].startswith(topology.proxy)


def test_the_proxy_speaks_as_the_service_does(topology: Topology) -> None:
    with topology.client() as client:
        hidden = client.get("/metrics")
        assert (hidden.status_code, hidden.json()["title"]) == (404, "There is nothing here.")
        for _ in range(8):  # each of them ends a connection to a replica, and none of them takes a replica away
            large = client.post("/v1/models", content=b" " * (2 << 20), headers={"Content-Type": "application/json"})
            assert (large.status_code, large.json()["type"]) == (413, "/problems/content-too-large")
        client.get(f"/v1/models/{CANARY}", params={"name": CANARY})
    malformed = exchange(topology, b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n")
    assert malformed.startswith(b"HTTP/1.1 400 ")
    assert b"application/problem+json" in malformed
    assert CANARY not in topology.log("proxy")
    assert "method=GET status=404" in topology.log("proxy")


def exchange(topology: Topology, sent: bytes) -> bytes:
    url = httpx.URL(topology.proxy)
    with socket.create_connection((url.host, url.port), timeout=30) as connection:
        connection.sendall(sent)
        return connection.makefile("rb").read()


def test_a_replica_that_is_gone_costs_no_request(topology: Topology) -> None:
    """What cannot reach one is sent to another; when none is left, the proxy says so."""
    gone = topology.processes.pop("service-0")
    gone.send_signal(signal.SIGKILL)
    gone.wait()
    with topology.client() as client:
        for at in range(8):
            assert client.post("/v1/models", json={"name": f"after-{at}"}).status_code == 201
        last = topology.processes.pop("service-1")
        last.send_signal(signal.SIGKILL)
        last.wait()
        answer = client.post("/v1/models", json={"name": "nobody"})
        assert (answer.status_code, answer.headers["content-type"]) == (503, "application/problem+json")
        assert (answer.headers["retry-after"], answer.json()["type"]) == ("5", "/problems/unavailable")
