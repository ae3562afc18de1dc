"""What `structguard doctor` says of installations that are well, and of those that are not."""

from datetime import UTC, datetime, timedelta

import pytest
from pydantic import SecretStr
from sqlalchemy import text, update

from service.cli import doctor
from service.cli.doctor import audit, broker, master_key, queue, store
from service.cli.doctor import database as stored
from service.cli.doctor import worker as equipped
from service.cli.doctor.finding import Outcome
from service.cli.exits import CommandError, Exit
from service.cli.stack import free_port
from service.registry.audit import audit_log, verification
from service.registry.crypto.encrypted_files import EncryptedWriter
from service.registry.crypto.master_key import MasterKey
from service.registry.states import State
from service.registry.storage.artifacts import Artifacts
from service.registry.storage.database import Database
from service.registry.tables import AuditEntry, AuditVerification, DeletionRequest, Job, Transition
from service.settings import ServiceSettings
from tests.service.registry import given_rows

FIRST = "8f2dc46422e6"  # the migration that all began with


@pytest.fixture
def settings(tmp_path):
    """Of an installation whose folder has what the rows of `given_rows` name."""
    settings = ServiceSettings(data_dir=tmp_path / "data", max_upload_bytes=1024)
    for key in ("checkpoints/x", "staging/x"):
        (settings.data_dir / key).parent.mkdir(parents=True)
        (settings.data_dir / key).touch()
    return settings


@pytest.fixture
def waiting(database, settings):
    """A request that waits, with encrypted images, and its file."""
    with database.write() as session:
        model = given_rows.model_with_version(session)
        request = given_rows.request(session, model)
        file = settings.data_dir / request.samples
        file.parent.mkdir()
        with EncryptedWriter(file) as target:
            target.write(b"pixels")
        request.samples_key = MasterKey(settings).wrap(target.key, request.id)
    return request, file


def outcomes(findings):
    found = [findings] if isinstance(findings, doctor.Finding) else list(findings)
    assert all(bool(finding.mend) == (finding.outcome is not Outcome.OK) for finding in found)
    return {finding.check: str(finding.outcome) for finding in found}


def says(findings):
    findings = [findings] if isinstance(findings, doctor.Finding) else findings
    return " ".join(f"{finding.says} {finding.mend}" for finding in findings)


def later(database, **spans):
    """Move what is in the database so far into the past."""
    with database.write() as session:
        for table, columns in (
            (DeletionRequest, ("received_at", "due_at", "ended_at")),
            (Transition, ("at",)),
            (Job, ("created_at", "lease_until")),
        ):
            for row in session.query(table):
                for column in columns:
                    if (at := getattr(row, column)) is not None:
                        setattr(row, column, at - timedelta(**spans))


def test_an_installation_that_is_well_has_nothing_to_mend(structguard, tmp_path, monkeypatch):
    monkeypatch.setenv("STRUCTGUARD_DATA_DIR", str(tmp_path))
    structguard("migrate")
    ran = structguard("doctor", "--json")
    assert (ran.code, ran.document["outcome"]) == (Exit.OK, "ok"), ran.err
    found = {finding["check"]: finding for finding in ran.document["findings"]}
    assert found.keys() == {
        *("database", "migrations", "writing", "clock", "files", "disk", "master key", "audit log"),
        *("workers", "requests"),
        *("store", "broker", "device", "encoder"),
    }
    assert found["encoder"]["says"] == "minilm: its weights are on this machine"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["registry.sqlite", "staging"]  # and no key was made


