"""What is changed or taken away in the second before it is chained is found when it is chained, and told for ever."""

import json
import uuid
from contextlib import closing
from datetime import timedelta

import pytest
from sqlalchemy import delete, select, update

from service.cli.doctor.audit import whole
from service.registry.audit import audit_log, checkpoints, export, inclusion_proof
from service.registry.audit.hash_chain import Broken
from service.registry.audit.verification import ALTERATION_REPORTED_FOR, last_verification
from service.registry.crypto.signing_keys import signer
from service.registry.deletion_requests import lifecycle
from service.registry.settings import RegistrySettings
from service.registry.states import State
from service.registry.storage.database import Database
from service.registry.tables import AuditEvent, AuditHead, DeletionRequest, Transition
from tests.service.registry import given_rows as given


@pytest.fixture
def unsealed(database):
    """As a release has it that knows no seals, or somebody who has no key."""
    return database


@pytest.fixture
def sealed(unsealed):
    with closing(Database(unsealed.engine.url.render_as_string(hide_password=False), audit_key=b"k" * 32)) as database:
        yield database


@pytest.fixture
def request_(sealed):
    """A request for approval, chained: its two moves, and three events before them."""
    with sealed.write() as session:
        model = given.model_with_version(session, approval_required=True)
        request = given.request(session, model)
        audit_log.chain(session, model.tenant_id)
    return request


def chained(database, tenant_id, after=0):
    """Chain what there is; what the entries say, as far as they are new."""
    with database.write() as session:
        audit_log.chain(session, tenant_id)
    with database.read() as session:
        return [json.loads(link.entry) for link in audit_log.entries(session, tenant_id, after + 1)]


def height(database, tenant_id):
    with database.read() as session:
        return audit_log.head(session, tenant_id).height


def test_what_nobody_has_touched_is_as_it_was_written(sealed, request_):
    with sealed.write() as session:
        lifecycle.reject(session, request_, by="key:2", reason='Ωhm\'s "law"')
        audit_log.append(session, request_.tenant_id, "api_key.created", about=uuid.uuid4(), scopes=["b", "a"], at=None)
    said = chained(sealed, request_.tenant_id)
    assert [one["as_written"] for one in said] == [True] * 7
    with sealed.read() as session:
        assert last_verification(session).broken == 0
        assert session.scalars(select(Transition.seal).where(Transition.seal.is_not(None))).all() == []


#: What somebody might put in the place of what was written, given the row.
CHANGES = {
    (AuditEvent, "at"): lambda row: row.at + timedelta(microseconds=1),
    (AuditEvent, "event"): lambda _: "api_key.revoked",
    (AuditEvent, "about"): lambda _: uuid.uuid4(),
    (AuditEvent, "by"): lambda _: "key:9",
    (AuditEvent, "facts"): lambda _: {"Not A Name": 0.5},  # which no entry may hold
    (AuditEvent, "seal"): lambda row: row.seal[::-1],
    (Transition, "at"): lambda row: row.at + timedelta(microseconds=1),
    (Transition, "after"): lambda _: State.CANCELLED,
    (Transition, "reason"): lambda _: "because",
    (Transition, "seal"): lambda row: row.seal[::-1],
    (DeletionRequest, "submitted_by"): lambda _: "key:9",
    (DeletionRequest, "samples_hmac"): lambda _: "1" * 64,
    (DeletionRequest, "sample_count"): lambda _: 2,
    (DeletionRequest, "due_at"): lambda row: row.due_at + timedelta(days=1),
}


