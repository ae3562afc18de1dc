"""A backup that is taken while requests come and go is, once restored, a service that goes on."""

import hashlib
import itertools
import json
import subprocess
import sys
import threading
from contextlib import closing
from pathlib import Path

from service.registry.storage import schema
from service.registry.storage.database import Database
from tests.acceptance.conftest import Digits, Stack, running
from tests.acceptance.test_forgetting import post_request, register


def test_a_backup_of_a_busy_service_is_restored_and_goes_on(tmp_path: Path, digits: Digits) -> None:
    """What was accepted before it waits and is served; images of requests that came and went do not disturb it."""
    old, new, key = tmp_path / "old", tmp_path / "new", tmp_path / "lost" / "master.key"
    old.mkdir()
    with (
        closing(Database(f"sqlite:///{old / 'registry.sqlite'}")) as database,
        schema.upgrade(database) or running(old, database, STRUCTGUARD_SWEEP_INTERVAL="PT0.05S") as stack,
        stack.client() as client,
    ):
        name = register(client, digits)
        first = post_request(client, name, digits, options={"scope": "exact"}).headers["location"]
        version = client.get(f"/v1/models/{name}/versions/1").json()
        stopping = threading.Event()
        kept: list[str] = []
        coming = threading.Thread(target=come_and_go, args=(stack, name, digits, stopping, kept))
        coming.start()
        try:
            for number in range(2):
                accepted = [first, *kept]
                cli("backup", tmp_path / f"{number}.tar", "--data", old)
        finally:
            stopping.set()
            coming.join()
    assert len(accepted) > 1
    old.rename(tmp_path / "lost")

    told = cli("restore", tmp_path / "1.tar", "--data", new, "--master-key", key)

    assert told["sealed"] == told["waiting"] >= len(accepted)
    with (
        closing(Database(f"sqlite:///{new / 'registry.sqlite'}")) as database,
        running(new, database) as stack,
        stack.client() as client,
    ):
        again = client.get(f"/v1/models/{name}/versions/1").json()
        checkpoint = client.get(f"/v1/models/{name}/versions/1/checkpoint").content
        assert again["sha256"] == version["sha256"] == hashlib.sha256(checkpoint).hexdigest()
        queued = client.get("/v1/deletion-requests", params={"state": "queued", "limit": 100}).json()["items"]
        waiting = {request["links"]["self"] for request in queued}
        assert set(accepted) <= waiting
        for request in waiting - {first}:  # for the sake of time
            client.post(f"{request}/cancel").raise_for_status()
        stack.start_worker()
        assert stack.finish(client, first)["state"] == "completed"


def come_and_go(stack: Stack, name: str, digits: Digits, stopping: threading.Event, kept: list[str]) -> None:
    """Send requests, and withdraw most of them, whose images are destroyed at once; the others are `kept`."""
    with stack.client() as client:
        for number in itertools.count():
            request = post_request(client, name, digits, some=slice(1)).headers["location"]
            if number % 3 or len(kept) > 20:
                client.post(f"{request}/cancel").raise_for_status()
            else:
                kept.append(request)
            if stopping.wait(0.2):
                return


def cli(*arguments: str | Path) -> dict:
    """Run `structguard` to its end; the document that it prints."""
    command = [sys.executable, "-m", "service.cli", *map(str, arguments), "--json"]
    return json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
