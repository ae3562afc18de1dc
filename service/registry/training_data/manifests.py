"""Training manifests: the records that a version was trained on, and with it all its descendants."""

import uuid
from collections.abc import Iterator, Sequence
from typing import Any, BinaryIO

from sqlalchemy import CTE, func, insert, or_, select, union, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session, contains_eager

from service.registry.audit import audit_log
from service.registry.crypto.encrypted_files import open_encrypted
from service.registry.crypto.master_key import MasterKey
from service.registry.errors import Fault, ManifestNameTaken, ManifestNotFound
from service.registry.storage.artifacts import Artifacts
from service.registry.storage.database import batches, clock
from service.registry.storage.pagination import Page, paginate
from service.registry.tables import Manifest, Model, Record, SubjectIdentity, SubjectRequest, Suppression, Version
from service.registry.training_data.manifest_files import Rows


def add(
    session: Session,
    tenant_id: uuid.UUID,
    version: Version,
    rows: Rows,
    *,
    manifest_id: uuid.UUID,
    name: str,
    uris: str,
    uris_key: bytes,
) -> Manifest:
    """Add a manifest, and count those of its rows that are on the suppression list.

    Raises:
        ManifestNameTaken: the version has one of this name.
    """
    manifest = Manifest(
        id=manifest_id,
        version_id=version.id,
        name=name,
        uris=uris,
        uris_key=uris_key,
        count=len(rows),
        suppressed=0,
        created_at=clock(session),
    )
    try:
        with session.begin_nested():
            session.add(manifest)
    except IntegrityError as error:
        raise ManifestNameTaken(faults=(Fault("#/name", "is already taken"),)) from error
    for batch in batches(_columns(manifest, rows)):
        session.execute(insert(Record), batch)
    suppressed_hmacs = union(
        select(Suppression.hmac).where(Suppression.tenant_id == tenant_id),
        # Subjects of OpenDSR requests that matched no record then are in no deletion request.
        select(SubjectIdentity.hmac).join(SubjectRequest).where(SubjectRequest.tenant_id == tenant_id),
    )
    suppressed = (
        select(func.count())
        .select_from(Record)
        .where(
            Record.manifest_id == manifest.id,
            or_(Record.sample_hmac.in_(suppressed_hmacs), Record.subject_hmac.in_(suppressed_hmacs)),
        )
    )
    session.execute(update(Manifest).where(Manifest.id == manifest.id).values(suppressed=suppressed.scalar_subquery()))
    session.refresh(manifest)
    audit_log.append(
        session,
        tenant_id,
        "manifest.added",
        about=manifest.id,
        version=str(version.id),
        rows=manifest.count,
        suppressed=manifest.suppressed,
    )
    return manifest


def open_uris(manifest: Manifest, artifacts: Artifacts, master_key: MasterKey) -> BinaryIO:
    """The file of a manifest's URIs, for `manifest_files.read_uris`; it is decrypted as it is read.

    Raises:
        OtherMasterKey, SealBroken: they cannot be decrypted.
    """
    path = artifacts.path(manifest.uris)
    if manifest.uris_key is None:  # it was stored by a release that did not encrypt
        return path.open("rb")
    return open_encrypted(path, master_key.unwrap(manifest.uris_key, manifest.id))


def unencrypted(session: Session, limit: int = 10) -> list[Manifest]:
    """Manifests whose URIs an earlier release stored in plaintext; at most `limit`."""
    return list(session.scalars(select(Manifest).where(Manifest.uris_key.is_(None)).limit(limit)))


def replace_uris(session: Session, manifest: Manifest, *, uris: str, uris_key: bytes) -> bool:
    """Replace the plaintext file of a manifest by an encrypted one; False if another process has done so already."""
    row = session.get_one(Manifest, manifest.id, with_for_update=True)
    if row.uris_key is not None:
        return False
    row.uris, row.uris_key = uris, uris_key
    return True


def find(session: Session, version: Version, name: str) -> Manifest:
    """One manifest of a version.

    Raises:
        ManifestNotFound: the version has none of this name.
    """
    manifest = session.scalar(select(Manifest).where(Manifest.version_id == version.id, Manifest.name == name))
    if manifest is None:
        raise ManifestNotFound
    return manifest


def list_manifests(session: Session, version: Version, *, cursor: str | None, limit: int) -> Page[Manifest]:
    """All manifests of a version, newest first."""
    return paginate(
        session,
        select(Manifest).where(Manifest.version_id == version.id),
        newest=Manifest.created_at,
        identity=Manifest.id,
        listing=f"manifests/{version.id.hex}",
        cursor=cursor,
        limit=limit,
    )


def records_of_subjects(session: Session, version: Version, subjects: Sequence[bytes]) -> list[Record]:
    """The records of these subjects in the manifests of `version` and its ancestors; newest manifest first."""
    return _records(session, version, subject_hmac=subjects)


def models_of_subjects(session: Session, tenant_id: uuid.UUID, subjects: Sequence[bytes]) -> list[Model]:
    """The tenant's models with a version that was trained on records of these subjects, by name."""
    held = (  # joined through manifests, because the index of records begins with them
        select(Record.manifest_id)
        .join(Record.manifest)
        .join(Manifest.version)
        .where(Version.model_id == Model.id, Record.subject_hmac.in_(subjects))
    )
    rows = select(Model).where(Model.tenant_id == tenant_id, held.exists())
    return list(session.scalars(rows.order_by(Model.name)))


def records(session: Session, version: Version, samples: Sequence[bytes]) -> list[Record]:
    """These records in the manifests of `version` and its ancestors; newest manifest first."""
    return _records(session, version, sample_hmac=samples)


def _records(session: Session, version: Version, **filters: Sequence[bytes]) -> list[Record]:
    ((column, hmacs),) = filters.items()
    ancestry = _ancestry(version)
    rows = (
        select(Record)
        .join(Record.manifest)
        .join(Manifest.version)
        .where(Manifest.version_id.in_(select(ancestry.c.id)))
        .options(contains_eager(Record.manifest).contains_eager(Manifest.version))
    )
    records = [
        record for batch in batches(hmacs) for record in session.scalars(rows.where(getattr(Record, column).in_(batch)))
    ]
    by_row = sorted(records, key=lambda record: record.row)
    return sorted(by_row, key=lambda record: (record.manifest.created_at, record.manifest_id), reverse=True)


def _ancestry(version: Version) -> CTE:
    """The version and its ancestors."""
    ancestry = select(Version.id, Version.parent_id).where(Version.id == version.id).cte("ancestry", recursive=True)
    return ancestry.union(select(Version.id, Version.parent_id).join(ancestry, Version.id == ancestry.c.parent_id))


def _columns(manifest: Manifest, rows: Rows) -> Iterator[dict[str, Any]]:
    for at, row in enumerate(rows):
        yield {
            "manifest_id": manifest.id,
            "row": at,
            "sample_hmac": row.sample_hmac,
            "subject_hmac": row.subject_hmac,
            "label": row.label,
        }
