"""Uploads about a model: check the files, store them and write their row, all of it or nothing."""

import uuid
from collections.abc import Sequence
from importlib.metadata import version as package_version
from typing import BinaryIO

import numpy as np
from fastapi import Response
from sqlalchemy.orm import Session

from service.models.data_schemas import (
    AnchorSetAnswer,
    EvaluationSetAnswer,
    ManifestAnswer,
    NewAnchorSet,
    NewEvaluationSet,
    NewManifest,
)
from service.models.schemas import NewVersion, VersionAnswer
from service.registry.access.scopes import Caller
from service.registry.audit import audit_log
from service.registry.crypto.encrypted_files import EncryptedWriter
from service.registry.deletion_requests import lifecycle
from service.registry.errors import Fault, InvalidInput
from service.registry.images import upload_formats
from service.registry.models import anchor_files, anchor_sets, checkpoint_files, evaluation_sets, models, versions
from service.registry.models.architectures import expected_tensors
from service.registry.tables import AnchorSet
from service.registry.training_data import manifest_files, manifests
from service.web.dependencies import Resources
from service.web.idempotency import IdempotentAnswer

# Each function looks the model up before it reads the files, so that a wrong name is answered early. The file becomes
# durable inside the transaction that writes its row, so that no file stays behind when the transaction fails.


def register_version(
    resources: Resources,
    creation: IdempotentAnswer,
    caller: Caller,
    model_name: str,
    metadata: NewVersion,
    checkpoint: BinaryIO,
) -> Response:
    """Register an uploaded checkpoint as the model's next version, and build the answer.

    Raises:
        InvalidInput, ImageSizeUnsupported, CheckpointRejected: metadata, architecture and tensors do not agree.
    """
    with resources.database.read() as session:
        models.find_model(session, caller.tenant_id, model_name)
    _check_channels(metadata)
    if unknown_classes := metadata.attributes.keys() - set(metadata.classes):
        raise InvalidInput(Fault("#/attributes", f"{len(unknown_classes)} of the keys are not among the classes"))
    expected = expected_tensors(
        metadata.architecture, num_classes=len(metadata.classes), image_size=metadata.preprocessing.size
    )
    with resources.artifacts.stage() as staged:
        staged.fill(checkpoint)
        sha256, size = staged.digest()
        if metadata.sha256 is not None and metadata.sha256.lower() != sha256:
            raise InvalidInput(Fault("#/sha256", "is not the digest of the checkpoint that arrived"))
        checkpoint_files.inspect(staged.path, expected)
        key = f"checkpoints/{uuid.uuid4()}.safetensors"
        with resources.database.write() as session:
            audit_log.set_actor(session, caller.subject)
            model = models.find_model(session, caller.tenant_id, model_name)
            version = versions.register_version(
                session,
                model,
                parent=metadata.parent,
                architecture=metadata.architecture.model_dump(),
                classes=metadata.classes,
                preprocessing=metadata.preprocessing.model_dump(mode="json"),
                attributes=metadata.attributes,
                checkpoint=key,
                sha256=sha256,
                size=size,
                code_version=package_version("structguard"),
                gate=None,
            )
            answer = VersionAnswer.of(model, versions.find_version(session, model, version.number))
            response = creation.answer(session, answer, 201, location=answer.links["self"])
            staged.keep(key)
    return response


def _check_channels(metadata: NewVersion) -> None:
    channels = metadata.architecture.in_channels
    detail = f"must have one value for each of the {channels} channels"
    faults = [
        Fault(f"#/preprocessing/{name}", detail)
        for name, values in (("mean", metadata.preprocessing.mean), ("std", metadata.preprocessing.std))
        if len(values) != channels
    ]
    if faults:
        raise InvalidInput(*faults)


