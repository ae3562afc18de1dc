"""A client with little overhead: one thread and one socket for each connection, and requests built beforehand."""

import io
import json
import os
import socket
import threading
import time
from dataclasses import dataclass
from typing import Any

from PIL import Image

_BOUNDARY = b"structguard"


@dataclass(frozen=True)
class Load:
    """Durations and rate of one burst of requests."""

    seconds: list[float]  # of each request, from the first byte sent to the last one received
    rate: float  # requests a second


def body(metadata: dict[str, Any], images: int, size: int) -> bytes:
    """A multipart body with images of noise, no two of them alike."""
    parts = [b'name="metadata"\r\n\r\n' + json.dumps(metadata).encode()]
    for _ in range(images):
        file = io.BytesIO()
        Image.frombytes("RGB", (size, size), os.urandom(3 * size * size)).save(file, "PNG", compress_level=1)
        parts.append(b'name="images"; filename="image"\r\nContent-Type: image/png\r\n\r\n' + file.getvalue())
    opening = b"--" + _BOUNDARY + b"\r\nContent-Disposition: form-data; "
    return b"".join(opening + part + b"\r\n" for part in parts) + b"--" + _BOUNDARY + b"--\r\n"


def burst(port: int, requests: list[bytes], *, connections: int) -> Load:
    """Send all requests, over so many connections at once; every response must be a 202."""
    seconds: list[float] = []
    threads = [
        threading.Thread(target=_send, args=(port, requests[n::connections], seconds)) for n in range(connections)
    ]
    began = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    elapsed = time.perf_counter() - began
    assert len(seconds) == len(requests), "a request was not accepted"
    return Load(seconds, len(requests) / elapsed)


def request(body: bytes, headers: dict[str, str]) -> bytes:
    """A POST of a body from `body`, byte for byte."""
    all_headers = headers | {
        "Host": "127.0.0.1",
        "Content-Type": f"multipart/form-data; boundary={_BOUNDARY.decode()}",
        "Content-Length": str(len(body)),
    }
    lines = ["POST /v1/deletion-requests HTTP/1.1", *(f"{name}: {value}" for name, value in all_headers.items())]
    return "\r\n".join([*lines, "", ""]).encode() + body


def _send(port: int, requests: list[bytes], seconds: list[float]) -> None:
    with socket.create_connection(("127.0.0.1", port)) as connection, connection.makefile("rb") as responses:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for request in requests:
            began = time.perf_counter()
            connection.sendall(request)
            status, length = responses.readline(), 0
            while (line := responses.readline()) != b"\r\n":
                if line.lower().startswith(b"content-length:"):
                    length = int(line.split(b":")[1])
            responses.read(length)
            seconds.append(time.perf_counter() - began)
            assert status.split()[1] == b"202", status
