"""Quarantine and deletion of versions that were trained on deleted images, by hand or by the model's policy."""

import uuid
from typing import Any

from sqlalchemy import exists, select
from sqlalchemy.orm import Session

from service.registry.audit import audit_log
from service.registry.errors import VersionDeleted, VersionInUse, VersionQuarantined
from service.registry.models.quality_gate import Policy
from service.registry.models.versions import latest_version
from service.registry.states import Disposition, State
from service.registry.storage.database import clock
from service.registry.tables import Alias, Job, Model, Version

_BY_POLICY = {
    "keep": Disposition.KEPT,
    "quarantine": Disposition.QUARANTINED,
    "delete": Disposition.DELETED,
}
_EVENTS = {
    Disposition.KEPT: "version.kept",
    Disposition.QUARANTINED: "version.quarantined",
    Disposition.DELETED: "version.deleted",
}


def check_usable(version: Version) -> None:
    """Check that a version may be downloaded, pointed to and built on.

    Raises:
        VersionQuarantined, VersionDeleted: it may not.
    """
    if version.disposition is Disposition.QUARANTINED:
        raise VersionQuarantined
    if version.disposition is Disposition.DELETED:
        raise VersionDeleted


def dispose(session: Session, model: Model, version: Version, to: Disposition) -> None:
    """Quarantine a version, delete it, or keep it again. Nothing happens when it has this disposition already.

    Raises:
        VersionDeleted: it is deleted, which is final.
        VersionInUse: an alias points to it, or a run may read it or will begin from it.
    """
    _lock(session, model)
    session.refresh(version, ["disposition"])
    if version.disposition is to:
        return
    if version.disposition is Disposition.DELETED:
        raise VersionDeleted
    if to is not Disposition.KEPT and (_is_pointed_to(session, version) or _is_built_on(session, model, version)):
        raise VersionInUse
    _write(session, model, version, to, by=None)


def follow_policy(session: Session, model: Model, parent: Version, *, by: str) -> None:
    """Give the parent of a version that passed the gate the disposition of the model's policy.

    It keeps its own while an alias points to it. The caller has locked the model's row, and no other run of the model
    is under way.
    """
    to = _BY_POLICY[Policy.model_validate(model.policy).parent_disposition]
    if to is Disposition.KEPT or parent.disposition in (to, Disposition.DELETED):
        return
    if _is_pointed_to(session, parent):
        audit_log.append(
            session, model.tenant_id, "version.spared", about=parent.id, by=by, number=parent.number, policy=str(to)
        )
    else:
        _write(session, model, parent, to, by=by)


def versions_to_destroy(session: Session, limit: int = 100) -> list[uuid.UUID]:
    """Identifiers of deleted versions whose checkpoint still exists, except while a run of their model may read it."""
    has_running_job = exists().where(Job.model_id == Version.model_id, Job.state == State.RUNNING)
    versions = select(Version.id).where(
        Version.disposition == Disposition.DELETED, Version.deleted_at.is_(None), ~has_running_job
    )
    return list(session.scalars(versions.limit(limit)))


def forget_checkpoint(session: Session, version_id: uuid.UUID) -> str | None:
    """Record that a checkpoint is destroyed, and return the artifact key of its file, which the caller removes.

    `None` if it was destroyed before.
    """
    version = session.get_one(Version, version_id, with_for_update=True)
    if version.deleted_at is not None:
        return None
    version.deleted_at = clock(session)
    tenant_id = session.scalars(select(Model.tenant_id).where(Model.id == version.model_id)).one()
    audit_log.append(session, tenant_id, "version.checkpoint_destroyed", about=version.id, **_facts(version))
    return version.checkpoint


def _lock(session: Session, model: Model) -> None:
    """Until the transaction ends no alias of the model moves, no version is added, and no waiting job starts."""
    session.execute(select(Model.id).where(Model.id == model.id).with_for_update())
    session.execute(select(Job.id).where(Job.model_id == model.id, Job.state == State.QUEUED).with_for_update()).all()


def _is_pointed_to(session: Session, version: Version) -> bool:
    return session.scalar(select(exists().where(Alias.version_id == version.id))) or False


def _is_built_on(session: Session, model: Model, version: Version) -> bool:
    """Whether a run is under way, which may have begun from any version, or waits and will begin from this one."""
    states = [State.RUNNING]
    newest = latest_version(session, model)
    if newest is not None and newest.id == version.id:
        states += [State.QUEUED, State.AWAITING_APPROVAL]
    return session.scalar(select(exists().where(Job.model_id == model.id, Job.state.in_(states)))) or False


def _write(session: Session, model: Model, version: Version, to: Disposition, *, by: str | None) -> None:
    version.disposition, version.disposed_at = to, clock(session)
    audit_log.append(session, model.tenant_id, _EVENTS[to], about=version.id, by=by, **_facts(version))


def _facts(version: Version) -> dict[str, Any]:
    return {"model": str(version.model_id), "number": version.number, "sha256": version.sha256}
