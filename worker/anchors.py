"""Anchors: one unit vector per class, computed once for everything that determines it."""

import uuid

import numpy as np

from service.registry import anchor_sets
from service.registry.artifacts import Artifacts
from service.registry.database import Database
from service.registry.options import Options
from service.registry.tables import Version
from worker.attributes import descriptions
from worker.encoders import Encoder, MiniLM, OpenClip, Vectors, load_precomputed
from worker.settings import WorkerSettings


def anchors_for(
    database: Database,
    artifacts: Artifacts,
    settings: WorkerSettings,
    tenant_id: uuid.UUID,
    version: Version,
    options: Options,
) -> Vectors:
    """The anchors A (b, d) of a version's classes, from the cache if anybody has asked for the same before."""
    if options.anchor_set is not None:
        with database.read() as session:
            registered = anchor_sets.find(session, tenant_id, options.anchor_set)
        return load_precomputed(artifacts.path(registered.anchors), version.classes)
    encoder = _encoder(options.encoder or settings.encoder, settings)
    texts = descriptions(version.classes, version.attributes)
    key = anchor_sets.cache_key(encoder.id, encoder.digest, version.classes, texts)
    with database.read() as session:
        cached = anchor_sets.cached(session, tenant_id, key)
    if cached is not None:
        return load_precomputed(artifacts.path(cached.anchors), version.classes)
    vectors = encoder.encode(texts)
    with artifacts.stage() as staged:
        with staged.path.open("wb") as file:
            np.savez(file, emb=vectors, names=np.array(version.classes))
        sha256, _ = staged.digest()
        artifact = f"anchor-sets/{uuid.uuid4()}.npz"
        with database.write() as session:
            _, is_new = anchor_sets.add(
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
    return vectors


def _encoder(name: str, settings: WorkerSettings) -> Encoder:
    return MiniLM() if name == "minilm" else OpenClip(settings.openclip_model, settings.openclip_weights)
