"""How an attempt ends that could not do its work."""

import contextlib
import errno
import sqlite3
import sys
import uuid
from datetime import timedelta

import pytest
import torch
from sqlalchemy.exc import OperationalError

from service.registry.access import api_keys
from service.registry.deletion_requests import lifecycle
from service.registry.errors import StorageFull, VersionMissing
from service.registry.job_queue import claims, jobs
from service.registry.models import models
from service.registry.models.quality_gate import Policy
from service.registry.options import Options
from service.registry.reasons import Reason, ReasonCode
from service.registry.states import Phase, State
from worker.job import attempt


class Exited(BaseException):
    """Instead of the end of the process."""


@pytest.fixture
def ended(sqlite, tmp_path, monkeypatch):
    """Run a claimed job that meets this error; the job afterwards."""
    with sqlite.write() as session:
        tenant = api_keys.ensure_tenant(session, "acme")
        given = {"name": "pets", "description": "", "policy": Policy(), "approval_required": False}
        model = models.register_model(session, tenant.id, **given)
        lifecycle.submit(
            session,
            model,
            request_id=uuid.uuid4(),
            regulation="gdpr",
            samples="samples/1",
            samples_key=None,
            sample_count=1,
            samples_hmac="0" * 64,
            submitted_by="key:1",
            options=Options(),
        )
    with sqlite.write() as session:
        claim = claims.take(session, worker="test", lease=timedelta(seconds=30))
    monkeypatch.setenv("STRUCTGUARD_DATA_DIR", str(tmp_path))
    monkeypatch.setattr(sys, "argv", ["job", str(claim.job_id), str(claim.fence), str(claim.attempt)])
    monkeypatch.setattr(attempt, "_end_with_the_supervisor", lambda: None)

    def exits(code):
        raise Exited(code)

    monkeypatch.setattr(attempt.os, "_exit", exits)

    def run(error):
        def fails(*_):
            raise error

        monkeypatch.setattr(attempt, "run", fails)
        with contextlib.suppress(Exited):
            attempt.main()
        with sqlite.read() as session:
            return jobs.read(session, claim.job_id)

    return run


def full_database():
    error = sqlite3.OperationalError("database or disk is full")
    error.sqlite_errorcode = sqlite3.SQLITE_FULL
    wrapped = OperationalError("INSERT", {}, error)
    wrapped.__context__ = error
    return wrapped


@pytest.mark.parametrize("error", [StorageFull(), OSError(errno.ENOSPC, "no room"), full_database()])
def test_a_full_disk_ends_the_job_with_that_reason(ended, error):
    """Trying again would take as long and end the same way; a person makes room, and then retries."""
    job = ended(error)
    assert (job.state, job.attempt) == (State.FAILED, 1)
    assert "no room left" in job.reason


@pytest.mark.parametrize("error", attempt._CODES)
def test_a_known_error_ends_the_job_with_its_code_and_with_its_own_words(ended, error):
    """The sentence of the code, and the message of the error, are the same."""
    job = ended(error())
    assert job.why == Reason(attempt._CODES[error], Phase.LOAD)
    assert job.reason == f"load: {error().detail}"


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (VersionMissing("None."), Reason(ReasonCode.INPUT_UNUSABLE, Phase.LOAD, {"detail": "None."})),
        (ValueError("Jane Doe"), Reason(ReasonCode.UNEXPECTED_ERROR, Phase.LOAD, {"error": "ValueError"})),
        (torch.OutOfMemoryError(), Reason(ReasonCode.OUT_OF_MEMORY, Phase.LOAD)),
    ],
)
def test_any_other_error_ends_the_job_with_what_an_operator_needs(ended, error, reason):
    """And with nothing that a caller sent."""
    assert ended(error).why == reason


@pytest.mark.parametrize("error", [OSError(errno.EIO, "away"), OperationalError("SELECT", {}, Exception("away"))])
def test_a_disk_or_a_database_that_is_away_loses_the_attempt(ended, error):
    """The process ends badly, and the supervisor gives the job back."""
    with pytest.raises(type(error)):
        ended(error)
