"""Accepting a deletion request: its body (a form, or JSON), its images, and its rows."""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, BinaryIO

from fastapi import Depends, Request, Response, UploadFile
from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError
from sqlalchemy.orm import Session

from service.deletion_requests.named_records import NamedRecords, look_up
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
"""Added to the OpenAPI operation, for which FastAPI only finds the form."""


async def _body(
    request: Request,
    metadata: Metadata[NewDeletionRequest] | None = None,
    images: list[UploadFile] | None = None,
) -> tuple[NewDeletionRequest, list[BinaryIO]]:
    """Declared as a form: FastAPI parses one if one was sent, and leaves any other body unread."""
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() == "application/json":
        return _parsed(await request.body()), []
    if metadata is None:
        raise RequestValidationError([{"type": "missing", "loc": ("body", "metadata"), "msg": "Field required"}])
    return metadata, [image.file for image in images or ()]


BodyDep = Annotated[tuple[NewDeletionRequest, list[BinaryIO]], Depends(_body)]
"""The body of `POST /v1/deletion-requests`, multipart or JSON: its fields, and the images of a form."""


def _parsed(body: bytes) -> NewDeletionRequest:
    try:
        return NewDeletionRequest.model_validate_json(body)
    except ValidationError as error:
        items = error.errors(include_url=False, include_context=False, include_input=False)
        raise RequestValidationError([{**item, "loc": ("body", *item["loc"])} for item in items]) from error


def submit_deletion_request(
    resources: Resources,
    creation: IdempotentAnswer,
    caller: Caller,
    content: NewDeletionRequest,
    images: Sequence[BinaryIO],
) -> Response:
    """Encrypt and keep the images, store the request, and build the response. After this returns, it cannot be lost.

    Images that the request only names are fetched here, so that it does not depend on their store later.

    Raises:
        InvalidInput: with a fault for every field, file and label that is wrong.
        QueueFull: too many deletion requests of the tenant wait already.
    """
    _check_single_source(content, images)
    with resources.database.read() as session:
        try:
            model, version = lifecycle.find_model_to_unlearn(
                session, caller.tenant_id, content.model, max_waiting=resources.settings.max_queued_requests
            )
        except ModelNotFound as error:  # the path exists; a field of the body is wrong
            raise InvalidInput(Fault("#/model", error.detail)) from error
        classes = version.classes
        _check_anchors(session, caller.tenant_id, content.options, classes)
        named = NamedRecords() if images else look_up(session, resources, caller.pseudonyms, version, content)
        reference_models.check(
            session, model, version, content.options.references, subjects=named.subjects, records=named.records
        )
    with resources.artifacts.stage() as staged:
        if images:
            limits = resources.image_limits(resources.settings.max_images)
            with EncryptedWriter(staged.path) as target:
                checked = upload_formats.check_upload(images, content.labels, target, classes=classes, limits=limits)
            stored = StoredImages(staged, target.key, checked)
        else:
            stored = fetch_images(resources, named, staged)
        with resources.database.write() as session:
            request = store_deletion_request(
                resources, session, caller, model, stored, named, content.regulation, content.options
            )
            # Uploaded images have no identifiers by which to find them in training manifests.
            answer = AcceptedRequest.with_affected_versions(
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
    key: bytes = field(repr=False)  # decrypts the file; not wrapped yet
    checked: CheckedImages


def fetch_images(resources: Resources, named: NamedRecords, staged: StagedFile) -> StoredImages:
    """Fetch the images of the named records, check them, and write them to `staged`, encrypted.

    Raises:
        InvalidInput: with a fault for every image that cannot be fetched or decoded.
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
    named: NamedRecords,
    regulation: str,
    options: Options,
) -> DeletionRequest:
    """Write the request, its job and its suppressions, and keep the images; all with the transaction of `session`.

    `model` must have a version; it may come from another session.
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


def _check_single_source(content: NewDeletionRequest, images: Sequence[BinaryIO]) -> None:
    sources = {
        "images": bool(images),
        "subject_id": content.subject_id is not None,
        "sample_ids": bool(content.sample_ids),
    }
    if not any(sources.values()):
        raise InvalidInput(Fault("#/images", "images are needed, or a `subject_id`, or `sample_ids`"))
    used = [source for source, is_used in sources.items() if is_used]
    faults = [Fault(f"#/{source}", f"cannot go with `{used[0]}`") for source in used[1:]]
    if not images and content.labels is not None:
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
