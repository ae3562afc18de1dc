"""The service as a process of its own."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress

import httpx2
import pytest

from service.registry.storage import schema
from service.registry.storage.database import Database
from tests.service.given import images, key, png

LOADED = """
import sys
from service.app import create_app
from service.settings import ServiceSettings
create_app(ServiceSettings(data_dir="."))
heavy = {"torch", "torchvision", "timm", "worker", "celery", "httpx", "jwt", "fpdf", "jinja2", "pyarrow"}
heavy |= {"securesystemslib", "in_toto_attestation", "google.protobuf", "opentelemetry.sdk"}
print(sorted(heavy & sys.modules.keys()))
"""


def test_the_service_loads_no_torch():
    """Nor the worker, nor what a broker, a webhook, a token, a page or a manifest takes: the process stays small."""
    out = subprocess.run([sys.executable, "-c", LOADED], check=True, capture_output=True, text=True).stdout
    assert out.strip() == "[]"


@pytest.fixture
def server(tmp_path):
    """`python -m service` on a free port; its address and its log."""
    database = Database(f"sqlite:///{tmp_path}/registry.sqlite")
    schema.upgrade(database)
    headers = {"Authorization": f"Bearer {key(database)}"}
    database.close()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = {
        "PATH": os.environ["PATH"],
        "STRUCTGUARD_DATA_DIR": str(tmp_path),
        "STRUCTGUARD_PORT": str(port),
        "STRUCTGUARD_MAX_UPLOAD_BYTES": str(1 << 22),
        "STRUCTGUARD_MAX_CONCURRENT_UPLOADS": "3",
        "STRUCTGUARD_UPLOAD_IDLE_TIMEOUT": "PT3S",
        "TMPDIR": str(tmp_path / "tmp"),
    }
    (tmp_path / "tmp").mkdir()
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen([sys.executable, "-m", "service"], env=environment, stderr=log)
    address = f"http://127.0.0.1:{port}"
    try:
        for _ in range(600):
            try:
                httpx2.get(f"{address}/livez")
                break
            except httpx2.ConnectError:
                assert process.poll() is None
                time.sleep(0.05)
        yield address, headers, tmp_path
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=20) in (0, -signal.SIGTERM)


def test_a_real_server_answers_refuses_and_stops(server):
    """Ready; an endless body is cut off with a 413 and leaves no file; SIGTERM ends it in order."""
    address, headers, folder = server
    assert httpx2.get(f"{address}/readyz").status_code == 200

    def endless():
        yield b'--b\r\nContent-Disposition: form-data; name="images"; filename="jane-doe"\r\n\r\n'
        while True:
            yield bytes(1 << 16)

    with httpx2.Client() as http:
        answer = http.post(
            f"{address}/v1/deletion-requests",
            content=endless(),
            headers=headers | {"content-type": "multipart/form-data; boundary=b"},
        )
        assert (answer.status_code, answer.headers["connection"]) == (413, "close")
        declared = http.post(f"{address}/v1/deletion-requests", files=images(png() + bytes(5 << 20)), headers=headers)
        assert declared.status_code == 413
        assert http.get(f"{address}/livez").status_code == 200

    assert list((folder / "tmp").iterdir()) == list((folder / "staging").iterdir()) == []
    log = (folder / "log").read_text()
    assert "method=POST route=/v1/deletion-requests status=413" in log
    assert "jane-doe" not in log
    assert "127.0.0.1" not in log.partition("Uvicorn running on")[2].partition("\n")[2]


def begin_upload(address, headers, length=3_000_000):
    """A connection that has sent two MiB of a longer body."""
    url = httpx2.URL(address)
    connection = socket.create_connection((url.host, url.port), timeout=20)
    told = headers | {"Host": url.host, "Content-Type": "multipart/form-data; boundary=b", "Content-Length": length}
    lines = ["POST /v1/deletion-requests HTTP/1.1", *(f"{name}: {value}" for name, value in told.items()), "", ""]
    part = '--b\r\nContent-Disposition: form-data; name="images"; filename="i"\r\n\r\n'
    connection.sendall("\r\n".join([*lines, part]).encode() + bytes(2 << 20))
    return connection


def test_a_refusal_arrives_although_its_client_is_still_sending(server):
    """By the declared length and for want of a key; the connection ends in order, and the log has the answer's time."""
    address, headers, folder = server
    for told, status in ((headers, 413), ({}, 401)):
        with begin_upload(address, told, length=5 << 20) as connection, connection.makefile("rb") as answer:
            assert answer.readline().split()[1] == str(status).encode()
            connection.sendall(bytes(1 << 20))  # it had not looked yet
            *_, problem = answer.read().splitlines()
            assert json.loads(problem)["status"] == status
    taken = re.findall(r"status=(?:413|401) milliseconds=(\d+)", (folder / "log").read_text())
    assert len(taken) == 2
    assert max(map(int, taken)) < 2000


def test_uploads_that_stop_hold_up_other_uploads_only_and_not_for_long(server):
    """With all slots taken a further one is told to wait, and all else goes on; what stands still ends with a 408."""
    address, headers, folder = server
    slow = [begin_upload(address, headers) for _ in range(3)]
    began = time.monotonic()
    with httpx2.Client(base_url=address, headers=headers) as http:
        while (answer := http.post("/v1/deletion-requests", files=images(png()))).status_code != 503:
            assert time.monotonic() - began < 2  # the last of them is just arriving
        assert (answer.headers["retry-after"], answer.headers["connection"]) == ("5", "close")
        assert answer.json()["type"] == "/problems/unavailable"
        for name in ("a", "b", "c"):
            assert http.post("/v1/models", json={"name": name}).status_code == 201
            assert http.get(f"/v1/models/{name}").status_code == 200
            assert http.get("/readyz").status_code == 200

        for connection in slow:
            with connection, connection.makefile("rb") as told:
                assert told.readline() == b"HTTP/1.1 408 Request Timeout\r\n"
                assert b"connection: close\r\n" in told.read().lower()  # and it is closed, or this would not return
        assert 2.5 < time.monotonic() - began < 15
        assert http.post("/v1/deletion-requests", files=images(png())).status_code == 422
    assert list((folder / "tmp").iterdir()) == list((folder / "staging").iterdir()) == []


def test_an_upload_that_dawdles_ends_too(server):
    """A byte now and then is no pause, and would keep a slot for ever."""
    address, headers, _ = server
    with begin_upload(address, headers) as connection:
        connection.settimeout(0.2)
        for _ in range(300):
            with suppress(OSError):  # it is closed already, and the answer is still to be read
                connection.sendall(b"x")
            try:
                told = connection.recv(1 << 16)
            except TimeoutError:
                continue
            assert told.startswith(b"HTTP/1.1 408 ")
            return
    pytest.fail("it went on for a minute")
