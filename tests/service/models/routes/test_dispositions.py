import pytest
from sqlalchemy import select

from service.registry.audit import audit_log
from service.registry.operations import housekeeping
from service.registry.storage.artifacts import Artifacts
from service.registry.tables import Tenant
from tests.service.given import problem, row
from tests.service.registry import given_rows
from tests.service.registry.given_reasons import A_TEST_FELL

VERSION = "/v1/models/pets/versions/1"


@pytest.fixture
def events(database):
    """What the audit log says of versions and their checkpoints."""

    def of_versions():
        with database.write() as session:
            tenant_id = session.scalars(select(Tenant.id).where(Tenant.name == "acme")).one()
            audit_log.chain(session, tenant_id)
            said = [link.entry for link in audit_log.entries(session, tenant_id, 1)]
        names = ("kept", "quarantined", "deleted", "spared", "checkpoint_destroyed")
        return [name for entry in said for name in names if f'"event":"version.{name}"' in entry]

    return of_versions


def dispose(client, disposition, version=VERSION):
    return client.put(f"{version}/disposition", json={"disposition": disposition})


def sweep(database, settings):
    housekeeping.sweep(database, Artifacts(settings.data_dir), settings)


def checkpoints(settings):
    return list((settings.data_dir / "checkpoints").iterdir())


def test_a_quarantined_version_is_neither_given_out_nor_pointed_to_nor_built_on(client, settings, database, events):
    """Until it is kept again."""
    client.model_with_version()
    shown = dispose(client, "quarantined").json()
    assert (shown["disposition"], shown["deleted_at"]) == ("quarantined", None)
    assert shown["disposed_at"] is not None
    problem(client.get(f"{VERSION}/checkpoint"), 409, "version-quarantined")
    assert client.head(f"{VERSION}/checkpoint").status_code == 409
    problem(client.put("/v1/models/pets/aliases/production", json={"version": 1}), 409, "version-quarantined")
    problem(client.deletion_request(), 409, "version-missing")
    problem(client.version(parent=1), 422, "invalid-input", "#/parent")
    assert dispose(client, "quarantined").json() == shown
    sweep(database, settings)
    assert len(checkpoints(settings)) == 1
    assert dispose(client, "kept").json()["disposition"] == "kept"
    assert client.get(f"{VERSION}/checkpoint").status_code == 200
    assert client.deletion_request().status_code == 202
    assert events() == ["quarantined", "kept"]


def test_a_deleted_version_is_gone_for_good(client, settings, database, events):
    """Its checkpoint at the next sweep; what it was is known still."""
    client.model_with_version()
    assert dispose(client, "deleted").json()["deleted_at"] is None
    problem(client.get(f"{VERSION}/checkpoint"), 410, "version-deleted")
    problem(client.put("/v1/models/pets/aliases/production", json={"version": 1}), 410, "version-deleted")
    problem(client.get(f"{VERSION}/compare/1"), 410, "version-deleted")
    problem(dispose(client, "kept"), 410, "version-deleted")
    for _ in range(2):
        sweep(database, settings)
    assert checkpoints(settings) == []
    shown = client.get(VERSION).json()
    assert shown["disposition"] == "deleted"
    assert shown["deleted_at"] >= shown["disposed_at"]
    assert events() == ["deleted", "checkpoint_destroyed"]


def test_a_checkpoint_is_destroyed_though_a_process_dies_meanwhile(client, settings, database, monkeypatch):
    """Between the removal of the file and the COMMIT."""
    client.model_with_version()
    dispose(client, "deleted")

    def killed(self, key):
        self.path(key).unlink()
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(Artifacts, "delete", killed)
        with pytest.raises(KeyboardInterrupt):
            sweep(database, settings)
    assert client.get(VERSION).json()["deleted_at"] is None
    sweep(database, settings)
    assert client.get(VERSION).json()["deleted_at"] is not None


def test_what_is_in_use_is_not_taken_out_of_it(client, database):
    """An alias points to it, or a request waits that would build on it."""
    client.model_with_version()
    client.version()
    second = "/v1/models/pets/versions/2"
    client.put("/v1/models/pets/aliases/production", json={"version": 1})
    request = client.deletion_request().json()
    for version in (VERSION, second):
        for to in ("quarantined", "deleted"):
            problem(dispose(client, to, version), 409, "version-in-use")
    client.post(request["links"]["cancel"])
    assert dispose(client, "quarantined", second).status_code == 200
    client.delete("/v1/models/pets/aliases/production")
    assert dispose(client, "quarantined").status_code == 200


def test_deleting_takes_the_scope_admin(client, database):
    client.model_with_version()
    client.signs_in(database, "models:register")
    problem(dispose(client, "deleted"), 403, "scope-missing")
    assert dispose(client, "quarantined").status_code == 200
    problem(client.put(f"{VERSION}/disposition", json={"disposition": "burnt"}), 422, "invalid-input", "#/disposition")


def run(client, database, *, objections=()):
    """A run that makes a version of the newest one."""
    assert client.deletion_request().status_code == 202
    claim = given_rows.claim(database)
    with database.write() as session:
        given_rows.publish(session, claim, objections=objections)


def model_with_policy(client, disposition, *, follows_gate=None):
    client.post("/v1/models", json={"name": "pets", "policy": {"parent_disposition": disposition}})
    client.version()
    if follows_gate is not None:
        client.put("/v1/models/pets/aliases/production", json={"version": 1, "follows_gate": follows_gate})


@pytest.mark.parametrize(
    ("policy", "state", "logged"),
    [
        ("keep", "kept", []),
        ("quarantine", "quarantined", ["quarantined"]),
        ("delete", "deleted", ["deleted", "checkpoint_destroyed"]),
    ],
)
def test_the_policy_says_what_becomes_of_the_version_before(client, database, settings, events, policy, state, logged):
    """With its alias, which has moved on; and only when the new one has passed the gate."""
    model_with_policy(client, policy, follows_gate=True)
    run(client, database, objections=[A_TEST_FELL])
    assert client.get(VERSION).json()["disposition"] == "kept"
    run(client, database)
    assert client.get(VERSION).json()["disposition"] == state
    assert client.get("/v1/models/pets/aliases/production").json()["version"] == 3
    sweep(database, settings)
    assert (client.get(VERSION).json()["deleted_at"] is not None) == (policy == "delete")
    assert events() == logged
    assert client.deletion_request().status_code == 202  # it builds on the new one


def test_a_version_that_an_alias_still_points_to_is_spared(client, database, events):
    """And the log says so."""
    model_with_policy(client, "delete", follows_gate=False)
    run(client, database)
    assert client.get(VERSION).json()["disposition"] == "kept"
    assert events() == ["spared"]


def test_a_checkpoint_stays_while_a_run_may_read_it(client, database, settings):
    """A run that began from it before it was deleted."""
    model_with_policy(client, "delete")
    run(client, database)
    client.deletion_request()
    claim = given_rows.claim(database)
    sweep(database, settings)
    assert client.get(VERSION).json()["deleted_at"] is None
    with database.write() as session:
        given_rows.publish(session, claim)
    sweep(database, settings)
    assert client.get(VERSION).json()["deleted_at"] is not None


def test_the_reach_of_a_person_says_which_versions_are_out_of_use(client, database):
    client.model_with_version()
    client.manifest(row("1"))
    dispose(client, "quarantined")
    (reached,) = client.post("/v1/subjects/reach", json={"subject_id": "jane"}).json()["items"]
    assert (reached["state"], reached["disposition"]) == ("needs_unlearning", "quarantined")
