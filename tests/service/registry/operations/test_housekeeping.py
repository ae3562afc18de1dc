from datetime import timedelta
from pathlib import Path

import pytest

from service.registry.deletion_requests import lifecycle
from service.registry.job_queue import claims
from service.registry.operations import housekeeping
from service.registry.settings import RegistrySettings
from service.registry.states import State
from service.registry.storage.artifacts import Artifacts
from tests.service.registry.given_reasons import A_TEST_FELL, BROKEN
from tests.service.registry.given_rows import claim, model_with_version, publish, request


@pytest.fixture
def artifacts(tmp_path):
    return Artifacts(tmp_path / "artifacts")


@pytest.fixture
def accepted(database, artifacts):
    """A request whose images are there."""
    with artifacts.stage() as staged, database.write() as session:
        found = request(session, model_with_version(session))
        staged.keep(found.samples)
    return found


def sweep(database, artifacts):
    housekeeping.sweep(database, artifacts, RegistrySettings(max_attempts=1))


def samples(database, accepted):
    with database.read() as session:
        found = lifecycle.find(session, accepted.tenant_id, accepted.id)
        return found.samples, found.samples_destroyed_at


@pytest.mark.parametrize("objections", [[], [A_TEST_FELL]])
def test_images_are_destroyed_when_the_request_has_ended(database, artifacts, accepted, objections):
    """File first, then its mention; and it is written down when."""
    held = claim(database)
    with database.write() as session:
        publish(session, held, objections)
    sweep(database, artifacts)
    key, destroyed_at = samples(database, accepted)
    assert key is None
    assert destroyed_at is not None
    assert not artifacts.path(accepted.samples).exists()
    sweep(database, artifacts)
    assert samples(database, accepted) == (None, destroyed_at)


def test_images_stay_while_they_may_be_needed(database, artifacts, accepted):
    """Waiting, running, and failed, because that may be retried."""
    sweep(database, artifacts)
    held = claim(database)
    sweep(database, artifacts)
    with database.write() as session:
        claims.report_failure(session, held, reason=BROKEN)
    sweep(database, artifacts)
    assert artifacts.path(accepted.samples).exists()
    assert samples(database, accepted) == (accepted.samples, None)


def test_a_crash_between_file_and_mention_is_made_up_for(database, artifacts, accepted):
    """The file is gone already; the mention goes now."""
    with database.write() as session:
        lifecycle.withdraw(session, accepted)
    artifacts.delete(accepted.samples)
    sweep(database, artifacts)
    assert samples(database, accepted)[0] is None


def test_a_destroyed_key_is_overwritten_in_the_file_of_the_database(sqlite, artifacts):
    """SQLite would only mark its place as free."""
    wrapped = bytes(range(60))
    with sqlite.write() as session:
        accepted = request(session, model_with_version(session), samples_key=wrapped)
        lifecycle.withdraw(session, accepted)

    def file():
        with sqlite.engine.connect() as connection:
            connection.exec_driver_sql("ROLLBACK")
            connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
        return Path(sqlite.engine.url.database).read_bytes()

    assert wrapped in file()
    sweep(sqlite, artifacts)
    assert wrapped not in file()


def test_a_sweep_returns_expired_leases(database, artifacts, accepted):
    """Here after the only attempt that is allowed."""
    claim(database, lease=timedelta(seconds=-1))
    sweep(database, artifacts)
    with database.read() as session:
        assert lifecycle.find(session, accepted.tenant_id, accepted.id).state is State.FAILED
