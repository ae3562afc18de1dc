"""A claimed job, and a database that is away for a while."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import timedelta

from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from service.registry.job_queue import claims
from service.registry.job_queue.claims import Claim
from service.registry.storage.database import Database
from tests.service.registry.given_rows import model_with_version, request

LEASE = timedelta(seconds=1.5)


class Away:
    """A database that answers to nobody until it has been asked so many times."""

    def __init__(self, database: Database, times: int) -> None:
        self._database, self._times = database, times

    @contextmanager
    def write(self) -> Iterator[Session]:
        if self._times:
            self._times -= 1
            raise OperationalError("BEGIN", {}, Exception("the database system is starting up"))
        with self._database.write() as session:
            yield session

    def read(self) -> AbstractContextManager[Session]:
        return self._database.read()


def claimed(database: Database) -> Claim:
    with database.write() as session:
        request(session, model_with_version(session))
    with database.write() as session:
        held = claims.take(session, worker="w", lease=LEASE)
    assert held is not None
    return held
