"""How the service answers under pressure, beside how the same process answers without.

`python -m benchmarks.pressure` asks for the status of a deletion request and posts further ones, in turn: first with
nothing else to do, then with 10,000 requests waiting and stalled uploads in all upload slots but one.
"""

import argparse
import os
import socket
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

import httpx
from sqlalchemy import insert, select

from benchmarks.post import prepare, serving
from benchmarks.post_load import body, request
from service.cli.stack import free_port
from service.registry.job_queue import state_machine
from service.registry.options import Options
from service.registry.storage.database import Database, batches
from service.registry.tables import Job, Model

_UPLOAD_SLOTS = 32
_METADATA = {"model": "bench", "labels": [1], "options": {"scope": "exact"}}


def enqueue_jobs(database: Database, count: int) -> None:
    """Insert so many queued jobs."""
    with database.write() as session:
        model = session.scalars(select(Model)).one()
        first = state_machine.enqueue(session, model, Options(), at=model.created_at)
        names = [column.key for column in Job.__table__.columns if column.key != "id"]
        row = {name: getattr(first, name) for name in names}
        for batch in batches([row] * (count - 1)):
            session.execute(insert(Job), batch)


def hold_upload_slots(port: int, headers: dict[str, str], stack: ExitStack) -> None:
    """Begin uploads in all slots but one, send half of each and stall."""
    upload = request(body(_METADATA, 1, 512), headers)
    for _ in range(_UPLOAD_SLOTS - 1):
        connection = stack.enter_context(socket.create_connection(("127.0.0.1", port)))
        connection.sendall(upload[: len(upload) // 2])


def measure(http: httpx.Client, count: int) -> dict[str, list[float]]:
    """Seconds of so many GET and POST requests each, sorted, by method."""
    durations: dict[str, list[float]] = {"GET": [], "POST": []}
    uploads = [body(_METADATA, 1, 32) for _ in range(count + 1)]
    multipart = {"Content-Type": "multipart/form-data; boundary=structguard"}
    accepted = http.post("/v1/deletion-requests", content=uploads.pop(), headers=multipart)
    assert accepted.status_code == 202, accepted.text
    for upload in uploads:
        began = time.perf_counter()
        assert http.get(accepted.headers["location"]).status_code == 200
        between = time.perf_counter()
        assert http.post("/v1/deletion-requests", content=upload, headers=multipart).status_code == 202
        durations["GET"].append(between - began)
        durations["POST"].append(time.perf_counter() - between)
    return {kind: sorted(seconds) for kind, seconds in durations.items()}


def main() -> None:
    """Measure on SQLite, and print one table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.pressure", description=__doc__)
    parser.add_argument("--requests", type=int, default=500, help="of each kind, without and under pressure")
    parser.add_argument("--waiting", type=int, default=10_000)
    arguments = parser.parse_args()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="structguard-pressure-")))
        database = Database(f"sqlite:///{folder}/registry.sqlite")
        stack.callback(database.close)
        headers = {"Authorization": f"Bearer {prepare(database)}"}
        port = free_port()
        environment = {
            "STRUCTGUARD_DATA_DIR": str(folder),
            "STRUCTGUARD_DATABASE_URL": database.engine.url.render_as_string(),
            "STRUCTGUARD_PORT": str(port),
            "STRUCTGUARD_RATE_LIMIT": "0",
            "STRUCTGUARD_MAX_CONCURRENT_UPLOADS": str(_UPLOAD_SLOTS),
            "STRUCTGUARD_MAX_QUEUED_REQUESTS": str(arguments.waiting + 4 * arguments.requests),
            "STRUCTGUARD_UPLOAD_IDLE_TIMEOUT": "PT1H",
        }
        stack.enter_context(serving("service", port=port, environment=environment))
        http = stack.enter_context(httpx.Client(base_url=f"http://127.0.0.1:{port}", headers=headers, timeout=60))
        measure(http, 50)  # warms up
        idle = measure(http, arguments.requests)
        enqueue_jobs(database, arguments.waiting)
        hold_upload_slots(port, headers, stack)
        loaded = measure(http, arguments.requests)
    print(f"{os.cpu_count()} cores, {arguments.requests} of each, {arguments.waiting} waiting, ", end="")
    print(f"{_UPLOAD_SLOTS - 1} uploads held\n")
    print("| | | without, ms | under pressure, ms | ratio |\n|---|---|---|---|---|")
    for kind in idle:
        for name, share in (("p50", 0.5), ("p99", 0.99)):
            idle_ms, loaded_ms = (1000 * seconds[int(share * len(seconds))] for seconds in (idle[kind], loaded[kind]))
            print(f"| {kind} | {name} | {idle_ms:.1f} | {loaded_ms:.1f} | {loaded_ms / idle_ms:.2f} |")


if __name__ == "__main__":
    main()
