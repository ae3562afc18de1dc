"""An erasure request becomes one deletion request for each model that has learned from the person."""

import hashlib
from contextlib import ExitStack

from sqlalchemy.orm import Session

from service.deletion_requests import named_records, submission
from service.deletion_requests.named_records import Named
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
"""The only type of request that there is here: the others ask for data, and a model holds none that can be given."""


def accept(resources: Resources, caller: Caller, given: SubjectRequestBody, body: bytes) -> SubjectRequest:
    """Store the request and its deletion requests, all or nothing. After this returns, it cannot be lost.

    Raises:
        SubjectRequestReused: its identifier was used for another request.
        InvalidInput: with a fault for every field that is wrong, and every image that cannot be fetched.
        QueueFull: too many deletion requests wait already.
    """
    with resources.database.read() as session:
        same = (caller.tenant_id, given.subject_request_id, caller.pseudonyms.content(hashlib.sha256(body).digest()))
        known = subject_requests.repeated(session, *same)
        if known is not None:
            return known
        _check(given, resources.settings)
        subjects = _subjects(given, caller.pseudonyms, resources.settings)
        wanted = _models(session, caller, given, list(subjects), resources.settings.opendsr_domain)
        named = _named(session, resources, wanted, subjects)
        if named:
            jobs.check_room(session, caller.tenant_id, resources.settings.max_queued_requests)
    with ExitStack() as stages:
        stored = {
            model: submission.fetch_images(resources, of_model, stages.enter_context(resources.artifacts.stage()))
            for model, of_model in named.items()
        }
        with resources.database.write() as session:
            audit_log.set_actor(session, caller.subject)
            whole = subject_requests.accept(
                session,
                caller.tenant_id,
                subject_request_id=given.subject_request_id,
                fingerprint=same[-1],
                domain=resources.settings.opendsr_domain,
                regulation=given.regulation,
                subjects=subjects,
                callbacks=given.status_callback_urls,
            )
            if whole is None:  # the same request, at the same moment
                known = subject_requests.repeated(session, *same)
                assert known is not None
                return known
            for model, images in stored.items():
                request = submission.store_deletion_request(
                    resources, session, caller, model, images, named[model], given.regulation, Options()
                )
                subject_requests.serve(session, whole, request)
            opendsr_status.settle(session, whole, at=whole.received_at)
    resources.committed(session)
    return whole


def _check(given: SubjectRequestBody, settings: ServiceSettings) -> None:
    faults = []
    if given.subject_request_type != ERASURE:
        faults.append(Fault("#/subject_request_type", f"only `{ERASURE}` is supported, as the discovery document says"))
    for at, url in enumerate(given.status_callback_urls):
        try:
            addresses.check(url, private=settings.webhook_private)
        except addresses.NotAllowed as error:
            faults.append(Fault(f"#/status_callback_urls/{at}", str(error)))
    if faults:
        raise InvalidInput(*faults)


def _subjects(given: SubjectRequestBody, pseudonyms: Pseudonyms, settings: ServiceSettings) -> dict[bytes, str]:
    """Whom the request names, by pseudonym, with pointers."""
    subjects = {
        pseudonyms.subject(identity.subject_id): f"#/subject_identities/{at}"
        for at, identity in enumerate(given.subject_identities)
        if identity.kind in settings.opendsr_identities
    }
    if not subjects:
        raise InvalidInput(Fault("#/subject_identities", "none is of a kind that the discovery document lists"))
    return subjects


def _models(
    session: Session, caller: Caller, given: SubjectRequestBody, subjects: list[bytes], domain: str
) -> list[Model]:
    """Those that our extension names, or all that have learned from the person."""
    held = manifests.models_of_subjects(session, caller.tenant_id, subjects)
    only = given.erasing(domain)
    if only is None:
        return held
    faults = []
    for at, name in enumerate(only.models):
        try:
            models.find_model(session, caller.tenant_id, name)
        except ModelNotFound as error:
            faults.append(Fault(f"#/extensions/{domain}/models/{at}", error.detail))
    if faults:
        raise InvalidInput(*faults)
    return [model for model in held if model.name in only.models]


def _named(
    session: Session, resources: Resources, wanted: list[Model], subjects: dict[bytes, str]
) -> dict[Model, Named]:
    """What is to be forgotten by the newest version of each model; nothing of one that never learned it."""
    found = {
        model: named_records.of_subjects(session, resources, versions.require_latest_version(session, model), subjects)
        for model in wanted
    }
    return {model: named for model, named in found.items() if named.records}
