"""An erasure request becomes one deletion request for each model that has learned from the person."""

import hashlib
from contextlib import ExitStack

from sqlalchemy.orm import Session

from service.deletion_requests import named_records, submission
from service.deletion_requests.named_records import NamedRecords
from service.opendsr.schemas import SubjectRequestBody
from service.registry.access.scopes import Caller
from service.registry.audit import audit_log
from service.registry.crypto.pseudonyms import Pseudonyms
from service.registry.deletion_requests import subject_requests
from service.registry.errors import Fault, InvalidInput, ModelNotFound
from service.registry.job_queue import jobs
from service.registry.models import models, versions
from service.registry.options import Options
from service.registry.tables import Model, SubjectRequest
from service.registry.training_data import manifests
from service.registry.webhooks import opendsr_status
from service.settings import ServiceSettings
from service.web.dependencies import Resources
from service.webhooks import addresses

ERASURE = "erasure"
"""The only supported type of request. The others ask for the person's data, which cannot be read from a model."""


def accept(resources: Resources, caller: Caller, content: SubjectRequestBody, body: bytes) -> SubjectRequest:
    """Store the request and its deletion requests in one transaction. After this returns, they cannot be lost.

    Args:
        content: the parsed body.
        body: the same as bytes. A request that is sent again with the same bytes is answered with its row.

    Raises:
        SubjectRequestReused: its identifier was used for another request.
        InvalidInput: with a fault for every field that is wrong, and every image that cannot be fetched.
        QueueFull: too many deletion requests wait already.
    """
    with resources.database.read() as session:
        fingerprint = caller.pseudonyms.content(hashlib.sha256(body).digest())
        existing = subject_requests.find_repeated(session, caller.tenant_id, content.subject_request_id, fingerprint)
        if existing is not None:
            return existing
        _check(content, resources.settings)
        subjects = _subjects(content, caller.pseudonyms, resources.settings)
        models_to_unlearn = _models(session, caller, content, list(subjects), resources.settings.opendsr_domain)
        named = _named(session, resources, models_to_unlearn, subjects)
        if named:
            jobs.check_queue_limit(session, caller.tenant_id, resources.settings.max_queued_requests)
    with ExitStack() as stages:
        stored = {
            model: submission.fetch_images(resources, records, stages.enter_context(resources.artifacts.stage()))
            for model, records in named.items()
        }
        with resources.database.write() as session:
            audit_log.set_actor(session, caller.subject)
            subject_request = subject_requests.accept(
                session,
                caller.tenant_id,
                subject_request_id=content.subject_request_id,
                fingerprint=fingerprint,
                domain=resources.settings.opendsr_domain,
                regulation=content.regulation,
                subjects=subjects,
                callbacks=content.status_callback_urls,
            )
            if subject_request is None:  # another process has just stored the same one
                existing = subject_requests.find_repeated(
                    session, caller.tenant_id, content.subject_request_id, fingerprint
                )
                assert existing is not None
                return existing
            for model, images in stored.items():
                request = submission.store_deletion_request(
                    resources, session, caller, model, images, named[model], content.regulation, Options()
                )
                subject_requests.add_erasure(session, subject_request, request)
            opendsr_status.update_status(session, subject_request, at=subject_request.received_at)
    resources.committed(session)
    return subject_request


def _check(content: SubjectRequestBody, settings: ServiceSettings) -> None:
    faults = []
    if content.subject_request_type != ERASURE:
        faults.append(Fault("#/subject_request_type", f"only `{ERASURE}` is supported, as the discovery document says"))
    for at, url in enumerate(content.status_callback_urls):
        try:
            addresses.check(url, private=settings.webhook_private)
        except addresses.NotAllowed as error:
            faults.append(Fault(f"#/status_callback_urls/{at}", str(error)))
    if faults:
        raise InvalidInput(*faults)


def _subjects(content: SubjectRequestBody, pseudonyms: Pseudonyms, settings: ServiceSettings) -> dict[bytes, str]:
    """The JSON Pointer to each identity of a supported kind, by the pseudonym of its value."""
    subjects = {
        pseudonyms.subject(identity.subject_id): f"#/subject_identities/{at}"
        for at, identity in enumerate(content.subject_identities)
        if identity.kind in settings.opendsr_identities
    }
    if not subjects:
        raise InvalidInput(Fault("#/subject_identities", "none is of a kind that the discovery document lists"))
    return subjects


def _models(
    session: Session, caller: Caller, content: SubjectRequestBody, subjects: list[bytes], domain: str
) -> list[Model]:
    """The models that have learned from the person; of these only what the request's extension names, if it has one."""
    affected = manifests.models_of_subjects(session, caller.tenant_id, subjects)
    extension = content.extension(domain)
    if extension is None:
        return affected
    faults = []
    for at, name in enumerate(extension.models):
        try:
            models.find_model(session, caller.tenant_id, name)
        except ModelNotFound as error:
            faults.append(Fault(f"#/extensions/{domain}/models/{at}", error.detail))
    if faults:
        raise InvalidInput(*faults)
    return [model for model in affected if model.name in extension.models]


def _named(
    session: Session, resources: Resources, models_to_unlearn: list[Model], subjects: dict[bytes, str]
) -> dict[Model, NamedRecords]:
    """The records that the newest version of each model has to forget; models without any are left out."""
    named = {
        model: named_records.of_subjects(session, resources, versions.require_latest_version(session, model), subjects)
        for model in models_to_unlearn
    }
    return {model: records for model, records in named.items() if records.records}
