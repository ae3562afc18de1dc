"""The service as a process, with something of everything in it, for those who know it by its description only."""

import os
import shutil
from contextlib import contextmanager
from dataclasses import dataclass

import httpx
from sqlalchemy import select

from service.cli.processes import start, stop
from service.cli.stack import free_port, url, wait_until_ready
from service.registry.states import State
from service.registry.tables import ApiKey
from tests.service import given
from tests.service.given_jobs import Jobs


@dataclass(frozen=True)
class Served:
    """A service that runs, and keys of two tenants that may do everything."""

    address: str
    key: str
    key_id: str
    other_key: str


@contextmanager
def serving(database, folder):
    """The service on a migrated database, for as long as the block lasts."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    port = free_port()
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("STRUCTGUARD_")},
        "STRUCTGUARD_DATA_DIR": str(folder),
        "STRUCTGUARD_DATABASE_URL": database.engine.url.render_as_string(hide_password=False),
        "STRUCTGUARD_PORT": str(port),
        "STRUCTGUARD_RATE_LIMIT": "0",  # thousands of requests a minute are the point
        "STRUCTGUARD_WEBHOOK_PRIVATE": "true",  # callbacks may go to this machine, and go nowhere else: see hooks.py
    }
    process = start("service", environment, folder / "log")
    address = url("127.0.0.1", port)
    try:
        wait_until_ready(address, process, folder / "log")
        key = given.key(database)
        with database.read() as session:
            key_id = str(session.scalars(select(ApiKey.id)).one())
        served = Served(address, key, key_id, other_key=given.key(database, tenant="globex"))
        _fill(served, database)
        yield served
    finally:
        stop([process])


def _fill(served, database):
    """A model with a version, all that hangs on it, and deletion requests in the states that a worker leads to."""
    headers = {"Authorization": f"Bearer {served.key}"}
    with httpx.Client(base_url=served.address, headers=headers, timeout=60) as http:
        client, jobs = given.Client(http), Jobs(database)
        client.model_with_version()
        sets = {"name": "holdout", "kind": "test", "labels": ["cat", 1]}
        client.upload("/v1/models/pets/evaluation-sets", sets, given.images(given.png(3), given.png(4)))
        client.manifest(given.row("a"), given.row("b", subject="joe"))
        client.put("/v1/models/pets/aliases/production", json={"version": 1})
        client.put("/v1/models/pets/versions/1/tags/stage", json={"value": "live"})
        client.post("/v1/webhooks", json={"url": "http://127.0.0.1:9/"})
        client.post("/v1/models", json={"name": "guarded", "approval_required": True})
        client.version("guarded")
        for ended in (State.FAILED, State.COMPLETED):
            client.deletion_request()
            claim = jobs.claim()
            if ended is State.FAILED:
                jobs.fail(claim)
            else:
                jobs.publish(claim, metrics={"forget_accuracy": 100.0})
        client.deletion_request()
        client.deletion_request(model="guarded")
