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

_PAGE_SIZE = 50

#: Columns of versions that lists show; classes and hyper-parameters, which may be long, are not loaded.
_LISTED_COLUMNS = load_only(
    Version.model_id,
    Version.number,
    Version.parent_id,
    Version.job_id,
    Version.gate,
    Version.disposition,
    Version.metrics,
    Version.created_at,
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
    """Requests of a tenant with their models, newest first; filters that are set narrow the list."""
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
        limit=_PAGE_SIZE,
    )


def model_names(session: Session, tenant_id: uuid.UUID) -> Sequence[str]:
    """Names of the 200 newest models, for the filter's suggestions."""
    newest = select(Model.name).where(Model.tenant_id == tenant_id).order_by(Model.created_at.desc(), Model.id.desc())
    return session.scalars(newest.limit(200)).all()


@dataclass(frozen=True)
class ModelRow:
    """A row of the list of models."""

    model: Model
    newest: Version | None
    metrics: Mapping[str, Any]  #: of the newest version
    aliases: Sequence[Alias]
    waiting: int  #: requests that are open and have not failed


def model_rows(session: Session, tenant_id: uuid.UUID, *, cursor: str | None) -> tuple[Sequence[ModelRow], str | None]:
    """A page of models, newest first, each with its newest version, its aliases, and how many requests wait for it."""
    page = models.list_models(session, tenant_id, cursor=cursor, limit=_PAGE_SIZE)
    ids = [model.id for model in page.items]
    sibling = aliased(Version)
    highest = select(func.max(sibling.number)).where(sibling.model_id == Model.id).scalar_subquery()
    newest_versions = select(Version).join(Model, Model.id == Version.model_id).options(_LISTED_COLUMNS)
    newest_versions = newest_versions.where(Model.id.in_(ids), Version.number == highest)
    newest = {version.model_id: version for version in session.scalars(newest_versions)}
    aliases: dict[uuid.UUID, list[Alias]] = {}
    alias_rows = select(Alias).where(Alias.model_id.in_(ids)).options(joinedload(Alias.version)).order_by(Alias.name)
    for alias in session.scalars(alias_rows):
        aliases.setdefault(alias.model_id, []).append(alias)
    counts = (
        select(DeletionRequest.model_id, func.count())
        .where(DeletionRequest.tenant_id == tenant_id, *is_open(State.AWAITING_APPROVAL, State.QUEUED, State.RUNNING))
        .group_by(DeletionRequest.model_id)
    )
    waiting = dict(session.execute(counts).all())
    metrics = metrics_by_version(session, list(newest.values()))
    rows = []
    for model in page.items:
        version = newest.get(model.id)
        newest_metrics = metrics[version.id] if version else {}
        rows.append(ModelRow(model, version, newest_metrics, aliases.get(model.id, ()), waiting.get(model.id, 0)))
    return rows, page.next


def metrics_by_version(session: Session, versions: Sequence[Version]) -> dict[uuid.UUID, Measurements]:
    """The measurements of each version, by its id; A_f is of the images of the run that made it."""
    runs = run_metrics(session, versions)
    return {version.id: of_version(version.metrics, runs.get(version.id)) for version in versions}


@dataclass(frozen=True)
class Family:
    """A page of a model's versions, newest first, and what is related to them."""

    versions: Sequence[Version]
    metrics: dict[uuid.UUID, Measurements]  #: by version
    aliases: dict[int, list[str]]  #: names by number
    parents: dict[uuid.UUID, int]  #: numbers by id, also of parents that are on another page
    requests: dict[uuid.UUID, uuid.UUID]  #: by job, the request that it served and that was received first
    next: str | None


def family(session: Session, model: Model, *, cursor: str | None, limit: int = 30) -> Family:
    """A page of a model's versions, newest first, with their aliases, parents and requests."""
    page = paginate(
        session,
        select(Version).where(Version.model_id == model.id).options(_LISTED_COLUMNS),
        newest=Version.created_at,
        identity=Version.id,
        listing=f"dashboard/versions/{model.id.hex}",
        cursor=cursor,
        limit=limit,
    )
    parents = {version.id: version.number for version in page.items}
    missing_ids = {version.parent_id for version in page.items} - parents.keys() - {None}
    missing_parents = select(Version.id, Version.number).where(Version.id.in_(missing_ids))
    parents |= dict(session.execute(missing_parents).all())
    aliases: dict[int, list[str]] = {}
    alias_rows = select(Version.number, Alias.name).join(Alias, Alias.version_id == Version.id)
    for number, name in session.execute(alias_rows.where(Alias.model_id == model.id).order_by(Alias.name)):
        aliases.setdefault(number, []).append(name)
    jobs = [version.job_id for version in page.items if version.job_id]
    served = select(DeletionRequest.job_id, DeletionRequest.id).where(DeletionRequest.job_id.in_(jobs))
    newest_first = served.order_by(DeletionRequest.received_at.desc())
    request_ids = dict(session.execute(newest_first).all())
    return Family(page.items, metrics_by_version(session, page.items), aliases, parents, request_ids, page.next)
