"""How the service answers under pressure, beside how the same process answers without.

`python -m benchmarks.pressure` asks for the status of a deletion request and posts further ones, in turn: first with
nothing else to do, then with 10,000 requests waiting and uploads that stand still in all places but one.
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

_PLACES = 32
_METADATA = {"model": "bench", "labels": [1], "options": {"scope": "exact"}}


def wait_in_line(database: Database, count: int) -> None:
    """Have so many jobs wait."""
    with database.write() as session:
        model = session.scalars(select(Model)).one()
        first = state_machine.enqueue(session, model, Options(), at=model.created_at)
        names = [column.key for column in Job.__table__.columns if column.key != "id"]
        row = {name: getattr(first, name) for name in names}
        for batch in batches([row] * (count - 1)):
            session.execute(insert(Job), batch)


def hold_places(port: int, headers: dict[str, str], stack: ExitStack) -> None:
    """Begin uploads in all places but one, and send no more of them."""
    upload = request(body(_METADATA, 1, 512), headers)
    for _ in range(_PLACES - 1):
        connection = stack.enter_context(socket.create_connection(("127.0.0.1", port)))
        connection.sendall(upload[: len(upload) // 2])


def measure(http: httpx.Client, count: int) -> dict[str, list[float]]:
    """Seconds of so many answers of each kind."""
    taken: dict[str, list[float]] = {"GET": [], "POST": []}
    uploads = [body(_METADATA, 1, 32) for _ in range(count + 1)]
    multipart = {"Content-Type": "multipart/form-data; boundary=structguard"}
    accepted = http.post("/v1/deletion-requests", content=uploads.pop(), headers=multipart)
    assert accepted.status_code == 202, accepted.text
    for upload in uploads:
        began = time.perf_counter()
        assert http.get(accepted.headers["location"]).status_code == 200
        between = time.perf_counter()
        assert http.post("/v1/deletion-requests", content=upload, headers=multipart).status_code == 202
        taken["GET"].append(between - began)
        taken["POST"].append(time.perf_counter() - between)
    return {kind: sorted(seconds) for kind, seconds in taken.items()}


def main() -> None:
    """Measure on SQLite, and print one table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.pressure", description=__doc__)
    parser.add_argument("--requests", type=int, default=500, help="of each kind, without and under pressure")
    parser.add_argument("--waiting", type=int, default=10_000)
    chosen = parser.parse_args()
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
            "STRUCTGUARD_MAX_CONCURRENT_UPLOADS": str(_PLACES),
            "STRUCTGUARD_MAX_QUEUED_REQUESTS": str(chosen.waiting + 4 * chosen.requests),
            "STRUCTGUARD_UPLOAD_IDLE_TIMEOUT": "PT1H",
        }
        stack.enter_context(serving("service", port=port, environment=environment))
        http = stack.enter_context(httpx.Client(base_url=f"http://127.0.0.1:{port}", headers=headers, timeout=60))
        measure(http, 50)  # warms up
        alone = measure(http, chosen.requests)
        wait_in_line(database, chosen.waiting)
        hold_places(port, headers, stack)
        pressed = measure(http, chosen.requests)
    print(f"{os.cpu_count()} cores, {chosen.requests} of each, {chosen.waiting} waiting, {_PLACES - 1} uploads held\n")
    print("| | | without, ms | under pressure, ms | ratio |\n|---|---|---|---|---|")
    for kind in alone:
        for name, share in (("p50", 0.5), ("p99", 0.99)):
            without, under = (1000 * seconds[int(share * len(seconds))] for seconds in (alone[kind], pressed[kind]))
            print(f"| {kind} | {name} | {without:.1f} | {under:.1f} | {under / without:.2f} |")


if __name__ == "__main__":
    main()
