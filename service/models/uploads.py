"""What arrives with files: check them, keep them, and write the row, all of it or nothing."""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version as package_version
from typing import BinaryIO

from fastapi import Response, UploadFile
from sqlalchemy.orm import Session

from service.deletion_requests.named_records import Named, look_up
from service.deletion_requests.schemas import RETRY_AFTER, AcceptedRequest
from service.models.schemas import EvaluationSetAnswer, VersionAnswer
from service.registry.access.scopes import Caller
from service.registry.audit import audit_log
from service.registry.crypto.encrypted_files import SealedWriter
from service.registry.deletion_requests import lifecycle
from service.registry.errors import AnchorSetNotFound, Fault, InvalidInput, ModelNotFound
from service.registry.images import validation
from service.registry.models import anchor_sets, checkpoint_files, models
from service.registry.models.architectures import expected_tensors
from service.registry.options import Options
from service.registry.storage.artifacts import Staged
from service.registry.tables import DeletionRequest, Model
from service.registry.training_data import affected_versions, reference_models, suppression_list
from service.web.dependencies import Resources
from service.web.fields import NewDeletionRequest, NewEvaluationSet, NewVersion
from service.web.idempotency import Creation

# All of these look the model up before the files are read, because many mistakes show there. The file becomes durable
# inside the transaction that writes, so that none is left when it fails.


def register_version(
    resources: Resources,
    creation: Creation,
    caller: Caller,
    model_name: str,
    given: NewVersion,
    checkpoint: BinaryIO,
) -> Response:
    """Register an uploaded checkpoint as the model's next version; the answer.

    Raises:
        InvalidInput, ImageSizeUnsupported, CheckpointRejected: what was sent does not fit together.
    """
    with resources.database.read() as session:
        models.find_model(session, caller.tenant_id, model_name)
    _check_channels(given)
    if strangers := given.attributes.keys() - set(given.classes):
        raise InvalidInput(Fault("#/attributes", f"{len(strangers)} of the keys are not among the classes"))
    expected = expected_tensors(given.architecture, num_classes=len(given.classes), image_size=given.preprocessing.size)
    with resources.artifacts.stage() as staged:
        staged.fill(checkpoint)
        sha256, size = staged.digest()
        if given.sha256 is not None and given.sha256.lower() != sha256:
            raise InvalidInput(Fault("#/sha256", "is not the digest of the checkpoint that arrived"))
        checkpoint_files.inspect(staged.path, expected)
        key = f"checkpoints/{uuid.uuid4()}.safetensors"
        with resources.database.write() as session:
            audit_log.acting(session, caller.subject)
            model = models.find_model(session, caller.tenant_id, model_name)
            version = models.register_version(
                session,
                model,
                parent=given.parent,
                architecture=given.architecture.model_dump(),
                classes=given.classes,
                preprocessing=given.preprocessing.model_dump(mode="json"),
                attributes=given.attributes,
                checkpoint=key,
                sha256=sha256,
                size=size,
                code_version=package_version("structguard"),
                gate=None,
            )
            answer = VersionAnswer.of(model, models.find_version(session, model, version.number))
            response = creation.answer(session, answer, 201, location=answer.links["self"])
            staged.keep(key)
    return response


def _check_channels(given: NewVersion) -> None:
    channels = given.architecture.in_channels
    detail = f"must have one value for each of the {channels} channels"
    faults = [
        Fault(f"#/preprocessing/{name}", detail)
        for name, values in (("mean", given.preprocessing.mean), ("std", given.preprocessing.std))
        if len(values) != channels
    ]
    if faults:
        raise InvalidInput(*faults)


def add_evaluation_set(
    resources: Resources,
    creation: Creation,
    caller: Caller,
    model_name: str,
    given: NewEvaluationSet,
    images: Sequence[UploadFile],
) -> Response:
    """Keep labelled images that versions of the model are measured on; the answer.

    Raises:
        InvalidInput: with a fault for every file and label that is wrong.
    """
    with resources.database.read() as session:
        classes = models.find_model_to_unlearn(session, caller.tenant_id, model_name)[1].classes
    limits = _limits(resources, resources.settings.max_evaluation_images)
    with resources.artifacts.stage() as staged:
        kept = validation.keep(_uploads(images), given.labels, staged.path, classes=classes, limits=limits)
        sha256, size = staged.digest()
        key = f"evaluation-sets/{uuid.uuid4()}"
        with resources.database.write() as session:
            audit_log.acting(session, caller.subject)
            model = models.find_model(session, caller.tenant_id, model_name)
            evaluation_set = models.add_evaluation_set(
                session,
                model,
                name=given.name,
                kind=given.kind,
                samples=key,
                sha256=sha256,
                size=size,
                count=kept.count,
            )
            answer = EvaluationSetAnswer.of(model, evaluation_set)
            response = creation.answer(session, answer, 201, location=answer.links["self"])
            staged.keep(key)
    return response


