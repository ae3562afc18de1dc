import shutil
from contextlib import closing
from datetime import timedelta

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import func, select
from sqlalchemy.exc import IntegrityError, OperationalError

from service.app import create_app
from service.registry.storage.database import Database
from service.registry.tables import Base
from service.settings import ServiceSettings
from tests.service.given import Client, png, wait_for


@pytest.fixture(scope="session", params=["sqlite", "postgresql"])
def _served(request, tmp_path_factory):
    """One application per kind of database: starting it takes longer than most tests."""
    migrated = request.getfixturevalue(f"_migrated_{request.param}")
    settings = ServiceSettings(
        data_dir=tmp_path_factory.mktemp(request.param) / "data",
        database_url=migrated.engine.url.render_as_string(hide_password=False),
        # Small limits, so that they can be passed.
        max_upload_bytes=1 << 20,
        max_images=8,
        max_evaluation_images=12,
        max_image_pixels=4096,
        rate_limit=0,
        max_manifest_rows=50,
        max_manifest_bytes=1 << 16,
        manifest_schemes="file",
        manifest_root=tmp_path_factory.mktemp("photographs"),
        # Nothing happens behind a test's back.
        sweep_interval=timedelta(hours=1),
        audit_interval=timedelta(hours=1),
    )
    # What the service does not expect is answered with 500, as in production.
    with (
        closing(Database.of(settings)) as database,
        TestClient(create_app(settings), raise_server_exceptions=False) as http,
    ):
        yield Client(http), settings, database


@pytest.fixture
def client(_served):
    """The service on an empty database."""
    client, settings, database = _served
    client.signs_in(database)
    yield client
    wait_for(lambda: _empty(database))
    for folder in settings.data_dir.iterdir():
        if folder.name not in ("staging", "master.key", "signing"):
            shutil.rmtree(folder)


def _empty(database):
    """Did it succeed? Threads of the service have their first turn when it starts, however long that takes."""
    try:
        with database.write() as session:
            for table in reversed(Base.metadata.sorted_tables):
                session.execute(table.delete())
    except (IntegrityError, OperationalError):
        return False
    return True


@pytest.fixture
def settings(_served):
    """What the service runs with."""
    return _served[1]


@pytest.fixture
def database(client, _served):
    """What the service writes to."""
    return _served[2]


@pytest.fixture
def kept(database, settings):
    """What is there: the number of rows in each table, and all files.

    Except for the audit log: a thread of the service chains and verifies it when it likes, and nothing gets into it but
    what gets into other tables, too.
    """

    def look():
        with database.read() as session:
            counts = {
                table.name: session.scalar(select(func.count()).select_from(table))
                for table in Base.metadata.tables.values()
                if not table.name.startswith("audit_")
            }
        return counts, sorted(path for path in settings.data_dir.rglob("*") if path.is_file())

    return look


@pytest.fixture
def photograph(settings):
    """Put a picture below the folder that the operator allows; its URI."""

    def put(name, shade=0, content=None):
        path = settings.manifest_root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(png(shade) if content is None else content)
        return f"file://{path}"

    return put
