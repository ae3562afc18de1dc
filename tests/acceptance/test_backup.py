"""A backup that is taken while requests come and go is, once restored, a service that goes on."""

import hashlib
import json
import subprocess
import sys
import threading
from contextlib import closing
from pathlib import Path

from service.registry import schema
from service.registry.database import Database
from tests.acceptance.conftest import Digits, Stack, running
from tests.acceptance.test_forgetting import post_request, register


def test_a_backup_of_a_busy_service_is_restored_and_goes_on(tmp_path: Path, digits: Digits) -> None:
    """What was accepted before it waits and is served; images of requests that came and went do not disturb it."""
    old, new, key = tmp_path / "old", tmp_path / "new", tmp_path / "old" / "master.key"
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
        coming = threading.Thread(target=come_and_go, args=(stack, name, digits, stopping))
        coming.start()
        try:
            for number in range(3):
                accepted = [
                    it["id"] for it in client.get("/v1/deletion-requests?limit=100&state=queued").json()["items"]
                ]
                cli("backup", tmp_path / f"{number}.tar", "--data", old)
        finally:
            stopping.set()
            coming.join()
    assert len(accepted) > 1

    told = cli("restore", tmp_path / "2.tar", "--data", new, "--master-key", key)

    assert told["sealed"] == told["waiting"] >= len(accepted)
    with (
        closing(Database(f"sqlite:///{new / 'registry.sqlite'}")) as database,
        running(new, database) as stack,
        stack.client() as client,
    ):
        again = client.get(f"/v1/models/{name}/versions/1").json()
        checkpoint = client.get(f"/v1/models/{name}/versions/1/checkpoint").content
        assert again["sha256"] == version["sha256"] == hashlib.sha256(checkpoint).hexdigest()
        waiting = {it["id"] for it in client.get("/v1/deletion-requests?limit=100&state=queued").json()["items"]}
        assert set(accepted) <= waiting
        for request in waiting - {first.rpartition("/")[2]}:
            client.post(f"/v1/deletion-requests/{request}/cancel").raise_for_status()
        stack.start_worker()
        assert stack.finish(client, first)["state"] == "completed"


def come_and_go(stack: Stack, name: str, digits: Digits, stopping: threading.Event) -> None:
    """Send requests, and withdraw two of three: their images are destroyed at once."""
    with stack.client() as client:
        number = 0
        while not stopping.is_set():
            request = post_request(client, name, digits, options={"scope": "exact"}).headers["location"]
            if number % 3:
                client.post(f"{request}/cancel").raise_for_status()
            number += 1
            stopping.wait(0.05)


def cli(*arguments: str | Path) -> dict:
    """Run `structguard` to its end; the document that it prints."""
    command = [sys.executable, "-m", "service.cli", *map(str, arguments), "--json"]
    return json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
