"""Processes that issue certificates are killed at any moment, and no request has none, two or half of one."""

import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from contextlib import closing, suppress

import pytest
from sqlalchemy import func, select

from service.registry.audit import audit_log, checkpoints
from service.registry.audit.verification import verify_all
from service.registry.crypto import dsse
from service.registry.crypto.signing_keys import signer
from service.registry.job_queue import claims
from service.registry.job_queue.batching import Batching
from service.registry.settings import RegistrySettings
from service.registry.storage.database import Database
from service.registry.tables import Certificate, DeletionRequest
from tests.service.registry import given_rows as given

REQUESTS = 60
LEAST_KILLS = 10


@pytest.fixture
def settings(database, tmp_path):
    url = database.engine.url.render_as_string(hide_password=False)
    return RegistrySettings(data_dir=tmp_path / "data", database_url=url)


@pytest.fixture
def registry(settings):
    with closing(Database.of(settings)) as registry:
        yield registry


@pytest.fixture
def ended(registry):
    """Requests that ended with a version each, and wait for their certificates; their identifiers."""
    requests = []
    with registry.write() as session:
        model = given.model_with_version(session)
        for _ in range(REQUESTS):
            requests.append(given.request(session, model).id)
            given.publish(session, claims.take(session, worker="w", lease=given.LEASE, batching=Batching()))
    return requests


@pytest.fixture
def issue(settings):
    """Have another process issue what there is to issue; its number."""
    environment = os.environ | {
        "STRUCTGUARD_DATA_DIR": str(settings.data_dir),
        "STRUCTGUARD_DATABASE_URL": settings.database_url.get_secret_value(),
    }
    command = [sys.executable, "-m", "tests.service.registry.evidence.issuing"]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True, "bufsize": 1}
    with subprocess.Popen(command, env=environment, **pipes) as mother:
        assert mother.stdout.readline() == "ready\n"

        def one():
            mother.stdin.write("\n")
            return int(mother.stdout.readline())

        yield one
        mother.stdin.close()


def is_over(process):
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return True
    return False


def certified(registry):
    with registry.read() as session:
        return session.scalar(select(func.count()).select_from(Certificate))


def test_each_request_has_one_certificate_however_many_processes_are_killed(registry, settings, ended, issue):
    """Two at a time, as of two processes of a service; then two that nobody kills."""
    chance, kills, longest, before = random.Random(), 0, 0.05, 0
    while (done := certified(registry)) < 0.8 * REQUESTS:
        longest = longest if done > before else longest * 1.2  # seconds; how far one gets depends on the machine
        before = done
        for process in [issue(), issue()]:
            time.sleep(chance.uniform(0, longest))
            with suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
                kills += 1
    assert kills >= LEAST_KILLS
    last = [issue(), issue()]
    deadline = time.monotonic() + 60
    while not all(map(is_over, last)):
        assert time.monotonic() < deadline
        time.sleep(0.01)

    mine = signer(settings)
    with registry.write() as session:
        tenant_id = session.scalars(select(DeletionRequest.tenant_id).limit(1)).one()
        checkpoints.sign(session, tenant_id, mine)
    with registry.read() as session:
        certificates = session.scalars(select(Certificate)).all()
        unmarked = select(DeletionRequest.id).where(DeletionRequest.certified_at.is_(None))
        assert session.scalars(unmarked).all() == []
        links = audit_log.entries(session, tenant_id, 1)
        assert audit_log.unchained_tenants(session) == []
        assert verify_all(session, tenant_id, {mine.key_id: mine.public}).height == len(links)
    assert sorted(one.request_id for one in certificates) == sorted(ended)
    entries = [json.loads(link.entry) for link in links]
    assert {one["as_written"] for one in entries} == {True}
    issued = [(one["about"], one["facts"]["sha256"]) for one in entries if one["event"] == "certificate.issued"]
    assert sorted(issued) == sorted((str(one.request_id), one.sha256) for one in certificates)
    for one in certificates:
        assert hashlib.sha256(one.body).hexdigest() == one.sha256
        said = dsse.verify(one.body, mine.public)["predicate"]
        assert said["request_ids"] == [str(one.request_id)]
        head = links[said["audit"]["chain_height"] - 1]
        assert head.sha256.hex() == said["audit"]["head_sha256"]
