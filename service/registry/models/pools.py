"""Which workers run a model's jobs."""

from sqlalchemy import update
from sqlalchemy.orm import Session

from service.registry.audit import audit_log
from service.registry.states import State
from service.registry.tables import Job, Model


def move_model(session: Session, model: Model, pool: str) -> None:
    """Have other workers run a model's jobs, those too that wait already; one that runs goes on where it is."""
    model.pool = pool
    audit_log.append(session, model.tenant_id, "model.moved", about=model.id, pool=pool)
    waiting = update(Job).where(Job.model_id == model.id, Job.state == State.QUEUED)
    session.execute(waiting.values(rung_at=None))  # these workers have not been told of them
