"""The body of a deletion request, in either of its forms: multipart with images, or plain JSON that names records."""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, BinaryIO

from fastapi import Depends, Request, Response, UploadFile
from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError
from sqlalchemy.orm import Session

from service.deletion_requests.named_records import Named, look_up
from service.deletion_requests.schemas import RETRY_AFTER, AcceptedRequest, NewDeletionRequest
from service.registry.access.scopes import Caller
from service.registry.crypto.encrypted_files import EncryptedWriter
from service.registry.deletion_requests import lifecycle
from service.registry.errors import AnchorSetNotFound, Fault, InvalidInput, ModelNotFound
from service.registry.images import upload_formats
from service.registry.images.validation import CheckedImages, check_images
from service.registry.models import anchor_sets
from service.registry.options import Options
from service.registry.storage.artifacts import StagedFile
from service.registry.tables import DeletionRequest, Model
from service.registry.training_data import affected_versions, reference_models, suppression_list
from service.web.dependencies import Resources
from service.web.fields import Metadata
from service.web.idempotency import IdempotentAnswer

JSON_BODY: dict[str, Any] = {
    "requestBody": {
        "content": {"application/json": {"schema": {"$ref": f"#/components/schemas/{NewDeletionRequest.__name__}"}}}
    }
}
"""What the framework does not see by itself: it only finds the form."""


async def _body(
    request: Request,
    metadata: Metadata[NewDeletionRequest] | None = None,
    images: list[UploadFile] | None = None,
) -> tuple[NewDeletionRequest, list[BinaryIO]]:
    """Declared as a form, the framework reads one if one was sent, and leaves any other body alone."""
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() == "application/json":
        return _parsed(await request.body()), []
    if metadata is None:
        raise RequestValidationError([{"type": "missing", "loc": ("body", "metadata"), "msg": "Field required"}])
    return metadata, [image.file for image in images or ()]


BodyDep = Annotated[tuple[NewDeletionRequest, list[BinaryIO]], Depends(_body)]
"""Either form of the body of `POST /v1/deletion-requests`: what is to be forgotten, and the images of a form."""


def _parsed(body: bytes) -> NewDeletionRequest:
    try:
        return NewDeletionRequest.model_validate_json(body)
    except ValidationError as error:
        found = error.errors(include_url=False, include_context=False, include_input=False)
        raise RequestValidationError([{**item, "loc": ("body", *item["loc"])} for item in found]) from error


def submit_deletion_request(
    resources: Resources,
    creation: IdempotentAnswer,
    caller: Caller,
    given: NewDeletionRequest,
    images: Sequence[BinaryIO],
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
            model, version = lifecycle.find_model_to_unlearn(
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
            limits = resources.image_limits(resources.settings.max_images)
            with EncryptedWriter(staged.path) as target:
                checked = upload_formats.check_upload(images, given.labels, target, classes=classes, limits=limits)
            stored = StoredImages(staged, target.key, checked)
        else:
            stored = fetch_images(resources, named, staged)
        with resources.database.write() as session:
            request = store_deletion_request(
                resources, session, caller, model, stored, named, given.regulation, given.options
            )
            # Where else uploaded images are, nobody knows.
            answer = AcceptedRequest.with_reach(
                request, None if images else affected_versions.of_request(session, request)
            )
            response = creation.answer(
                session, answer, 202, location=answer.links["self"], retry_after=str(RETRY_AFTER)
            )
    resources.committed(session)
    return response


@dataclass(frozen=True)
class StoredImages:
    """Checked images of one deletion request in an encrypted file, which `store_deletion_request` makes durable."""

    staged: StagedFile
    key: bytes = field(repr=False)  # that decrypts the file; not wrapped yet
    checked: CheckedImages


def fetch_images(resources: Resources, named: Named, staged: StagedFile) -> StoredImages:
    """Fetch the images of the records that are named.

    Raises:
        InvalidInput: with a fault for every one that cannot be fetched, or is no image.
    """
    limits = resources.image_limits(resources.settings.max_images)
    with EncryptedWriter(staged.path) as target:
        checked = check_images(named.images, target, limits)
    return StoredImages(staged, target.key, checked)


def store_deletion_request(
    resources: Resources,
    session: Session,
    caller: Caller,
    model: Model,
    images: StoredImages,
    named: Named,
    regulation: str,
    options: Options,
) -> DeletionRequest:
    """Write the request, its job and whom it names, and make the images durable; all with the caller's transaction.

    The model has a version; it may come from another session.
    """
    request_id = uuid.uuid4()
    key = f"samples/{request_id}"
    with images.staged.keeping(key):
        request = lifecycle.submit(
            session,
            model,
            request_id=request_id,
            regulation=regulation,
            samples=key,
            samples_key=resources.master_key.wrap(images.key, request_id),
            sample_count=images.checked.count,
            samples_hmac=caller.pseudonyms.content(images.checked.fingerprint),
            submitted_by=caller.subject,
            options=options,
        )
        suppression_list.add(session, request, subjects=named.subjects, records=named.records)
    return request


def _check_one_way(given: NewDeletionRequest, images: Sequence[BinaryIO]) -> None:
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
