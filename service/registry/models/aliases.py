"""Aliases: names that point to a version, and are moved by hand or when a new version passes the quality gate."""

import uuid

from sqlalchemy import Select, select
from sqlalchemy.orm import Session, joinedload

from service.registry.audit import audit_log
from service.registry.errors import AliasNotFound, GateNotPassed, PreconditionFailed
from service.registry.models.dispositions import check_usable
from service.registry.storage.database import clock
from service.registry.tables import Alias, Model, Version


def point(
    session: Session,
    model: Model,
    name: str,
    version: Version,
    *,
    follows_gate: bool,
    override_gate: bool,
    expected_number: int | None,
    by: str,
) -> tuple[Alias, bool]:
    """Point an alias to a version, creating it if it does not exist; returns it, and whether it was created.

    Args:
        expected_number: number of the version that the alias must point to now; 0: it must not exist; None: any.

    Raises:
        GateNotPassed: the version needs review, and `override_gate` is not set.
        PreconditionFailed: the alias does not point to the version `expected_number`.
        VersionQuarantined, VersionDeleted: the version may not be used.
    """
    if version.gate == "needs_review" and not override_gate:
        raise GateNotPassed
    session.execute(
        select(Model.id).where(Model.id == model.id).with_for_update()
    )  # serializes moves of the model's aliases
    session.refresh(version, ["disposition"])
    check_usable(version)
    alias = session.scalar(_alias(model, name))
    if expected_number is not None and expected_number != (alias.version.number if alias else 0):
        raise PreconditionFailed
    now, is_new = (
        clock(session),
        alias is None,
    )  # before `session.add`: the query of `clock` would flush the incomplete row
    if alias is None:
        alias = Alias(model_id=model.id, name=name)
        session.add(alias)
    alias.version_id, alias.version = version.id, version
    alias.follows_gate, alias.moved_at, alias.moved_by = follows_gate, now, by
    session.flush()
    _log(session, model.tenant_id, alias, "alias.pointed", by, version=version, override_gate=override_gate)
    return alias, is_new


def find(session: Session, model: Model, name: str) -> Alias:
    """One alias with its version.

    Raises:
        AliasNotFound: the model has none of this name.
    """
    alias = session.scalar(_alias(model, name))
    if alias is None:
        raise AliasNotFound
    return alias


def list_aliases(session: Session, model: Model) -> list[Alias]:
    """All aliases of a model by name, with their versions. Not paginated: created by hand, they are few."""
    return list(
        session.scalars(
            select(Alias).where(Alias.model_id == model.id).options(joinedload(Alias.version)).order_by(Alias.name)
        )
    )


def remove(session: Session, model: Model, name: str, *, by: str) -> None:
    """Remove an alias; its version stays.

    Raises:
        AliasNotFound: the model has none of this name.
    """
    alias = find(session, model, name)
    _log(session, model.tenant_id, alias, "alias.removed", by, version=alias.version)
    session.delete(alias)


def advance_followers(session: Session, model: Model, parent: Version, child: Version) -> None:
    """Move the aliases that follow the gate from a parent to its child, which has passed it."""
    followers = select(Alias).where(Alias.version_id == parent.id, Alias.follows_gate).with_for_update()
    for alias in session.scalars(followers):
        alias.version_id = child.id
        alias.moved_at, alias.moved_by = clock(session), f"job:{child.job_id}"
        _log(session, model.tenant_id, alias, "alias.moved_on", alias.moved_by, version=child)


def _alias(model: Model, name: str) -> Select[Alias]:
    return select(Alias).where(Alias.model_id == model.id, Alias.name == name).options(joinedload(Alias.version))


def _log(
    session: Session, tenant_id: uuid.UUID, alias: Alias, event: str, by: str, *, version: Version, **facts: bool
) -> None:
    audit_log.append(
        session,
        tenant_id,
        event,
        about=version.id,
        by=by,
        model=str(alias.model_id),
        alias_hmac=audit_log.commitment(session, tenant_id, alias.name),
        number=version.number,
        **facts,
    )
