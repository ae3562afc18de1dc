"""The server-sent events of a deletion request, which a client can resume after a broken connection."""

import re
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from typing import Self

import anyio
from fastapi.sse import ServerSentEvent
from pydantic import BaseModel
from sqlalchemy.orm import Session
from starlette.concurrency import run_in_threadpool

from service.deletion_requests.job_schemas import Progress, StepAnswer
from service.deletion_requests.schemas import Ended, Move
from service.registry.deletion_requests import lifecycle
from service.registry.job_queue import jobs
from service.registry.states import ENDED
from service.registry.storage.database import Database
from service.registry.tables import DeletionRequest

EXAMPLE = """\
event: state
data: {"at":"2026-03-02T10:15:31Z","before":"queued","after":"running","reason":null}
id: 2.0.-1

event: progress
data: {"phase":"unlearn","step":1,"total":400,"attempt":1}

event: step
data: {"step":1,"forget_accuracy":12.5,"collapse":0.002}
id: 2.1.1

event: end
data: {"state":"completed","reason":null,"version":2}
id: 3.1.400

"""
"""Example of a stream, for OpenAPI."""

_POLL_INTERVAL = 0.5  # seconds between two reads of the database


@dataclass(frozen=True)
class Position:
    """The last events that were sent: a transition (its id), and a step of the attempt with this fence."""

    transition: int = 0
    fence: int = 0
    step: int = -1

    @classmethod
    def parse(cls, last_event_id: str | None) -> Self:
        """From `Last-Event-ID`; the beginning if there is none, or it is malformed."""
        match = re.fullmatch(r"([0-9]{1,18})\.([0-9]{1,9})\.(-1|[0-9]{1,9})", last_event_id or "")
        return cls(*(int(part) for part in match.groups())) if match else cls()

    def __str__(self) -> str:
        return f"{self.transition}.{self.fence}.{self.step}"


async def follow(
    database: Database, tenant_id: uuid.UUID, request_id: uuid.UUID, position: Position
) -> AsyncIterator[ServerSentEvent]:
    """Everything after `position`, as it happens: `state`, `step` and `progress`, and `end` when it has ended."""
    progress: Progress | None = None

    def poll() -> tuple[list[ServerSentEvent], Position, Progress, Ended | None]:
        with database.read() as session:
            request = lifecycle.find(session, tenant_id, request_id)
            events, after = _since(session, request, position)
            version = request.job.version.number if request.job.version else None
            ended = Ended(state=request.state, reason=request.reason, version=version)
            return events, after, Progress.model_validate(request.job), ended if request.state in ENDED else None

    while True:
        events, position, now, ended = await run_in_threadpool(poll)
        for event in events:
            yield event
        if ended is not None:
            yield ServerSentEvent(event="end", data=ended, id=str(position))
            return
        if now != progress:
            progress = now
            yield ServerSentEvent(event="progress", data=now)
        await anyio.sleep(_POLL_INTERVAL)


def _since(session: Session, request: DeletionRequest, position: Position) -> tuple[list[ServerSentEvent], Position]:
    """The events after `position`, steps before the transition that ends the request, and the position after them."""
    moves = lifecycle.transitions(session, request.id, after=position.transition)
    final_moves = [moves.pop()] if moves and moves[-1].after in ENDED else []
    events = []

    def append(kind: str, data: BaseModel, after: Position) -> Position:
        events.append(ServerSentEvent(event=kind, data=data, id=str(after)))
        return after

    for move in moves:
        position = append("state", Move.model_validate(move), replace(position, transition=move.id))
    for point in jobs.curve_after(session, request.job, fence=position.fence, step=position.step):
        position = append("step", StepAnswer.of(point), replace(position, fence=point.fence, step=point.step))
    for move in final_moves:
        position = append("state", Move.model_validate(move), replace(position, transition=move.id))
    return events, position
