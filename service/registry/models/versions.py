"""Versions of a model: registering, finding, tagging and listing them."""

import uuid
from collections.abc import Iterable
from typing import Any

from sqlalchemy import ColumnElement, Select, bindparam, func, select
from sqlalchemy.orm import Session, joinedload, selectinload

from service.registry.audit import audit_log
from service.registry.errors import Fault, InvalidInput, VersionMissing, VersionNotFound
from service.registry.states import Disposition
from service.registry.storage.database import clock
from service.registry.storage.pagination import Page, paginate
from service.registry.tables import Alias, Job, Model, Version

MAX_TAGS = 50


_RELATIONS = (
    joinedload(Version.parent),
    *(selectinload(relation) for relation in (Version.children, Version.aliases, Version.manifests)),
)


def may_be_built_on(version: type[Version]) -> tuple[ColumnElement[bool], ...]:
    """Conditions on `Version`, or an alias of it: a run may begin from it."""
    return version.gate.is_distinct_from("needs_review"), version.disposition == Disposition.KEPT


_NEWEST = (
    select(Version)
    .where(Version.model_id == bindparam("model_id"), *may_be_built_on(Version))
    .order_by(Version.number.desc())
    .limit(1)
)


def add_version(session: Session, model: Model, **columns: Any) -> Version:
    """Add the next version of `model`; `columns` are those of `Version` without `model_id`, `number` and `created_at`.

    The model's row is locked first, so that two versions added at the same time get different numbers.
    """
    session.execute(select(Model.id).where(Model.id == model.id).with_for_update())
    newest = session.scalar(select(func.max(Version.number)).where(Version.model_id == model.id))
    version = Version(model_id=model.id, number=(newest or 0) + 1, created_at=clock(session), **columns)
    session.add(version)
    session.flush()
    return version


def register_version(session: Session, model: Model, *, parent: int | None, **columns: Any) -> Version:
    """Add an uploaded version; `parent` is the number of the version that it was made from, if any.

    Raises:
        InvalidInput: the parent does not exist or is not kept, or the classes are not those of the earlier versions.
    """
    newest = latest_version(session, model)
    if newest is not None and newest.classes != columns["classes"]:
        raise InvalidInput(Fault("#/classes", f"must be those of version {newest.number}, in the same order"))
    parent_row = None
    if parent is not None:
        parent_row = session.scalar(_version(model, parent))
        if parent_row is None:
            raise InvalidInput(Fault("#/parent", "is not a version of this model"))
        if parent_row.disposition is not Disposition.KEPT:
            raise InvalidInput(Fault("#/parent", f"is {parent_row.disposition}, and nothing is built on it"))
    version = add_version(
        session,
        model,
        parent_id=parent_row.id if parent_row else None,
        method="registered",
        config={},
        metrics={},
        **columns,
    )
    audit_log.append(
        session,
        model.tenant_id,
        "version.registered",
        about=version.id,
        model=str(model.id),
        number=version.number,
        parent=parent,
        sha256=version.sha256,
    )
    return version


def find_version(session: Session, model: Model, reference: int | str) -> Version:
    """One version with its parent, children, aliases and manifests, by its number, `@alias` or `latest`.

    Raises:
        VersionNotFound: the model has no such version.
    """
    rows = select(Version).where(Version.model_id == model.id)
    if reference == "latest":
        rows = rows.order_by(Version.number.desc()).limit(1)
    elif isinstance(reference, str):
        rows = rows.join(Alias, Alias.version_id == Version.id).where(Alias.name == reference.removeprefix("@"))
    else:
        rows = rows.where(Version.number == reference)
    version = session.scalar(rows.options(*_RELATIONS), execution_options={"populate_existing": True})
    if version is None:
        raise VersionNotFound
    return version


def run_metrics(session: Session, versions: Iterable[Version]) -> dict[uuid.UUID, dict[str, Any]]:
    """By version, the metrics of its run: `{"before": …, "after": …}`. Uploaded versions are left out."""
    rows = select(Version.id, Job.metrics).join(Job, Job.id == Version.job_id)
    return dict(session.execute(rows.where(Version.id.in_([version.id for version in versions]))).all())


def tag(session: Session, version: Version, key: str, value: str | None) -> None:
    """Set a tag of a version, or remove it (`value=None`).

    Raises:
        InvalidInput: it has `MAX_TAGS` tags already.
    """
    session.refresh(version, ["tags"], with_for_update=True)
    tags = {name: tag_value for name, tag_value in version.tags.items() if name != key}
    if value is not None:
        tags[key] = value
    if len(tags) > MAX_TAGS:
        raise InvalidInput(Fault("#/tags", f"at most {MAX_TAGS} tags are allowed"))
    version.tags = tags


def latest_version(session: Session, model: Model) -> Version | None:
    """The newest version that a further run may build on: none that needs review, is quarantined or deleted."""
    return session.scalar(_NEWEST, {"model_id": model.id})


def require_latest_version(session: Session, model: Model) -> Version:
    """Like `latest_version`.

    Raises:
        VersionMissing: the model has none yet.
    """
    version = latest_version(session, model)
    if version is None:
        raise VersionMissing
    return version


def list_versions(session: Session, model: Model, *, cursor: str | None, limit: int) -> Page[Version]:
    """All versions of a model, newest first."""
    return paginate(
        session,
        select(Version).where(Version.model_id == model.id).options(*_RELATIONS),
        newest=Version.created_at,
        identity=Version.id,
        listing=f"versions/{model.id.hex}",
        cursor=cursor,
        limit=limit,
    )


def _version(model: Model, number: int) -> Select[Version]:
    return select(Version).where(Version.model_id == model.id, Version.number == number)