def test_what_is_wrong_is_said_with_how_to_mend_it_and_no_password(structguard, tmp_path, monkeypatch):
    """Wherever it stands in an address; the other checks are made all the same."""
    monkeypatch.setenv("STRUCTGUARD_DATABASE_URL", f"postgresql+psycopg://u:s%65same@127.0.0.1:{free_port()}/x")
    monkeypatch.setenv("STRUCTGUARD_BROKER_URL", f"redis://:s%65same@127.0.0.1:{free_port()}/0")
    monkeypatch.setenv("STRUCTGUARD_DATA_DIR", str(tmp_path / "unmounted"))
    monkeypatch.setenv("STRUCTGUARD_ENCODER", "openclip")
    monkeypatch.setenv("STRUCTGUARD_OPENCLIP_WEIGHTS", "imaginary")
    monkeypatch.setenv("STRUCTGUARD_BATCH_IMGES", "8")
    ran = structguard("doctor")
    assert ran.code == Exit.UNHEALTHY
    lines = {line[9:22].strip(): line.split()[0] for line in ran.out.splitlines() if line[0] != " "}
    assert lines == {
        **dict.fromkeys(("database", "store", "broker", "encoder"), "problem"),
        **dict.fromkeys(("the rest", "settings"), "warning"),
        "device": "ok",
    }
    assert "put STRUCTGUARD_DATABASE_URL right" in ran.out
    assert "STRUCTGUARD_BATCH_IMGES" in ran.out
    assert "same" not in ran.out.replace("the same broker", "")
    assert not (tmp_path / "unmounted").exists()


def test_a_setting_that_cannot_be_is_named(structguard, monkeypatch):
    monkeypatch.setenv("STRUCTGUARD_LEASE", "soon")
    ran = structguard("doctor")
    assert ran.code == Exit.UNHEALTHY
    assert "the service cannot use STRUCTGUARD_LEASE" in ran.out
    assert "soon" not in ran.out


def test_a_sqlite_file_that_is_not_there_is_not_made(settings):
    assert outcomes(stored.reachable(settings)) == {"database": "problem"}
    assert not (settings.data_dir / "registry.sqlite").exists()


@pytest.mark.parametrize(("revision", "word"), [("future", "newer"), (None, "no tables"), (FIRST, "older")])
def test_tables_of_another_release_are_a_problem(sqlite, revision, word):
    with sqlite.write() as session:
        session.execute(text("DELETE FROM alembic_version"))
        if revision:
            session.execute(text("INSERT INTO alembic_version VALUES (:it)"), {"it": revision})
    finding = stored.migrated(sqlite)
    assert outcomes(finding) == {"migrations": "problem"}
    assert word in finding.says


def test_a_database_that_may_only_be_read_is_a_problem(postgresql):
    assert outcomes(stored.writable(postgresql)) == {"writing": "ok"}
    read_only = {"options": "-c default_transaction_read_only=on"}
    copy = Database(postgresql.engine.url.update_query_dict(read_only).render_as_string(hide_password=False))
    assert outcomes(stored.writable(copy)) == {"writing": "problem"}
    copy.close()


def test_a_clock_that_went_back_is_noticed(database, waiting):
    assert outcomes(stored.clocks(database)) == {"clock": "ok"}
    later(database, hours=-1)
    assert outcomes(stored.clocks(database)) == {"clock": "problem"}


def test_files_that_rows_name_are_missed(database, settings, waiting):
    assert outcomes(store.complete(settings, database)) == {"files": "ok"}
    Artifacts(settings.data_dir).delete("checkpoints/x")
    finding = store.complete(settings, database)
    assert outcomes(finding) == {"files": "problem"}
    assert "missing: 1 of checkpoints" in finding.says


def test_a_version_that_may_not_fit_on_the_disk_is_a_problem(database, settings, waiting):
    assert outcomes(store.room(settings, database)) == {"disk": "ok"}
    with database.write() as session:
        session.execute(text("UPDATE versions SET size = :size"), {"size": 1 << 60})
    assert outcomes(store.room(settings, database)) == {"disk": "problem"}