def add_evaluation_set(
    resources: Resources,
    creation: IdempotentAnswer,
    caller: Caller,
    model_name: str,
    metadata: NewEvaluationSet,
    images: Sequence[BinaryIO],
) -> Response:
    """Store labelled images that versions of the model are measured on, and build the answer.

    Raises:
        InvalidInput: with a fault for every file and label that is wrong.
    """
    with resources.database.read() as session:
        classes = lifecycle.find_model_to_unlearn(session, caller.tenant_id, model_name)[1].classes
    limits = resources.image_limits(resources.settings.max_evaluation_images)
    with resources.artifacts.stage() as staged:
        checked = upload_formats.check_upload(images, metadata.labels, staged.path, classes=classes, limits=limits)
        sha256, size = staged.digest()
        key = f"evaluation-sets/{uuid.uuid4()}"
        with resources.database.write() as session:
            audit_log.set_actor(session, caller.subject)
            model = models.find_model(session, caller.tenant_id, model_name)
            evaluation_set = evaluation_sets.add_evaluation_set(
                session,
                model,
                name=metadata.name,
                kind=metadata.kind,
                samples=key,
                sha256=sha256,
                size=size,
                count=checked.count,
            )
            answer = EvaluationSetAnswer.of(model, evaluation_set)
            response = creation.answer(session, answer, 201, location=answer.links["self"])
            staged.keep(key)
    return response


def add_manifest(
    resources: Resources,
    creation: IdempotentAnswer,
    caller: Caller,
    model_name: str,
    reference: int | str,
    metadata: NewManifest,
    manifest: BinaryIO,
) -> Response:
    """Register the manifest of a version's training data, and build the answer.

    Raises:
        InvalidInput: with a fault for every cell that is wrong.
    """
    settings = resources.settings
    with resources.database.read() as session:
        model = models.find_model(session, caller.tenant_id, model_name)
        version = versions.find_version(session, model, reference)
    limits = manifest_files.ManifestLimits(rows=settings.max_manifest_rows, bytes=settings.max_manifest_bytes)
    with resources.artifacts.stage() as staged:
        with EncryptedWriter(staged.path) as target:
            rows = manifest_files.validate(
                manifest, target, classes=version.classes, pseudonyms=caller.pseudonyms, limits=limits
            )
        manifest_id = uuid.uuid4()
        key = f"manifests/{uuid.uuid4()}"
        with resources.database.write() as session:
            audit_log.set_actor(session, caller.subject)
            row = manifests.add(
                session,
                caller.tenant_id,
                version,
                rows,
                manifest_id=manifest_id,
                name=metadata.name,
                uris=key,
                uris_key=resources.master_key.wrap(target.key, manifest_id),
            )
            answer = ManifestAnswer.of(model, version, row)
            response = creation.answer(session, answer, 201, location=answer.links["self"])
            staged.keep(key)
    return response


def register_anchors(
    resources: Resources, creation: IdempotentAnswer, caller: Caller, metadata: NewAnchorSet, file: BinaryIO
) -> Response:
    """Store uploaded anchors, rows in the order of the classes; answer 201, or 200 if they were there already.

    Raises:
        InvalidInput: the file is no npz of `emb` and `names`, or does not have every class exactly once.
    """
    digest = anchor_files.digest(file)
    cache_key = anchor_sets.cache_key("precomputed", digest, metadata.classes, [])
    with resources.database.write() as session:
        audit_log.set_actor(session, caller.subject)
        existing = anchor_sets.cached(session, caller.tenant_id, cache_key)
        if existing is not None:
            return _answer(session, creation, existing, 200)
    vectors = anchor_files.read(file, metadata.classes)
    with resources.artifacts.stage() as staged:
        with staged.path.open("wb") as target:
            np.savez(target, emb=vectors, names=np.array(metadata.classes))
        sha256, _ = staged.digest()
        key = f"anchor-sets/{uuid.uuid4()}.npz"
        with resources.database.write() as session:
            audit_log.set_actor(session, caller.subject)
            anchor_set, is_new = anchor_sets.add(
                session,
                caller.tenant_id,
                cache_key=cache_key,
                encoder="precomputed",
                encoder_digest=digest,
                classes=metadata.classes,
                descriptions=[],
                dimension=vectors.shape[1],
                anchors=key,
                sha256=sha256,
            )
            response = _answer(session, creation, anchor_set, 201 if is_new else 200)
            if is_new:
                staged.keep(key)
    return response


def _answer(session: Session, creation: IdempotentAnswer, anchor_set: AnchorSet, status: int) -> Response:
    answer = AnchorSetAnswer.of(anchor_set)
    return creation.answer(session, answer, status, location=answer.links["self"])
