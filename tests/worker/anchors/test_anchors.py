"""Anchors are computed once for everything that determines them."""

import uuid
from pathlib import Path

import numpy as np
import pytest

from service.registry.access import api_keys
from service.registry.models import anchor_sets
from service.registry.options import Options
from service.registry.storage.artifacts import Artifacts
from service.registry.storage.database import Database
from service.registry.tables import Version
from worker.anchors.anchors import anchors_for
from worker.anchors.attributes import descriptions
from worker.anchors.encoders import MiniLM
from worker.settings import WorkerSettings

VERSION = Version(classes=["cat", "dog"], attributes={})


@pytest.fixture
def artifacts(tmp_path: Path) -> Artifacts:
    return Artifacts(tmp_path)


def tenant(database: Database) -> uuid.UUID:
    with database.write() as session:
        return api_keys.ensure_tenant(session, "acme").id


def found(database: Database, artifacts: Artifacts, options: Options | None = None) -> np.ndarray:
    return anchors_for(database, artifacts, WorkerSettings(), tenant(database), VERSION, options or Options())[0]


def keep(database: Database, artifacts: Artifacts, key: str, vectors: np.ndarray) -> uuid.UUID:
    with artifacts.stage() as staged:
        with staged.path.open("wb") as file:
            np.savez(file, emb=vectors, names=np.array(VERSION.classes))
        sha256, _ = staged.digest()
        staged.keep(f"anchor-sets/{key}.npz")
        with database.write() as session:
            row, _ = anchor_sets.add(
                session,
                api_keys.ensure_tenant(session, "acme").id,
                cache_key=key,
                encoder="by hand",
                encoder_digest="",
                classes=VERSION.classes,
                descriptions=[],
                dimension=vectors.shape[1],
                anchors=f"anchor-sets/{key}.npz",
                sha256=sha256,
            )
            return row.id


def test_what_is_in_the_cache_is_not_computed_again(database: Database, artifacts: Artifacts) -> None:
    encoder = MiniLM()
    key = anchor_sets.cache_key(encoder.id, encoder.digest, VERSION.classes, descriptions(VERSION.classes, {}))
    keep(database, artifacts, key, np.array([[0.0, 2.0], [3.0, 0.0]]))
    assert found(database, artifacts).tolist() == [[0, 1], [1, 0]]


def test_computed_anchors_are_kept_for_the_next_job(database: Database, artifacts: Artifacts) -> None:
    first = found(database, artifacts)
    assert first.shape == (2, 384)
    with database.read() as session:
        (kept,) = anchor_sets.list_anchor_sets(session, tenant(database), cursor=None, limit=10).items
    assert (kept.encoder, kept.classes, kept.dimension) == ("minilm/all-MiniLM-L6-v2", ["cat", "dog"], 384)
    assert np.array_equal(found(database, artifacts), first)


def test_anchors_that_were_brought_along_are_used_as_they_are(database: Database, artifacts: Artifacts) -> None:
    named = keep(database, artifacts, "brought", np.array([[1.0, 0.0], [0.0, 5.0]]))
    options = Options(encoder="precomputed", anchor_set=named)
    assert found(database, artifacts, options).tolist() == [
        [1, 0],
        [0, 1],
    ]