def test_the_master_key_is_tried_on_encrypted_images(database, settings, waiting):
    """Another one, one that others may read, one that is gone; and a file that was altered."""
    _, file = waiting
    key = settings.data_dir / "master.key"
    assert "(1 tried)" in master_key.opens(settings, database).says

    key.chmod(0o640)
    assert outcomes(master_key.opens(settings, database)) == {"master key": "warning"}
    key.chmod(0o600)
    file.write_bytes(file.read_bytes()[:-1])
    assert "SealBroken" in master_key.opens(settings, database).says
    right = key.read_text()
    for wrong in ("0" * 64, "not hexadecimal"):
        key.write_text(wrong)
        finding = master_key.opens(settings, database)
        assert outcomes(finding) == {"master key": "problem"}
        assert right not in says(finding)
        assert wrong not in says(finding)
    key.unlink()
    assert outcomes(master_key.opens(settings, database)) == {"master key": "problem"}
    assert not key.exists()


def test_an_audit_log_that_was_changed_or_is_not_looked_at_is_noticed(database, waiting):
    with database.write() as session:
        audit_log.chain(session, waiting[0].tenant_id)
    verification.verify_due(database, [])
    assert outcomes(audit.whole(database)) == {"audit log": "ok"}
    with database.write() as session:
        session.execute(update(AuditVerification).values(at=datetime(2026, 1, 1, tzinfo=UTC)))
        session.execute(update(AuditEntry).values(entry="{}"))
    assert outcomes(audit.whole(database)) == {"audit log": "warning"}
    with database.write() as session:
        session.execute(update(AuditVerification).values(height=0, sha256=bytes(32)))  # all of it is due
    verification.verify_due(database, [])
    assert outcomes(audit.whole(database)) == {"audit log": "problem"}


def test_work_that_nobody_does_is_a_problem_after_a_while(database, settings, waiting):
    """At first it may just have come."""
    assert outcomes(queue.workers(settings, database)) == {"workers": "ok"}
    later(database, minutes=10)
    assert "nobody works" in says(queue.workers(settings, database))
    given_rows.claim(database)
    assert outcomes(queue.workers(settings, database)) == {"workers": "ok"}
    later(database, minutes=10)
    assert "1 of 1 runs have a worker that no longer gives a sign of life" in says(queue.workers(settings, database))


def test_deadlines_failures_and_images_that_stay_are_reported(database, settings, waiting):
    assert outcomes(queue.requests(settings, database)) == {"requests": "ok"}
    later(database, days=29)
    assert outcomes(queue.requests(settings, database)) == {"requests": "warning"}
    later(database, days=3)
    assert outcomes(queue.requests(settings, database)) == {"requests": "problem"}

    held = given_rows.claim(database)
    with database.write() as session:
        given_rows.publish(session, held)
    assert outcomes(queue.requests(settings, database)) == {"requests": "ok"}
    later(database, minutes=10)
    assert outcomes(queue.requests(settings, database)) == {"requests": "ok", "images": "problem"}

    with database.write() as session:
        session.execute(update(DeletionRequest).values(state=State.FAILED))
    assert outcomes(queue.requests(settings, database)) == {"requests": "ok", "failures": "warning"}


def test_a_broker_that_nobody_listens_to_is_a_problem(settings, request):
    assert outcomes(broker.answers(settings)) == {"broker": "ok"}
    url = SecretStr(request.getfixturevalue("broker"))
    found = outcomes(broker.answers(settings.model_copy(update={"broker_url": url, "celery_queue": "nobody"})))
    assert found == {"broker": "ok", "listeners": "problem"}


@pytest.mark.parametrize(("broker_url", "outcome"), [(None, "warning"), (SecretStr("redis://x"), "ok")])
def test_without_the_workers_packages_it_says_so(settings, monkeypatch, broker_url, outcome):
    """Where the service runs alone, beside a broker, that is as it should be."""

    def absent(*_, failure, environment):
        raise CommandError(failure, "This takes the packages of the worker: pip install 'structguard[worker]'.")

    monkeypatch.setattr(equipped, "run", absent)
    found = list(equipped.equipment(settings.model_copy(update={"broker_url": broker_url})))
    assert outcomes(found) == {"device": outcome}
    assert "packages" in says(found)
