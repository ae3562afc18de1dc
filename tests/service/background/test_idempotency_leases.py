"""A key stays reserved while somebody works on its request, and not much longer."""

import json
import os
import signal
import subprocess
import sys
import threading
from datetime import timedelta

import httpx2
from sqlalchemy import func, select

from service.cli.stack import free_port
from service.models import uploads
from service.registry.access import idempotency_keys
from service.registry.storage.database import clock
from service.registry.tables import Creation, Model
from tests.service.given import images, png, running, wait_for

KEY = {"Idempotency-Key": "k"}

# The service, which comes no further than into the transaction of a POST.
HANGS = """
import time
from service.registry.models import models
from service.__main__ import main

def hang(*_, **__):
    print("inside", flush=True)
    time.sleep(600)

models.register_model = hang
main()
"""


def reserved_until(database):
    with database.read() as session:
        return session.scalar(select(Creation.in_flight_until)), clock(session)


def test_a_process_that_is_killed_in_a_post_leaves_its_key_free_a_moment_later(client, settings, database):
    """Until then others are told to wait, and afterwards one of them creates what the first one did not."""
    environment = {
        "STRUCTGUARD_DATA_DIR": str(settings.data_dir),
        "STRUCTGUARD_DATABASE_URL": settings.database_url.get_secret_value(),
        "STRUCTGUARD_PORT": str(free_port()),
    }
    process = subprocess.Popen([sys.executable, "-c", HANGS], env=os.environ | environment, stdout=subprocess.PIPE)
    address = f"http://127.0.0.1:{environment['STRUCTGUARD_PORT']}"
    headers = KEY | {"Authorization": client.http.headers["Authorization"]}
    poster = threading.Thread(target=_post_until_it_breaks, args=(address, headers), daemon=True)
    try:
        poster.start()
        assert process.stdout.readline() == b"inside\n"
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stdout.close()
    until, now = reserved_until(database)
    assert until - now <= idempotency_keys.RESERVATION_LEASE == timedelta(seconds=10)
    answers = []

    def created():
        answers.append(client.http.post("/v1/models", json={"name": "pets"}, headers=KEY).status_code)
        return answers[-1] != 409

    wait_for(created)
    assert answers[-1] == 201
    with database.read() as session:
        assert session.scalar(select(func.count()).select_from(Model)) == 1
    poster.join(60)


def _post_until_it_breaks(address, headers):
    with httpx2.Client(base_url=address, headers=headers, timeout=60, trust_env=False) as http:
        is_up = False
        while True:
            try:
                is_up = is_up or http.get("/livez").is_success
                http.post("/v1/models", json={"name": "pets"})
            except httpx2.TransportError:
                if is_up:
                    return


def test_a_post_that_takes_long_keeps_its_key(client, settings, database, monkeypatch):
    """Its process renews the reservation, again and again."""
    monkeypatch.setattr(idempotency_keys, "RESERVATION_LEASE", timedelta(seconds=0.5))
    check_upload = uploads.upload_formats.check_upload
    entered, go_on = threading.Event(), threading.Event()

    def slow(*given, **more):
        entered.set()
        assert go_on.wait(120)
        return check_upload(*given, **more)

    client.model_with_version()
    answers = []
    form = {"data": {"metadata": json.dumps({"model": "pets", "labels": ["cat"]})}, "files": images(png())}
    with running(settings, client) as service:
        monkeypatch.setattr(uploads.upload_formats, "check_upload", slow)

        def post():
            answers.append(service.http.post("/v1/deletion-requests", headers=KEY, **form).status_code)

        first = threading.Thread(target=post)
        first.start()
        assert entered.wait(60)
        began, _ = reserved_until(database)
        wait_for(lambda: reserved_until(database)[0] > began + timedelta(seconds=1))
        go_on.set()
        first.join(60)
    assert answers == [202]
