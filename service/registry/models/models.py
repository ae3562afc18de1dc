"""Models, their versions and the sets they are measured on."""

import uuid
from typing import Any

from sqlalchemy import ColumnElement, Select, bindparam, func, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session, aliased, joinedload, load_only, selectinload

from service.registry.audit import audit_log
from service.registry.errors import (
    EvaluationSetNameTaken,
    EvaluationSetNotFound,
    Fault,
    InvalidInput,
    ModelNameTaken,
    ModelNotFound,
    QueueFull,
    VersionMissing,
    VersionNotFound,
)
from service.registry.job_queue import jobs
from service.registry.models.quality_gate import Policy
from service.registry.settings import DEFAULT_POOL
from service.registry.states import Disposition
from service.registry.storage.database import clock
from service.registry.storage.pagination import Page, paginate
from service.registry.tables import Alias, EvaluationSet, Model, Version

MOST_TAGS = 50

_FAMILY = (
    joinedload(Version.parent),
    *(selectinload(relation) for relation in (Version.children, Version.aliases, Version.manifests)),
)


def may_be_built_on(version: type[Version]) -> tuple[ColumnElement[bool], ...]:
    """Of a version: a run may begin from it."""
    return version.gate.is_distinct_from("needs_review"), version.disposition == Disposition.KEPT


# Every deletion request asks these: putting a statement together takes longer than running it.
_BY_NAME = select(Model).where(Model.tenant_id == bindparam("tenant_id"), Model.name == bindparam("name"))
_newest = aliased(Version)
_TO_UNLEARN = (
    select(Model, Version, jobs.HAS_NO_ROOM)
    .where(Model.tenant_id == bindparam("tenant_id"), Model.name == bindparam("name"))
    .outerjoin(
        Version,
        Version.id
        == select(_newest.id)
        .where(_newest.model_id == Model.id, *may_be_built_on(_newest))
        .order_by(_newest.number.desc())
        .limit(1)
        .correlate(Model)
        .scalar_subquery(),
    )
    .options(load_only(Version.model_id, Version.number, Version.parent_id, Version.classes))
)
_NEWEST = (
    select(Version)
    .where(Version.model_id == bindparam("model_id"), *may_be_built_on(Version))
    .order_by(Version.number.desc())
    .limit(1)
)


def register_model(
    session: Session,
    tenant_id: uuid.UUID,
    *,
    name: str,
    description: str,
    policy: Policy,
    approval_required: bool,
    pool: str = DEFAULT_POOL,
) -> Model:
    """Create a model.

    Raises:
        ModelNameTaken: the name is in use.
    """
    model = Model(
        tenant_id=tenant_id,
        name=name,
        description=description,
        policy=policy.model_dump(),
        approval_required=approval_required,
        pool=pool,
        created_at=clock(session),
    )
    try:
        with session.begin_nested():
            session.add(model)
    except IntegrityError as error:
        raise ModelNameTaken(faults=(Fault("#/name", "is already taken"),)) from error
    audit_log.append(session, tenant_id, "model.registered", about=model.id, approval_required=approval_required)
    return model


def find_model(session: Session, tenant_id: uuid.UUID, name: str) -> Model:
    """The tenant's model of this name.

    Raises:
        ModelNotFound: there is none.
    """
    model = session.scalar(_BY_NAME, {"tenant_id": tenant_id, "name": name})
    if model is None:
        raise ModelNotFound
    return model


def find_model_to_unlearn(
    session: Session, tenant_id: uuid.UUID, name: str, *, most_waiting: int = 0
) -> tuple[Model, Version]:
    """The tenant's model of this name, with the version that the next run would start from.

    With `most_waiting` it also looks whether there is room for one more job, as `jobs.check_room` does by itself.

    Raises:
        ModelNotFound: there is none.
        VersionMissing: it has no version yet.
        QueueFull: as many jobs of the tenant wait already.
    """
    asked = {"tenant_id": tenant_id, "name": name, "most_waiting": max(most_waiting, 1)}
    row = session.execute(_TO_UNLEARN, asked).one_or_none()
    if row is None:
        raise ModelNotFound
    model, version, has_no_room = row
    if version is None:
        raise VersionMissing
    if most_waiting and has_no_room:
        raise QueueFull
    return model, version


