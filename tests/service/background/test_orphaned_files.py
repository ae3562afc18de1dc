"""Files that no row names are removed, a day later; every other file stays."""

import io
import os
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from sqlalchemy import update

from service.registry.operations import orphaned_files
from service.registry.operations.orphaned_files import Orphans
from service.registry.storage.artifacts import Artifacts, StagedFile
from service.registry.tables import Tenant
from tests.service.given import npz, png, row, running, wait_for

DAY = 24 * 3600


@pytest.fixture
def artifacts(settings):
    return Artifacts(settings.data_dir)


@pytest.fixture
def everything(client, settings, database, photograph):
    """One of each file that there is, all of them a week old, as is the database."""
    client.model_with_version()
    client.manifest(row("a", uri=photograph("a.png")))
    client.upload("/v1/models/pets/evaluation-sets", {"name": "t", "kind": "test", "labels": [0]}, {"images": png()})
    anchors = npz(emb=np.eye(3, dtype=np.float32), names=np.array(["cat", "dog", "bird"]))
    client.upload("/v1/anchor-sets", {"classes": ["cat", "dog", "bird"]}, {"anchors": anchors})
    assert client.deletion_request().status_code == 202
    a_week_old(settings, database)
    return files(settings)


def a_week_old(settings, database):
    for path in files(settings):
        os.utime(path, (time.time() - 7 * DAY,) * 2)
    began(database, timedelta(days=30))


def began(database, ago):
    with database.write() as session:
        session.execute(update(Tenant).values(created_at=datetime.now(UTC) - ago))


def files(settings):
    return {path for path in settings.data_dir.rglob("*") if path.is_file()}


def remove_all(database, artifacts):
    collector = Orphans(database, artifacts)
    for _ in range(20):
        collector.remove_some()


def test_what_a_row_names_stays(everything, settings, database, artifacts):
    """Of every kind: a folder that the collector does not know would be missing here."""
    folders = {path.relative_to(settings.data_dir).parts[0] for path in everything} - {"master.key", "signing"}
    assert folders == orphaned_files.NAMED_BY.keys() - {"staging"}
    remove_all(database, artifacts)
    assert files(settings) == everything


@pytest.mark.parametrize("kept", [False, True])
def test_what_a_killed_process_leaves_is_removed(everything, client, settings, database, artifacts, monkeypatch, kept):
    """Killed during an upload, or between a file's rename and the COMMIT; but only after a day."""

    def killed(staged, key):
        if kept:
            keep(staged, key)
        raise RuntimeError

    keep = StagedFile.keep
    monkeypatch.setattr(StagedFile, "keep", killed)
    monkeypatch.setattr(StagedFile, "discard", lambda _: None)
    assert client.deletion_request().status_code == 500
    assert client.version().status_code == 500
    monkeypatch.undo()
    left = files(settings) - everything
    assert {path.parent.name for path in left} == ({"samples", "checkpoints"} if kept else {"staging"})

    remove_all(database, artifacts)
    assert files(settings) == everything | left

    a_week_old(settings, database)
    remove_all(database, artifacts)
    assert files(settings) == everything


def test_files_that_are_older_than_the_database_stay(everything, settings, database, artifacts):
    """Whoever starts with an empty database by mistake keeps the checkpoints."""
    began(database, timedelta(days=2))
    with artifacts.stage() as staged:
        staged.fill(io.BytesIO(b"weights"))
        staged.keep("checkpoints/of-another-database")
    theirs = artifacts.path("checkpoints/of-another-database")
    os.utime(theirs, (time.time() - 3 * DAY,) * 2)
    remove_all(database, artifacts)
    assert theirs.exists()


def test_many_processes_remove_many_files_a_part_at_a_time(everything, settings, database, artifacts):
    """A turn looks at a thousand; whoever is later finds less, and nobody minds."""
    for at in range(2500):
        artifacts.path(f"samples/{at}").touch()
    a_week_old(settings, database)
    collector = Orphans(database, artifacts)
    collector.remove_some()
    collector.remove_some()
    assert 500 <= len(files(settings) - everything) <= 1500
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: remove_all(database, artifacts), range(4)))
    assert files(settings) == everything


def test_there_is_a_pause_between_two_rounds(everything, settings, database, artifacts, monkeypatch):
    """A folder of many files is not read every few seconds."""
    collector = Orphans(database, artifacts)
    for _ in range(20):
        collector.remove_some()
    left = artifacts.path("staging/left")
    left.touch()
    a_week_old(settings, database)
    collector.remove_some()
    assert left.exists()
    an_hour_later = time.monotonic() + 3600
    monkeypatch.setattr(time, "monotonic", lambda: an_hour_later)
    collector.remove_some()
    assert not left.exists()


def test_the_service_does_it_by_itself(everything, client, settings, database):
    """It begins when it starts."""
    left = settings.data_dir / "staging" / "left"
    left.touch()
    a_week_old(settings, database)
    with running(settings, client):
        wait_for(lambda: not left.exists())
    assert files(settings) == everything
