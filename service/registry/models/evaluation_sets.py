"""Evaluation sets: labelled images that the versions of a model are measured on."""

import uuid
from typing import Any

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from service.registry.audit import audit_log
from service.registry.errors import EvaluationSetNameTaken, EvaluationSetNotFound, Fault
from service.registry.storage.database import clock
from service.registry.storage.pagination import Page, paginate
from service.registry.tables import EvaluationSet, Model


def add_evaluation_set(session: Session, model: Model, *, name: str, **columns: Any) -> EvaluationSet:
    """Add an evaluation set; `columns` are the others of `EvaluationSet`.

    Raises:
        EvaluationSetNameTaken: the model has an evaluation set of this name.
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
    """The evaluation set of a model with this name.

    Raises:
        EvaluationSetNotFound: the model has none of this name.
    """
    row = session.scalar(select(EvaluationSet).where(EvaluationSet.model_id == model.id, EvaluationSet.name == name))
    if row is None:
        raise EvaluationSetNotFound
    return row


def newest_evaluation_set(session: Session, model_id: uuid.UUID, kind: str) -> EvaluationSet | None:
    """The newest set of this kind, `test` or `retain`: the one that jobs measure on. `None` if there is none."""
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
