"""What is stored for a reason, and what is said for it."""

import json

import pytest

from service.registry.reasons import Objection, ObjectionKind, Reason, ReasonCode
from service.registry.tables import Job
from tests.service.registry.given_reasons import BROKEN, FREE, OBJECTIONS, REASONS
from tests.service.registry.given_rows import model_with_version, request


def test_nothing_is_left_out_here():
    assert {reason.code for reason, _ in REASONS + FREE} == set(ReasonCode)
    assert {objection.kind for objection, _ in OBJECTIONS} == set(ObjectionKind)


@pytest.mark.parametrize(("reason", "sentence"), [*REASONS, *FREE, *OBJECTIONS])
def test_every_reason_says_what_it_has_always_said(reason, sentence):
    assert str(reason) == sentence


@pytest.mark.parametrize("reason", [one for one, _ in REASONS + FREE + OBJECTIONS], ids=str)
def test_what_is_stored_is_json_and_the_same_when_it_is_read(reason):
    """PostgreSQL refuses what is no number."""
    kind = Reason if isinstance(reason, Reason) else Objection
    again = kind.read(json.loads(json.dumps(reason.stored(), allow_nan=False)))
    assert again.stored() == reason.stored()
    assert str(again) == str(reason)


def test_a_row_keeps_every_reason(database):
    """Until it gets none."""
    with database.write() as session:
        row = request(session, model_with_version(session))
        job = session.get_one(Job, row.job_id)
        for reason, sentence in REASONS + FREE:
            for holder in (row, job):
                holder.reason_text = "of an earlier release"
                holder.why = reason
                session.flush()
                session.refresh(holder)
                assert (holder.why, holder.reason) == (reason, sentence)
        row.why = None
        session.flush()
        session.refresh(row)
        assert (row.why, row.reason, row.reason_text) == (None, None, None)


def test_the_words_of_an_earlier_release_stay_where_no_code_is_known(database):
    with database.write() as session:
        row = request(session, model_with_version(session))
        row.reason_text = "so it was"
        session.flush()
        session.refresh(row)
        assert (row.why, row.reason) == (None, "so it was")


def test_a_long_cause_is_cut():
    """A move's reason has room for 500 characters."""
    cause = Reason(ReasonCode.INPUT_UNUSABLE, BROKEN.phase, {"detail": "x" * 600})
    split = Reason(ReasonCode.RUN_SPLIT, None, {"requests": 10, "cause": cause.stored()})
    assert str(split) == f"the run for 10 requests failed (unlearn: {'x' * 391}); each is tried by itself"
