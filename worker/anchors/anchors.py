"""Anchors: one unit vector per class, computed once for everything that determines it."""

import uuid

import numpy as np

from service.registry.errors import RegistryError
from service.registry.models import anchor_sets
from service.registry.options import Options
from service.registry.storage.artifacts import Artifacts
from service.registry.storage.database import Database
from service.registry.tables import AnchorSet, Version
from worker.anchors.attributes import descriptions
from worker.anchors.encoders import Encoder, MiniLM, OpenClip, Vectors, load_precomputed
from worker.inputs.inputs import verified
from worker.settings import WorkerSettings


class AnchorsAltered(RegistryError):
    """The stored anchors are not those that were registered; restore them from a backup, then retry."""


def anchors_for(
    database: Database,
    artifacts: Artifacts,
    settings: WorkerSettings,
    tenant_id: uuid.UUID,
    version: Version,
    options: Options,
) -> tuple[Vectors, AnchorSet]:
    """The anchors A (b, d) of a version's classes, from the tenant's cache if the same were computed before.

    Raises:
        AnchorsAltered: the file is not what its digest says.
    """
    if options.anchor_set is not None:
        with database.read() as session:
            registered = anchor_sets.find(session, tenant_id, options.anchor_set)
        return _load(artifacts, registered, version), registered
    encoder = _encoder(options.encoder or settings.encoder, settings)
    texts = descriptions(version.classes, version.attributes)
    key = anchor_sets.cache_key(encoder.id, encoder.digest, version.classes, texts)
    with database.read() as session:
        cached = anchor_sets.cached(session, tenant_id, key)
    if cached is not None:
        return _load(artifacts, cached, version), cached
    vectors = encoder.encode(texts)
    with artifacts.stage() as staged:
        with staged.path.open("wb") as file:
            np.savez(file, emb=vectors, names=np.array(version.classes))
        sha256, _ = staged.digest()
        artifact = f"anchor-sets/{uuid.uuid4()}.npz"
        with database.write() as session:
            anchor_set, is_new = anchor_sets.add(
                session,
                tenant_id,
                cache_key=key,
                encoder=encoder.id,
                encoder_digest=encoder.digest,
                classes=version.classes,
                descriptions=texts,
                dimension=vectors.shape[1],
                anchors=artifact,
                sha256=sha256,
            )
            if is_new:  # another job may have been faster, with the same vectors
                staged.keep(artifact)
    return vectors, anchor_set


def _load(artifacts: Artifacts, anchor_set: AnchorSet, version: Version) -> Vectors:
    return load_precomputed(
        verified(artifacts.path(anchor_set.anchors), anchor_set.sha256, AnchorsAltered), version.classes
    )


def _encoder(name: str, settings: WorkerSettings) -> Encoder:
    return MiniLM() if name == "minilm" else OpenClip(settings.openclip_model, settings.openclip_weights)
