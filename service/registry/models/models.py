"""Models: registering, finding and listing them, and the pool of workers that runs their jobs."""

import uuid

from sqlalchemy import bindparam, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from service.registry.audit import audit_log
from service.registry.errors import (
    Fault,
    ModelNameTaken,
    ModelNotFound,
)
from service.registry.models.quality_gate import Policy
from service.registry.settings import DEFAULT_POOL
from service.registry.states import State
from service.registry.storage.database import clock
from service.registry.storage.pagination import Page, paginate
from service.registry.tables import Job, Model

# Built once: every deletion request runs it, and building it takes longer than running it.
_BY_NAME = select(Model).where(Model.tenant_id == bindparam("tenant_id"), Model.name == bindparam("name"))


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
    """Register a model.

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


def move_model(session: Session, model: Model, pool: str) -> None:
    """Give a model's jobs to the workers of another pool, waiting ones too; a running job stays with its worker."""
    model.pool = pool
    audit_log.append(session, model.tenant_id, "model.moved", about=model.id, pool=pool)
    waiting = update(Job).where(Job.model_id == model.id, Job.state == State.QUEUED)
    session.execute(waiting.values(rung_at=None))  # they were not announced to this pool
