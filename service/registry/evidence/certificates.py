"""Certificates: issued once for each request that ended with a version, and never changed.

The service issues them, because it has the signing key, and workers, which run models, do not. A request that ended is
certified at the next sweep, or when its certificate is requested before. Issuing is one transaction: after a crash the
request is certified later, and of two processes the second returns the certificate of the first.
"""

import hashlib
import logging
import uuid
from datetime import datetime
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session, joinedload

from service.registry.audit import audit_log, inclusion_proof
from service.registry.crypto import dsse
from service.registry.crypto.pseudonyms import Pseudonyms
from service.registry.crypto.signing_keys import Signer, signer
from service.registry.deletion_requests import lifecycle
from service.registry.errors import CertificateMissing, RegistryError
from service.registry.evidence.statement import Facts, compose, name, rfc3339
from service.registry.settings import RegistrySettings
from service.registry.states import State
from service.registry.storage.database import Database, clock
from service.registry.tables import Certificate, DeletionRequest, Tenant, Version
from service.registry.training_data import affected_versions
from service.registry.training_data.affected_versions import Reach

logger = logging.getLogger(__name__)

CERTIFIED = (State.COMPLETED, State.NEEDS_REVIEW)
"""Final states of requests that get a certificate."""

_BATCH = 100  # with one sweep


def find(session: Session, request: DeletionRequest) -> Certificate | None:
    """The certificate of a request; None if it is not issued yet.

    Raises:
        CertificateMissing: none will be issued in the present state of the request.
    """
    if request.state not in CERTIFIED:
        raise CertificateMissing
    return session.get(Certificate, request.id)


def issue(session: Session, request_id: uuid.UUID, signing_key: Signer, settings: RegistrySettings) -> Certificate:
    """Certify a request that ended with a version; the existing certificate if there is one."""
    session.get_one(DeletionRequest, request_id, with_for_update=True)
    existing = session.get(Certificate, request_id)
    if existing is not None:
        return existing
    request = lifecycle.read(session, request_id)
    inclusion_proof.chain_events(session, request)
    now = clock(session)
    body = dsse.sign(compose(_facts(session, request, settings, now)), signing_key)
    certificate = Certificate(
        request_id=request_id,
        body=body,
        sha256=hashlib.sha256(body).hexdigest(),
        key_id=signing_key.key_id,
        issued_at=now,
    )
    session.add(certificate)
    request.certified_at = now
    facts = {"sha256": certificate.sha256, "key_id": certificate.key_id}
    audit_log.append(session, request.tenant_id, "certificate.issued", about=request_id, **facts)
    return certificate


def recompose(session: Session, request_id: uuid.UUID, settings: RegistrySettings) -> dict[str, Any]:
    """The statement that a certificate issued now would contain, for a request that has one."""
    return compose(_facts(session, lifecycle.read(session, request_id), settings, clock(session)))


def issue_pending(database: Database, settings: RegistrySettings) -> None:
    """Certify a batch of requests that have ended and are not certified."""
    with database.read() as session:
        statement = select(DeletionRequest.id).where(
            DeletionRequest.certified_at.is_(None),
            DeletionRequest.state.in_(CERTIFIED),
            DeletionRequest.record_removed_at.is_(None),
        )
        pending = session.scalars(statement.limit(_BATCH)).all()
    for request_id in pending:
        try:
            with database.write() as session:
                issue(session, request_id, signer(settings), settings)
        except RegistryError as error:  # an unusable key must not keep the rest of the sweep from running
            logger.error("request %s is not certified: %s", request_id, error.detail)  # noqa: TRY400


def dispositions(session: Session, request: DeletionRequest, settings: RegistrySettings) -> dict[str, Any]:
    """What has become up to now of the images, the parent, and every affected version, as JSON."""
    version = request.job.version
    return {
        "images": images(request, settings),
        "parent": None if version is None else _parent(session, version),
        "reach": None if version is None else _affected(session, request, version),
    }


def images(request: DeletionRequest, settings: RegistrySettings) -> dict[str, Any]:
    """When the images to forget were destroyed, or will be at the latest; null while the request is open."""
    if request.samples_destroyed_at is not None:
        return {"disposition": "destroyed", "at": rfc3339(request.samples_destroyed_at)}
    kept_for = settings.evidence_retention if request.state in CERTIFIED else settings.failed_retention
    return {"disposition": "to be destroyed", "at": rfc3339(request.ended_at and request.ended_at + kept_for)}


def _parent(session: Session, version: Version) -> dict[str, Any]:
    assert version.parent_id is not None  # runs make versions of versions
    parent = session.get_one(Version, version.parent_id, options=[joinedload(Version.model)])
    return {
        "name": name(parent.model, parent),
        "digest": {"sha256": parent.sha256},
        "disposition": parent.disposition.value,
        "at": rfc3339(parent.deleted_at),
    }


def _facts(session: Session, request: DeletionRequest, settings: RegistrySettings, now: datetime) -> Facts:
    version = request.job.version
    assert version is not None  # it has ended with one
    head = audit_log.head(session, request.tenant_id)
    key = session.scalars(select(Tenant.pseudonym_key).where(Tenant.id == request.tenant_id)).one()
    served = select(func.count()).select_from(DeletionRequest).where(DeletionRequest.job_id == request.job_id)
    return Facts(
        request=request,
        version=version,
        parent=_parent(session, version),
        requests=session.scalars(served).one(),
        commitment=Pseudonyms(key).commitment(request.id, request.samples_hmac),
        images=images(request, settings),
        reach=_affected(session, request, version),
        audit={"chain_height": head.height, "head_sha256": head.sha256.hex()},
        at=now,
    )


def _affected(session: Session, request: DeletionRequest, version: Version) -> dict[str, Any]:
    """The affected versions with their states and aliases, as JSON."""
    affected = affected_versions.of_request(session, request)
    if affected is not None:
        states = [(item.version, item.state.value) for item in affected]
        return {"basis": "training manifests", "versions": [_version_status(*item) for item in states]}
    # Without manifests it is unknown which versions have learned the images, so list all that share an ancestor.
    unlearned: set[uuid.UUID | None] = {version.id} if version.gate == "passed" else set()
    versions = []
    for relative in affected_versions.family(session, version):  # parents first
        if relative.parent_id in unlearned:
            unlearned.add(relative.id)
        versions.append(_version_status(relative, Reach.UNLEARNED.value if relative.id in unlearned else "presumed"))
    return {"basis": "descent", "versions": versions}


def _version_status(version: Version, state: str) -> dict[str, Any]:
    return {
        "name": name(version.model, version),
        "digest": {"sha256": version.sha256},
        "state": state,
        "disposition": version.disposition.value,
        "aliases": [alias.name for alias in version.aliases],
    }
