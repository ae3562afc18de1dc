"""Lists of requests and of models, page by page."""

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session, aliased, joinedload, load_only

from service.dashboard.overview import is_open
from service.registry.measurements.schemas import Measurements, of_version
from service.registry.models import models
from service.registry.models.versions import run_metrics
from service.registry.states import State
from service.registry.storage.database import clock
from service.registry.storage.pagination import Page, paginate
from service.registry.tables import Alias, DeletionRequest, Model, Version

_ON_A_PAGE = 50

#: Of a version; classes and hyper-parameters may be long.
_SHOWN = load_only(
    *(Version.model_id, Version.number, Version.parent_id, Version.job_id),
    *(Version.gate, Version.disposition, Version.metrics, Version.created_at),
)


def requests(
    session: Session,
    tenant_id: uuid.UUID,
    *,
    model: Model | None,
    state: State | None,
    overdue: bool,
    cursor: str | None,
) -> Page[DeletionRequest]:
    """Requests of a tenant with their models, newest first: of one model, in one state, or overdue, if asked for."""
    rows = select(DeletionRequest).where(DeletionRequest.tenant_id == tenant_id)
    if model is not None:
        rows = rows.where(DeletionRequest.model_id == model.id)
    if state is not None:
        rows = rows.where(DeletionRequest.state == state)
    if overdue:
        rows = rows.where(*is_open(), DeletionRequest.due_at <= clock(session))
    return paginate(
        session,
        rows.options(joinedload(DeletionRequest.model)),
        newest=DeletionRequest.received_at,
        identity=DeletionRequest.id,
        listing=f"dashboard/{model.id.hex if model else ''}/{state or ''}/{overdue}",
        cursor=cursor,
        limit=_ON_A_PAGE,
    )


def model_names(session: Session, tenant_id: uuid.UUID) -> Sequence[str]:
    """Names to choose from, of the newest models."""
    newest = select(Model.name).where(Model.tenant_id == tenant_id).order_by(Model.created_at.desc(), Model.id.desc())
    return session.scalars(newest.limit(200)).all()


@dataclass(frozen=True)
class ModelRow:
    """A model, and how it stands."""

    model: Model
    newest: Version | None
    metrics: Mapping[str, Any]  #: of the newest version
    aliases: Sequence[Alias]
    waiting: int


def model_rows(session: Session, tenant_id: uuid.UUID, *, cursor: str | None) -> tuple[Sequence[ModelRow], str | None]:
    """A page of models, newest first, each with its newest version, its aliases, and how many requests wait for it."""
    page = models.list_models(session, tenant_id, cursor=cursor, limit=_ON_A_PAGE)
    ids = [model.id for model in page.items]
    other = aliased(Version)
    highest = select(func.max(other.number)).where(other.model_id == Model.id).scalar_subquery()
    found = select(Version).join(Model, Model.id == Version.model_id).options(_SHOWN)
    found = found.where(Model.id.in_(ids), Version.number == highest)
    newest = {version.model_id: version for version in session.scalars(found)}
    aliases: dict[uuid.UUID, list[Alias]] = {}
    named = select(Alias).where(Alias.model_id.in_(ids)).options(joinedload(Alias.version)).order_by(Alias.name)
    for alias in session.scalars(named):
        aliases.setdefault(alias.model_id, []).append(alias)
    counted = (
        select(DeletionRequest.model_id, func.count())
        .where(DeletionRequest.tenant_id == tenant_id, *is_open(State.AWAITING_APPROVAL, State.QUEUED, State.RUNNING))
        .group_by(DeletionRequest.model_id)
    )
    waiting = dict(session.execute(counted).all())
    metrics = measured(session, list(newest.values()))
    rows = []
    for model in page.items:
        version = newest.get(model.id)
        of_it = metrics[version.id] if version else {}
        rows.append(ModelRow(model, version, of_it, aliases.get(model.id, ()), waiting.get(model.id, 0)))
    return rows, page.next


def measured(session: Session, versions: Sequence[Version]) -> dict[uuid.UUID, Measurements]:
    """What each version was measured to be, by version; A_f is of the images of the run that made it."""
    runs = run_metrics(session, versions)
    return {version.id: of_version(version.metrics, runs.get(version.id)) for version in versions}


@dataclass(frozen=True)
class Family:
    """The newest versions of a model, or some older ones."""

    versions: Sequence[Version]
    metrics: dict[uuid.UUID, Measurements]  #: by version
    aliases: dict[int, list[str]]  #: names by number
    parents: dict[uuid.UUID, int]  #: numbers by identifier, of those that are not among the versions too
    requests: dict[uuid.UUID, uuid.UUID]  #: by job, the first request that it served
    next: str | None


def family(session: Session, model: Model, *, cursor: str | None, limit: int = 30) -> Family:
    """Versions of a model, newest first, with what leads to and from them."""
    page = paginate(
        session,
        select(Version).where(Version.model_id == model.id).options(_SHOWN),
        newest=Version.created_at,
        identity=Version.id,
        listing=f"dashboard/versions/{model.id.hex}",
        cursor=cursor,
        limit=limit,
    )
    parents = {version.id: version.number for version in page.items}
    others = {version.parent_id for version in page.items} - parents.keys() - {None}
    missing = select(Version.id, Version.number).where(Version.id.in_(others))
    parents |= dict(session.execute(missing).all())
    aliases: dict[int, list[str]] = {}
    named = select(Version.number, Alias.name).join(Alias, Alias.version_id == Version.id)
    for number, name in session.execute(named.where(Alias.model_id == model.id).order_by(Alias.name)):
        aliases.setdefault(number, []).append(name)
    jobs = [version.job_id for version in page.items if version.job_id]
    served = select(DeletionRequest.job_id, DeletionRequest.id).where(DeletionRequest.job_id.in_(jobs))
    newest_first = served.order_by(DeletionRequest.received_at.desc())
    requests_ = dict(session.execute(newest_first).all())
    return Family(page.items, measured(session, page.items), aliases, parents, requests_, page.next)
