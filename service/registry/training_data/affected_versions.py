"""Affected versions: those that have learned a person's records, and which of them have still to forget them."""

import uuid
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from sqlalchemy import Select, literal, select
from sqlalchemy.orm import Session, joinedload, load_only, selectinload

from service.registry.states import ENDED, State
from service.registry.storage.database import batches
from service.registry.tables import (
    DeletionRequest,
    Manifest,
    Model,
    Record,
    SubjectIdentity,
    SubjectRequest,
    Suppression,
    Version,
)


class Reach(StrEnum):
    """The state of a version with respect to the records of a request or a person."""

    UNLEARNED = "unlearned"  #: runs that passed the gate have unlearned all of them
    PENDING = "pending"  #: open requests for its model name all that are not unlearned
    NEEDS_UNLEARNING = "needs_unlearning"  #: no request names all of them


@dataclass(frozen=True)
class AffectedVersion:
    """A version that has learned some of the records, loaded with its model and aliases."""

    version: Version
    state: Reach


def of_subject(session: Session, tenant_id: uuid.UUID, subject: bytes) -> list[AffectedVersion]:
    """The versions that have learned a person's records."""
    return _affected_versions(session, tenant_id, select(literal(subject, Suppression.hmac.type).label("hmac")))


def of_request(session: Session, request: DeletionRequest) -> list[AffectedVersion] | None:
    """The versions that have learned the records that a request names, or any other record of its subjects.

    None if it uploaded images: manifests do not tell which versions have learned these.
    """
    pseudonyms = select(Suppression.hmac).where(Suppression.request_id == request.id)
    if session.scalar(pseudonyms.limit(1)) is None:
        return None
    return _affected_versions(session, request.tenant_id, pseudonyms)


def of_subject_request(session: Session, request: SubjectRequest) -> list[AffectedVersion]:
    """The versions that have learned the records of the subjects of an OpenDSR request."""
    pseudonyms = select(SubjectIdentity.hmac).where(SubjectIdentity.request_id == request.id)
    return _affected_versions(session, request.tenant_id, pseudonyms)


def family(session: Session, version: Version) -> list[Version]:
    """A version, its ancestors, and all descendants of these, parents first."""
    ancestry = select(Version.id, Version.parent_id).where(Version.id == version.id).cte("line", recursive=True)
    ancestry = ancestry.union(select(Version.id, Version.parent_id).join(ancestry, Version.id == ancestry.c.parent_id))
    return _descendants(session, session.scalars(select(ancestry.c.id).where(ancestry.c.parent_id.is_(None))))


def _affected_versions(session: Session, tenant_id: uuid.UUID, pseudonyms: Select[bytes]) -> list[AffectedVersion]:
    held = _records_by_version(session, tenant_id, pseudonyms)
    forgotten, pending = _forgotten_and_pending(
        session, tenant_id, {record for records in held.values() for record in records}
    )
    remembered: dict[uuid.UUID | None, set[bytes]] = {}
    affected = []
    for version in _descendants(session, held.keys()):  # parents first
        # A run unlearns what its version inherits; records of a descendant's own manifest were learned again.
        inherited = remembered.get(version.parent_id, set())
        remembered[version.id] = (inherited | held[version.id]) - (
            forgotten[version.job_id] if version.job_id else set()
        )
        if not remembered[version.id]:
            state = Reach.UNLEARNED
        elif remembered[version.id] <= pending[version.model_id]:
            state = Reach.PENDING
        else:
            state = Reach.NEEDS_UNLEARNING
        affected.append(AffectedVersion(version, state))
    return sorted(affected, key=lambda item: (item.version.model.name, item.version.number))


def _records_by_version(
    session: Session, tenant_id: uuid.UUID, pseudonyms: Select[bytes]
) -> defaultdict[uuid.UUID, set[bytes]]:
    """The matching records, by the version whose manifest holds them."""
    requested = pseudonyms.subquery()
    held: defaultdict[uuid.UUID, set[bytes]] = defaultdict(set)
    for column in (Record.subject_hmac, Record.sample_hmac):  # one after the other: each has an index
        rows = (
            select(Manifest.version_id, Record.sample_hmac)
            .join(Manifest.version)
            .join(Version.model)
            .join(Record, Record.manifest_id == Manifest.id)
            .join(requested, requested.c.hmac == column)
            .where(Model.tenant_id == tenant_id)
        )
        for version_id, record in session.execute(rows):
            held[version_id].add(record)
    return held


def _forgotten_and_pending(
    session: Session, tenant_id: uuid.UUID, records: set[bytes]
) -> tuple[defaultdict[uuid.UUID, set[bytes]], defaultdict[uuid.UUID, set[bytes]]]:
    """The records that completed requests name, by job; and those that open requests name, by model."""
    forgotten: defaultdict[uuid.UUID, set[bytes]] = defaultdict(set)
    pending: defaultdict[uuid.UUID, set[bytes]] = defaultdict(set)
    statement = (
        select(DeletionRequest.job_id, DeletionRequest.model_id, DeletionRequest.state, Suppression.hmac)
        .join(DeletionRequest, DeletionRequest.id == Suppression.request_id)
        .where(Suppression.tenant_id == tenant_id)
    )
    for batch in batches(records):
        for job_id, model_id, state, record in session.execute(statement.where(Suppression.hmac.in_(batch))):
            if state is State.COMPLETED:
                forgotten[job_id].add(record)
            elif state not in ENDED:
                pending[model_id].add(record)
    return forgotten, pending


def _descendants(session: Session, roots: Iterable[uuid.UUID]) -> list[Version]:
    """These versions and their descendants, parents first."""
    family = select(Version.id).where(Version.id.in_(roots)).cte("family", recursive=True)
    family = family.union(select(Version.id).join(family, Version.parent_id == family.c.id))
    rows = select(Version).where(Version.id.in_(select(family.c.id))).order_by(Version.number)
    columns = load_only(
        *(Version.number, Version.parent_id, Version.job_id, Version.model_id),
        *(Version.sha256, Version.gate, Version.disposition),
    )
    return list(session.scalars(rows.options(columns, joinedload(Version.model), selectinload(Version.aliases))))