def submit_deletion_request(
    resources: Resources,
    creation: Creation,
    caller: Caller,
    given: NewDeletionRequest,
    images: Sequence[UploadFile],
) -> Response:
    """Keep the images to forget, and store the request; the answer. Once this returns, it cannot be lost.

    Images that the caller only names are fetched here, so that the request does not depend on where they lie.

    Raises:
        InvalidInput: with a fault for every field, file and label that is wrong.
        QueueFull: too many wait already.
    """
    _check_one_way(given, images)
    with resources.database.read() as session:
        try:
            model, version = models.find_model_to_unlearn(
                session, caller.tenant_id, given.model, most_waiting=resources.settings.max_queued_requests
            )
        except ModelNotFound as error:  # the path exists; a field of the body is wrong
            raise InvalidInput(Fault("#/model", error.detail)) from error
        classes = version.classes
        _check_anchors(session, caller.tenant_id, given.options, classes)
        named = Named() if images else look_up(session, resources, caller.pseudonyms, version, given)
        reference_models.check(
            session, model, version, given.options.references, subjects=named.subjects, records=named.records
        )
    with resources.artifacts.stage() as staged:
        if images:
            limits = _limits(resources, resources.settings.max_images)
            with SealedWriter(staged.path) as target:
                kept = validation.keep(_uploads(images), given.labels, target, classes=classes, limits=limits)
            brought = _brought(resources, staged, target, kept, named)
        else:
            brought = bring(resources, named, staged)
        with resources.database.write() as session:
            request = store_deletion_request(session, caller, model, brought, given.regulation, given.options)
            # Where else images are that were brought, nobody knows.
            answer = AcceptedRequest.with_reach(
                request, None if images else affected_versions.of_request(session, request)
            )
            response = creation.answer(
                session, answer, 202, location=answer.links["self"], retry_after=str(RETRY_AFTER)
            )
    resources.committed(session)
    return response


@dataclass(frozen=True)
class Brought:
    """Images that were checked and wait in an encrypted file, and whom and what they were named by."""

    request_id: uuid.UUID
    staged: Staged
    samples_key: bytes  # of the file, wrapped; of use to this request only
    kept: validation.Kept
    named: Named


def bring(resources: Resources, named: Named, staged: Staged) -> Brought:
    """Fetch the images that are named.

    Raises:
        InvalidInput: with a fault for every one that cannot be had, or is none.
    """
    limits = _limits(resources, resources.settings.max_images)
    with SealedWriter(staged.path) as target:
        kept = validation.keep_images(named.images, target, limits)
    return _brought(resources, staged, target, kept, named)


def _brought(
    resources: Resources, staged: Staged, sealed: SealedWriter, kept: validation.Kept, named: Named
) -> Brought:
    request_id = uuid.uuid4()
    return Brought(request_id, staged, resources.master_key.wrap(sealed.key, request_id), kept, named)


def store_deletion_request(
    session: Session, caller: Caller, model: Model, brought: Brought, regulation: str, options: Options
) -> DeletionRequest:
    """Write the request, its job and whom it names, and make the images durable; all with the caller's transaction.

    The model has a version; it may come from another session.
    """
    key = f"samples/{brought.request_id}"
    with brought.staged.keeping(key):
        request = lifecycle.submit(
            session,
            model,
            request_id=brought.request_id,
            regulation=regulation,
            samples=key,
            samples_key=brought.samples_key,
            sample_count=brought.kept.count,
            samples_hmac=caller.pseudonyms.content(brought.kept.fingerprint),
            submitted_by=caller.subject,
            options=options,
        )
        suppression_list.add(session, request, subjects=brought.named.subjects, records=brought.named.records)
    return request


def _check_one_way(given: NewDeletionRequest, images: Sequence[UploadFile]) -> None:
    ways = {"images": bool(images), "subject_id": given.subject_id is not None, "sample_ids": bool(given.sample_ids)}
    if not any(ways.values()):
        raise InvalidInput(Fault("#/images", "images are needed, or a `subject_id`, or `sample_ids`"))
    taken = [way for way, is_taken in ways.items() if is_taken]
    faults = [Fault(f"#/{way}", f"cannot go with `{taken[0]}`") for way in taken[1:]]
    if not images and given.labels is not None:
        faults.append(Fault("#/labels", "stand in the manifest, leave these out"))
    if faults:
        raise InvalidInput(*faults)


def _check_anchors(session: Session, tenant_id: uuid.UUID, options: Options, classes: list[str]) -> None:
    if options.anchor_set is None:
        return
    try:
        anchor_set = anchor_sets.find(session, tenant_id, options.anchor_set)
    except AnchorSetNotFound as error:
        raise InvalidInput(Fault("#/options/anchor_set", error.detail)) from error
    if set(anchor_set.classes) != set(classes):
        raise InvalidInput(Fault("#/options/anchor_set", "has other classes than the model"))


def _uploads(images: Sequence[UploadFile]) -> list[validation.Upload]:
    return [validation.Upload(f"#/images/{at}", image.file) for at, image in enumerate(images)]


def _limits(resources: Resources, images: int) -> validation.Limits:
    settings = resources.settings
    return validation.Limits(images=images, pixels=settings.max_image_pixels, bytes=settings.max_upload_bytes)
