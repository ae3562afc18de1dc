"""Files that no row names: a process was killed between a file's rename and the COMMIT that was to name it.

No key is used for a second file, so a file that no row names a day after it was written stays unnamed. Files that are
older than the database are kept: they belong to another database, and this one was configured by mistake.
"""

import time
from collections.abc import Iterator
from datetime import timedelta

from sqlalchemy import func, select
from sqlalchemy.orm import InstrumentedAttribute

from service.registry.storage.artifacts import Artifacts
from service.registry.storage.database import Database, batches, clock
from service.registry.tables import AnchorSet, DeletionRequest, EvaluationSet, Manifest, Tenant, Version

_MIN_AGE = timedelta(days=1)  # longer than any upload, any measurement of a new version, and any transaction
_PAUSE = timedelta(hours=1)

#: The column that holds the keys of each folder's files. Those of `staging` are temporary, and in no column.
NAMED_BY: dict[str, InstrumentedAttribute[str] | InstrumentedAttribute[str | None] | None] = {
    "staging": None,
    "samples": DeletionRequest.samples,
    "checkpoints": Version.checkpoint,
    "evaluation-sets": EvaluationSet.samples,
    "manifests": Manifest.uris,
    "anchor-sets": AnchorSet.anchors,
}


class Orphans:
    """Removes orphaned files, a batch at a time. Any number of processes may do so."""

    def __init__(self, database: Database, artifacts: Artifacts) -> None:
        self._database = database
        self._artifacts = artifacts
        self._round: Iterator[tuple[str, list[str]]] = iter(())
        self._next_round = 0.0

    def remove_some(self) -> None:
        """Check the next thousand old files, and remove orphans; after the last ones there is a pause of an hour."""
        part = next(self._round, None)
        if part is not None:
            self._remove(*part)
        elif time.monotonic() >= self._next_round:
            self._next_round = time.monotonic() + _PAUSE.total_seconds()
            self._round = self._parts()
            self.remove_some()

    def _parts(self) -> Iterator[tuple[str, list[str]]]:
        with self._database.read() as session:
            began, now = session.scalar(select(func.min(Tenant.created_at))), clock(session)
        if began is None:
            return
        for folder in NAMED_BY:
            for keys in batches(self._artifacts.keys_written(folder, after=began, before=now - _MIN_AGE)):
                yield folder, keys

    def _remove(self, folder: str, keys: list[str]) -> None:
        column = NAMED_BY[folder]
        named: set[str | None] = set()
        if column is not None:
            with self._database.read() as session:
                named.update(session.scalars(select(column).where(column.in_(keys))))
        for key in keys:
            if key not in named:
                self._artifacts.delete(key)
