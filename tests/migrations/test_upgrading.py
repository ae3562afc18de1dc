"""A database that is full of what an earlier release wrote is brought up to this one, and back, and loses nothing."""

import hashlib
from datetime import timedelta

import pytest
from alembic import command
from alembic.runtime.migration import MigrationContext
from fastapi.testclient import TestClient
from pydantic import SecretStr
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError

from service.app import create_app
from service.registry.access import api_keys
from service.registry.access.scopes import DEFAULT_TENANT, Scope
from service.registry.storage import schema
from service.registry.storage.database import Database
from service.settings import ServiceSettings
from tests.conftest import new_postgresql_database
from tests.migrations import previous_release as previous
from tests.migrations.previous_release import identity
from tests.service.given import wait_for
from tests.service.given_jobs import Jobs

FIRST = "8f2dc46422e6"  # there were no tenants and no keys
PREVIOUS = "f36c81a7d924"


@pytest.fixture(params=["sqlite", "postgresql"])
def empty(request, tmp_path):
    """A database without tables."""
    if request.param == "sqlite":
        database = Database(f"sqlite:///{tmp_path / 'registry.sqlite'}")
        yield database
        database.close()
    else:
        with new_postgresql_database() as database:
            move(database, "base")
            yield database


def move(database, revision):
    """Migrate up, or down, to this revision."""
    config = schema._config()
    with schema.migration_transaction(database) as connection:
        config.attributes["connection"] = connection
        up = not MigrationContext.configure(connection).get_current_heads()
        (command.upgrade if up else command.downgrade)(config, revision)


def content(database):
    with database.engine.connect() as connection:
        return previous.content(connection)


def check_kept(before, after):
    """Each row is there still, and says the same in all the columns that are still there."""
    for table, rows in before.items():
        columns = rows[0].keys() & after[table][0].keys()
        assert "id" in columns or len(columns) > 1
        told = [{name: row[name] for name in columns} for row in after[table]]
        for row in rows:
            assert {name: row[name] for name in columns} in told, table


@pytest.mark.parametrize("revision", [FIRST, PREVIOUS])
def test_every_row_outlives_the_upgrade_and_the_way_back(empty, revision):
    move(empty, revision)
    with empty.engine.begin() as connection:
        previous.fill(connection)
    before = content(empty)

    schema.upgrade(empty)

    assert schema.is_current(empty)
    check_kept(before, content(empty))
    move(empty, revision)
    assert content(empty) == before


def test_a_migration_that_leaves_a_row_without_the_one_it_refers_to_changes_nothing(sqlite):
    with sqlite.write() as session:
        owner = api_keys.ensure_tenant(session, "acme").id
        api_keys.create_key(session, owner, name="test", scopes=[Scope.ADMIN], expires_at=None)
    with pytest.raises(IntegrityError, match="refers to none"), schema.migration_transaction(sqlite) as connection:
        connection.execute(text("DELETE FROM tenants"))
    with sqlite.write() as session:
        assert api_keys.find_tenant(session, "acme").id == owner
        with pytest.raises(IntegrityError):  # and foreign keys mean something again
            session.execute(text("DELETE FROM tenants"))


@pytest.fixture
def served(empty, tmp_path, request):
    """The service of today on a database of then, and a key for it."""
    move(empty, request.param)
    with empty.engine.begin() as connection:
        previous.fill(connection)
    schema.upgrade(empty)
    for name, file in previous.FILES.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(file)
    key = previous.KEY
    if request.param == FIRST:
        with empty.write() as session:
            owner = api_keys.find_tenant(session, DEFAULT_TENANT).id
            key = api_keys.create_key(session, owner, name="new", scopes=[Scope.ADMIN], expires_at=None)[1]
    settings = ServiceSettings(
        data_dir=tmp_path,
        database_url=SecretStr(empty.engine.url.render_as_string(hide_password=False)),
        sweep_interval=timedelta(hours=1),
    )
    with TestClient(create_app(settings)) as http:
        http.headers["Authorization"] = f"Bearer {key}"
        yield http, empty


@pytest.mark.parametrize("served", [FIRST, PREVIOUS], indirect=True)
def test_what_was_there_is_served_and_goes_on(served):
    http, database = served

    def get(path):
        answer = http.get(path)
        assert answer.status_code == 200, answer.text
        return answer.json()

    assert get("/readyz")["status"] == "ok"
    assert get("/v1/models/pets")["description"] == "of people's pets"
    newest = get("/v1/models/pets/versions/latest")
    assert (newest["number"], newest["parent"], newest["gate"]) == (2, 1, "passed")
    content = http.get("/v1/models/pets/versions/2/checkpoint").content
    assert (content, hashlib.sha256(content).hexdigest()) == (b"second", newest["sha256"])
    assert get("/v1/models/pets/evaluation-sets")["items"][0]["name"] == "holdout"
    assert get("/v1/anchor-sets")["items"][0]["dimension"] == 384
    assert len(get("/v1/jobs")["items"]) == len(previous.STATES)
    assert len(get(f"/v1/jobs/{identity('job completed')}/steps")["items"]) == 2
    running = f"/v1/deletion-requests/{identity('request running')}"
    wait_for(lambda: get(running)["state"] == "queued")  # its worker is long gone
    states = {item["id"]: item["state"] for item in get("/v1/deletion-requests")["items"]}
    found = {state: states[str(identity(f"request {state}"))] for state in previous.STATES}
    assert found == {state: state for state in previous.STATES} | {"running": "queued"}
    moves = get(f"/v1/deletion-requests/{identity('request queued')}")["history"]
    assert [move["after"] for move in moves] == ["received", "queued"]

    jobs = Jobs(database)
    claim = jobs.claim()
    assert claim.job_id == identity("job queued")
    jobs.publish(claim, metrics={"test_accuracy": 91.0})
    served = get(f"/v1/deletion-requests/{identity('request queued')}")
    assert (served["state"], served["version"]) == ("completed", 3)
    failed = f"/v1/deletion-requests/{identity('request failed')}"
    assert http.post(f"{failed}/retry").json()["state"] == "queued"
    assert http.post(f"{running}/cancel").json()["state"] == "cancelled"


@pytest.mark.parametrize("served", [PREVIOUS], indirect=True)
def test_keys_aliases_webhooks_and_people_are_there_too(served):
    http, _ = served
    assert {key["name"] for key in http.get("/v1/api-keys").json()["items"]} == {"first", "old"}
    alias = http.get("/v1/models/pets/aliases/production").json()
    assert (alias["version"], alias["follows_gate"]) == (2, True)
    assert http.get("/v1/models/pets/versions/1/manifests").json()["items"][0]["suppressed_records"] == 1
    assert http.get("/v1/suppressions").json()["items"][0]["kind"] == "subject"
    hook = f"/v1/webhooks/{identity('hook')}"
    assert http.get(hook).json()["disabled_reason"] == "it answered 410 Gone"
    assert http.get(f"{hook}/deliveries").json()["items"][0]["attempts"][0]["status"] == 500
    theirs = identity("the controller's")
    assert http.get(f"/v2/requests/{theirs}").json()["request_status"] == "completed"