@pytest.mark.parametrize(("table", "column"), CHANGES, ids=lambda it: getattr(it, "__tablename__", it))
@pytest.mark.parametrize("with_seal", [True, False], ids=["changed", "changed and its seal gone"])
def test_whatever_is_changed_before_it_is_chained_is_told(sealed, unsealed, request_, table, column, with_seal):
    """By somebody who has the database and no key, and who may take the seal away as well."""
    tenant_id = request_.tenant_id
    with sealed.write() as session:
        audit_log.append(session, tenant_id, "api_key.created", about=uuid.uuid4(), number=7)
        other = given.request(session, request_.model)
    with unsealed.write() as session:
        mine = {AuditEvent: AuditEvent.id > 0, Transition: Transition.request_id == other.id}
        rows = select(table).where(mine.get(table, DeletionRequest.id == other.id))
        row = session.scalars(rows.order_by(table.id).limit(1)).one()
        session.execute(update(table).where(table.id == row.id).values({column: CHANGES[table, column](row)}))
        if not with_seal:
            session.execute(update(AuditEvent).values(seal=None))
            session.execute(update(Transition).values(seal=None))
    said = chained(sealed, tenant_id, height(sealed, tenant_id))
    assert False in [one["as_written"] for one in said]
    with sealed.read() as session:
        assert audit_log.altered_at(session, tenant_id) is not None
        assert last_verification(session).broken == 1
    assert whole(sealed).outcome == "problem"


def test_an_entry_of_another_tenant_or_of_nobody_is_told(sealed, unsealed, request_):
    """One that was moved to another log, and one that was made up."""
    with sealed.write() as session:
        other = given.tenant(session, "other")
        audit_log.append(session, other, "api_key.created")
        audit_log.chain(session, other)
        audit_log.append(session, other, "api_key.revoked")
    with unsealed.write() as session:
        session.execute(update(AuditEvent).values(tenant_id=request_.tenant_id))
        audit_log.append(session, other, "api_key.created")
    assert [one["as_written"] for one in chained(sealed, other)] == [True, False]
    assert chained(sealed, request_.tenant_id)[-1]["as_written"] is False


@pytest.mark.parametrize(
    "how", [delete(Transition), update(Transition).values(chained=True)], ids=["removed", "hidden"]
)
def test_a_move_that_is_taken_away_is_missed_when_the_next_one_comes(sealed, unsealed, request_, how):
    """Each begins where the one before has ended."""
    with sealed.write() as session:
        lifecycle.approve(session, request_, by="key:2")
    with unsealed.write() as session:
        session.execute(how.where(~Transition.chained))
    claim = given.claim(sealed)
    assert claim is not None
    said = chained(sealed, request_.tenant_id)
    last = [one for one in said if one["event"] == "deletion_request.moved"][-1]
    assert (last["facts"]["before"], last["facts"]["after"], last["as_written"]) == ("queued", "running", False)
    assert last["facts"]["follows"] == "awaiting_approval"


def test_what_an_older_release_has_left_is_chained_and_nothing_after_it_without_a_seal(sealed, unsealed):
    """Nobody can tell whether it is as it was written, which it says."""
    with unsealed.write() as session:
        model = given.model_with_version(session)
        given.request(session, model)
    said = chained(sealed, model.tenant_id)
    assert {one["as_written"] for one in said} == {None}
    with sealed.write() as session:
        audit_log.append(session, model.tenant_id, "api_key.created")
    with unsealed.write() as session:
        audit_log.append(session, model.tenant_id, "api_key.revoked")
    said = chained(sealed, model.tenant_id, len(said))
    assert [one["as_written"] for one in said] == [True, False]


def test_it_stays_in_the_log_for_ever_and_is_an_alarm_for_a_month(sealed, unsealed, request_, tmp_path):
    """The chain is whole, so others who have it find the entry in it; and the proof about that request is none."""
    tenant_id, mine = request_.tenant_id, signer(RegistrySettings(data_dir=tmp_path))
    with sealed.write() as session:
        audit_log.append(session, tenant_id, "deletion_request.approved", about=request_.id)
    with unsealed.write() as session:
        session.execute(update(AuditEvent).values(by="key:9"))
    at = len(chained(sealed, tenant_id))
    keys = {mine.key_id: mine.public}
    with sealed.write() as session:
        checkpoints.sign(session, tenant_id, mine)
    report = export.verify(export.lines(sealed, tenant_id, at), keys)
    assert report.altered == (at,)
    with sealed.read() as session, pytest.raises(Broken, match="before it was chained"):
        inclusion_proof.verify(inclusion_proof.proof(session, request_), keys)
    with sealed.write() as session:
        session.execute(update(AuditHead).values(altered_at=AuditHead.altered_at))
        head = session.get_one(AuditHead, tenant_id)
        head.altered_at -= ALTERATION_REPORTED_FOR
    with sealed.read() as session:
        assert last_verification(session).broken == 0
