import base64
import json
import uuid
from datetime import timedelta

import pytest
from fastapi.testclient import TestClient
from kombu.exceptions import OperationalError
from pydantic import SecretStr
from redis import Redis

from service.app import create_app
from service.background.sweeper import Sweeper
from service.operations.process import ProcessMetrics
from service.registry.job_queue import claims, jobs
from service.registry.storage.artifacts import Artifacts
from tests.service.given import Client, wait_for
from tests.service.registry.given_reasons import BROKEN


def test_the_sweeper_sweeps(client, settings, database):
    """An expired lease goes back to the queue, and the images of a withdrawn request are destroyed."""
    client.model_with_version()
    lost, withdrawn = client.deletion_request().json(), client.deletion_request().json()
    with database.write() as session:
        assert claims.take(session, worker="gone", lease=timedelta(seconds=-1)) is not None
    client.post(withdrawn["links"]["cancel"])

    with TestClient(create_app(settings.model_copy(update={"sweep_interval": timedelta(seconds=0.05)}))) as http:
        http.headers["Authorization"] = client.http.headers["Authorization"]
        wait_for(lambda: http.get(withdrawn["links"]["self"]).json()["samples_destroyed_at"])
        wait_for(lambda: http.get(lost["links"]["self"]).json()["state"] == "queued")

    assert [path.name for path in (settings.data_dir / "samples").iterdir()] == [lost["id"]]


def test_the_sweeper_outlives_a_database_that_is_away(tmp_path, settings, caplog):
    """It is logged, and tried again."""
    url = SecretStr(f"sqlite:///{tmp_path}/missing/registry.sqlite")
    changed = settings.model_copy(update={"sweep_interval": timedelta(seconds=0.05), "database_url": url})
    with TestClient(create_app(changed)):
        wait_for(lambda: caplog.text.count("the sweeper could not finish its turn") >= 2)


def test_a_committed_request_rings_at_once(client, settings, broker):
    """The message names the job and nothing else, and does not wait for the next sweep."""
    queue = f"test-{uuid.uuid4()}"
    changed = settings.model_copy(update={"broker_url": SecretStr(broker), "celery_queue": queue})
    client.model_with_version()
    with TestClient(create_app(changed)) as http, Redis.from_url(broker) as redis:
        assert http.get("/readyz").json()["checks"]["broker"] == "ok"
        http.headers["Authorization"] = client.http.headers["Authorization"]
        request = Client(http).deletion_request().json()
        wait_for(lambda: redis.llen(queue) == 1)
        message = json.loads(redis.lpop(queue))
        arguments, _, _ = json.loads(base64.b64decode(message["body"]))
        assert arguments == [request["links"]["job"].rpartition("/")[2]]


def test_only_waiting_jobs_are_announced(client, database):
    """And not again for a while."""
    client.model_with_version()
    client.deletion_request()
    with database.write() as session:
        assert len(jobs.take_unannounced(session, timedelta(seconds=30))) == 1
        assert jobs.take_unannounced(session, timedelta(seconds=30)) == {}
        claim = claims.take(session, worker="w", lease=timedelta(seconds=30))
        claims.report_failure(session, claim, reason=BROKEN)
        assert jobs.take_unannounced(session, timedelta(0)) == {}


def test_a_job_that_could_not_be_announced_is_announced_at_the_next_turn(client, settings, database):
    """Not a lease later: the broker may be back by then."""
    client.model_with_version()
    client.deletion_request()
    changed = settings.model_copy(update={"broker_url": SecretStr("redis://127.0.0.1:1/0")})
    with pytest.raises(OperationalError):
        Sweeper(database, Artifacts(settings.data_dir), changed, ProcessMetrics(1).last_success)._announce()
    with database.write() as session:
        assert len(jobs.take_unannounced(session, timedelta(seconds=30))) == 1