def list_models(session: Session, tenant_id: uuid.UUID, *, cursor: str | None, limit: int) -> Page[Model]:
    """All models of a tenant, newest first."""
    return paginate(
        session,
        select(Model).where(Model.tenant_id == tenant_id),
        newest=Model.created_at,
        identity=Model.id,
        listing="models",
        cursor=cursor,
        limit=limit,
    )


def add_version(session: Session, model: Model, **columns: Any) -> Version:
    """Add the next version of `model`; `columns` are those of `Version` that are not given by the model.

    The model's row is locked first, so that two versions that arrive together get two numbers.
    """
    session.execute(select(Model.id).where(Model.id == model.id).with_for_update())
    newest = session.scalar(select(func.max(Version.number)).where(Version.model_id == model.id))
    version = Version(model_id=model.id, number=(newest or 0) + 1, created_at=clock(session), **columns)
    session.add(version)
    session.flush()
    return version


def register_version(session: Session, model: Model, *, parent: int | None, **columns: Any) -> Version:
    """Add a version that somebody uploaded.

    Raises:
        InvalidInput: the parent does not exist, or the classes are not those of the earlier versions.
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
    version = session.scalar(rows.options(*_FAMILY), execution_options={"populate_existing": True})
    if version is None:
        raise VersionNotFound
    return version


def tag(session: Session, version: Version, key: str, value: str | None) -> None:
    """Give a version a tag, or take it away (None).

    Raises:
        InvalidInput: it has too many.
    """
    session.refresh(version, ["tags"], with_for_update=True)
    tags = {name: text for name, text in version.tags.items() if name != key}
    if value is not None:
        tags[key] = value
    if len(tags) > MOST_TAGS:
        raise InvalidInput(Fault("#/tags", f"at most {MOST_TAGS} tags are allowed"))
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
        select(Version).where(Version.model_id == model.id).options(*_FAMILY),
        newest=Version.created_at,
        identity=Version.id,
        listing=f"versions/{model.id.hex}",
        cursor=cursor,
        limit=limit,
    )


def add_evaluation_set(session: Session, model: Model, *, name: str, **columns: Any) -> EvaluationSet:
    """Add a set of labelled images to measure on.

    Raises:
        EvaluationSetNameTaken: the model has one of this name.
    """
    evaluation_set = EvaluationSet(model_id=model.id, name=name, created_at=clock(session), **columns)
    try:
        with session.begin_nested():
            session.add(evaluation_set)
    except IntegrityError as error:
        raise EvaluationSetNameTaken(faults=(Fault("#/name", "is already taken"),)) from error
    audit_log.append(
        session,
        model.tenant_id,
        "evaluation_set.added",
        about=evaluation_set.id,
        model=str(model.id),
        kind=evaluation_set.kind,
        sha256=evaluation_set.sha256,
    )
    return evaluation_set


def find_evaluation_set(session: Session, model: Model, name: str) -> EvaluationSet:
    """One evaluation set.

    Raises:
        EvaluationSetNotFound: the model has none of this name.
    """
    found = session.scalar(select(EvaluationSet).where(EvaluationSet.model_id == model.id, EvaluationSet.name == name))
    if found is None:
        raise EvaluationSetNotFound
    return found


def newest_evaluation_set(session: Session, model_id: uuid.UUID, kind: str) -> EvaluationSet | None:
    """The set of this kind that jobs measure on."""
    return session.scalar(
        select(EvaluationSet)
        .where(EvaluationSet.model_id == model_id, EvaluationSet.kind == kind)
        .order_by(EvaluationSet.created_at.desc(), EvaluationSet.id.desc())
        .limit(1)
    )


def list_evaluation_sets(session: Session, model: Model, *, cursor: str | None, limit: int) -> Page[EvaluationSet]:
    """All evaluation sets of a model, newest first."""
    return paginate(
        session,
        select(EvaluationSet).where(EvaluationSet.model_id == model.id),
        newest=EvaluationSet.created_at,
        identity=EvaluationSet.id,
        listing=f"evaluation-sets/{model.id.hex}",
        cursor=cursor,
        limit=limit,
    )


def _version(model: Model, number: int) -> Select[Version]:
    return select(Version).where(Version.model_id == model.id, Version.number == number)
