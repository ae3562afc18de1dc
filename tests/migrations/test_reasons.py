"""The sentences of earlier releases become reasons with a code, and sentences again on the way back."""

import json
import uuid

from sqlalchemy import select, update

from service.registry.reasons import Reason
from service.registry.states import State
from service.registry.storage import schema
from service.registry.tables import DeletionRequest, Job
from tests.migrations import previous_release as previous
from tests.migrations.test_upgrading import PREVIOUS, empty, move
from tests.service.registry.given_reasons import FREE, REASONS

__all__ = ["empty"]

SENTENCES = [sentence for _, sentence in REASONS + FREE]
UNKNOWN = "unlearn: out of luck"


def fill(connection):
    """A failed request and its job for each sentence, and declined ones for the same words."""
    previous.fill(connection)
    tables = {table.name: table for table in previous.tables(connection)}
    jobs, requests, moves = (tables[name] for name in ("jobs", "deletion_requests", "transitions"))
    job = connection.execute(select(jobs).where(jobs.c.state == "failed")).one()._asdict()
    request = connection.execute(select(requests).where(requests.c.state == "failed")).one()._asdict()
    for state in ("failed", "rejected"):
        for sentence in (*SENTENCES, UNKNOWN):
            job_id, request_id = (uuid.uuid4() for _ in range(2))
            if connection.dialect.name == "sqlite":
                job_id, request_id = job_id.hex, request_id.hex
            moved = {"state": state, "reason": sentence}
            connection.execute(jobs.insert().values({**job, **moved, "id": job_id}))
            connection.execute(requests.insert().values({**request, **moved, "id": request_id, "job_id": job_id}))
            moved = {"before": "running", "after": state, "reason": sentence}
            connection.execute(moves.insert().values({**moved, "request_id": request_id, "at": previous.NOW}))


def test_a_sentence_gets_the_code_that_it_was_made_of(empty):
    """Every one that a release wrote itself. Whatever a person wrote is theirs, and nobody's code."""
    move(empty, PREVIOUS)
    with empty.engine.begin() as connection:
        fill(connection)

    schema.upgrade(empty)

    known = {sentence: reason for reason, sentence in REASONS}
    with empty.write() as session:
        for table in (Job, DeletionRequest):
            rows = session.scalars(select(table).where(table.reason_text.in_((*SENTENCES, UNKNOWN)))).all()
            assert len(rows) == 2 * len(SENTENCES) + 2
            for row in rows:
                assert row.reason == row.reason_text
                if row.state is State.REJECTED:
                    assert row.why.parameters == {"text": row.reason_text}
                else:
                    expected = known.get(row.reason_text)
                    assert stored(row.why) == stored(expected), row.reason_text


def test_on_the_way_back_a_code_becomes_a_sentence(empty):
    """It is in the move that the row has last made."""
    move(empty, PREVIOUS)
    with empty.engine.begin() as connection:
        fill(connection)
        before = previous.content(connection)
    schema.upgrade(empty)
    with empty.write() as session:  # as what has moved since
        for table in (Job, DeletionRequest):
            session.execute(update(table).where(table.reason_code.is_not(None)).values(reason_text=None))

    move(empty, PREVIOUS)

    with empty.engine.begin() as connection:
        assert previous.content(connection) == before


def stored(reason: Reason | None):
    return reason and json.dumps(reason.stored(), sort_keys=True, default=str)
