import json
import secrets
import threading
import uuid

import pytest
from sqlalchemy import delete, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from service.registry.audit import audit_log, checkpoints, export
from service.registry.audit.hash_chain import Broken, Head, canonical, digest, follow
from service.registry.audit.verification import verify_all
from service.registry.crypto.signing_keys import rotate, signer
from service.registry.deletion_requests import lifecycle
from service.registry.settings import RegistrySettings
from service.registry.states import State
from service.registry.tables import AuditCheckpoint, AuditEntry, AuditEvent, AuditHead, Tenant, Transition
from tests.service.registry import given_rows as given


@pytest.fixture
def settings(tmp_path):
    return RegistrySettings(data_dir=tmp_path / "data")


@pytest.fixture
def tenant_id(database):
    with database.write() as session:
        return given.tenant(session)


@pytest.fixture
def populated(database, tenant_id, settings):
    """A log of six entries with checkpoints by two keys behind the second and the fourth, and those keys."""
    keys = {}
    for at in range(3):
        with database.write() as session:
            for what in ("made", "revoked"):
                audit_log.append(session, tenant_id, f"api_key.{what}", about=uuid.uuid4(), by="key:1", number=at)
            audit_log.chain(session, tenant_id)
        if at < 2:
            mine = signer(settings)
            keys[mine.key_id] = mine.public
            with database.write() as session:
                checkpoints.sign(session, tenant_id, mine)
            rotate(settings)
    return keys


def _said(database, tenant_id):
    with database.read() as session:
        end = audit_log.head(session, tenant_id)
        return [json.loads(link.entry) for link in audit_log.entries(session, tenant_id, 1, end.height)]


def _chain(database, tenant_id):
    with database.write() as session:
        return audit_log.chain(session, tenant_id)


def test_an_empty_log_has_a_head(database, tenant_id):
    with database.read() as session:
        assert audit_log.head(session, tenant_id) == Head(0, bytes(32))
        assert verify_all(session, tenant_id, {}) == Head()
    assert _chain(database, tenant_id) == 0


def test_an_empty_log_is_exported_and_is_whole(database, tenant_id, settings):
    mine = signer(settings)
    with database.write() as session:
        checkpoints.sign(session, tenant_id, mine)
    exported = list(export.lines(database, tenant_id, 0))
    assert export.verify(exported, {mine.key_id: mine.public}).head == Head()
    with pytest.raises(Broken):
        export.verify(exported[:1], {mine.key_id: mine.public})


def test_what_happened_is_chained_with_what_it_tells(database, tenant_id):
    """In the order in which it happened, each entry after the one before it."""
    about = uuid.uuid4()
    with database.write() as session:
        audit_log.set_actor(session, "key:7")
        audit_log.append(session, tenant_id, "api_key.created", about=about, scopes=["admin"])
        audit_log.append(session, tenant_id, "api_key.revoked", about=about, by="command line")
    assert _chain(database, tenant_id) == 2
    first, second = _said(database, tenant_id)
    assert (first["event"], first["by"], first["about"]) == ("api_key.created", "key:7", str(about))
    assert (first["height"], first["tenant"], first["facts"]) == (1, str(tenant_id), {"scopes": ["admin"]})
    assert (second["event"], second["by"], second["height"]) == ("api_key.revoked", "command line", 2)
    with database.read() as session:
        links = audit_log.entries(session, tenant_id, 1, 2)
        assert list(follow(Head(), tenant_id, links))[-1] == audit_log.head(session, tenant_id)
        assert [link.height for link in audit_log.entries(session, tenant_id, 1, 9, about=about)] == [1, 2]
        assert audit_log.entries(session, tenant_id, 1, 9, about=uuid.uuid4()) == []
        assert session.scalars(select(AuditEvent)).all() == []


def test_what_is_rolled_back_never_happened(database, tenant_id):
    with database.write() as session:
        audit_log.append(session, tenant_id, "api_key.created")
        session.rollback()
    assert _chain(database, tenant_id) == 0


def test_every_move_of_a_request_is_chained_once(database, settings):
    """Nothing has to be said for it: its row is what is chained."""
    with database.write() as session:
        model = given.model_with_version(session, approval_required=True)
        request = given.request(session, model, by="key:1")
    with database.write() as session:
        lifecycle.reject(session, request, by="key:2", reason="asked by Jane Doe")
    for _ in range(2):
        _chain(database, model.tenant_id)
    said = [one for one in _said(database, model.tenant_id) if one["event"] == "deletion_request.moved"]
    assert [(one["facts"]["before"], one["facts"]["after"]) for one in said] == [
        (None, State.RECEIVED),
        (State.RECEIVED, State.AWAITING_APPROVAL),
        (State.AWAITING_APPROVAL, State.REJECTED),
    ]
    assert {one["about"] for one in said} == {str(request.id)}
    assert said[0]["by"] == "key:1"
    assert said[0]["facts"]["images_hmac"] == request.samples_hmac
    assert "Jane" not in json.dumps(said)
    with database.read() as session:
        assert all(session.scalars(select(Transition.chained)))


def test_tenants_that_have_something_to_chain_are_found(database, tenant_id):
    """By what was said, and by moves of requests."""
    with database.write() as session:
        model = given.model_with_version(session, of="other")
        given.request(session, model)
        audit_log.append(session, tenant_id, "api_key.created")
    with database.read() as session:
        waiting = audit_log.unchained_tenants(session)
    assert waiting == sorted({tenant_id, model.tenant_id})
    for each in waiting:
        _chain(database, each)
    with database.read() as session:
        assert audit_log.unchained_tenants(session) == []


def test_what_cannot_be_chained_is_refused_where_it_is_said(database, tenant_id):
    for facts in ({"ratio": 0.5}, {"by name": {"Not A Name": 1}}):
        with pytest.raises(TypeError), database.write() as session:
            audit_log.append(session, tenant_id, "api_key.created", facts=facts)


def test_canonical_json_is_that_of_rfc_8785():
    """Sorted, no spaces, only what must be escaped is (section 3.2.2.2)."""
    value = {"b": [1, None, True], "a": '€"\\\u2028\n\u001f/', "a_1": {}, "a1": -7}
    assert canonical(value) == '{"a":"€\\"\\\\\u2028\\n\\u001f/","a1":-7,"a_1":{},"b":[1,null,true]}'


@pytest.mark.parametrize("kind", ["postgresql", "sqlite"])
def test_fifty_that_write_at_once_make_one_chain(kind, request):
    """Each says something, chains what there is, and signs."""
    database = request.getfixturevalue(kind)
    with database.write() as session:
        tenants = sorted(given.tenant(session, name) for name in ("acme", "other"))
    start, failures = threading.Barrier(50), []

    def write(at):
        start.wait()
        try:
            for tenant_id in (tenants, tenants[::-1])[at % 2]:
                with database.write() as session:
                    audit_log.append(session, tenant_id, "api_key.created", number=at)
                    if at % 3:
                        audit_log.chain(session, tenant_id)
        except Exception as error:  # noqa: BLE001  (the test shows it)
            failures.append(error)

    threads = [threading.Thread(target=write, args=(at,)) for at in range(50)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    for tenant_id in tenants:
        while _chain(database, tenant_id):
            pass
        assert sorted(one["facts"]["number"] for one in _said(database, tenant_id)) == list(range(50))
        with database.read() as session:
            assert verify_all(session, tenant_id, {}).height == 50


def test_the_chain_is_whole_when_the_key_of_pseudonyms_is_destroyed(database, settings):
    """What it holds of people are HMACs, which nobody can compute any more."""
    with database.write() as session:
        model = given.model_with_version(session, approval_required=True)
        request = given.request(session, model)
        lifecycle.reject(session, request, by="key:2", reason="Jane Doe")
    _chain(database, model.tenant_id)
    mine = signer(settings)
    with database.write() as session:
        before = checkpoints.sign(session, model.tenant_id, mine)
        session.execute(update(Tenant).values(pseudonym_key=secrets.token_bytes(32)))
    with database.read() as session:
        assert verify_all(session, model.tenant_id, {mine.key_id: mine.public}).sha256 == before.sha256


def _changed(value, every):
    """What somebody might put in the place of a value: of texts and bytes another one at each place, or at some."""
    match value:
        case bytes():
            yield from (
                value[:at] + bytes([value[at] ^ 1 << at % 8]) + value[at + 1 :] for at in range(0, len(value), every)
            )
        case str():
            yield from (value[:at] + chr(ord(value[at]) ^ 1) + value[at + 1 :] for at in range(0, len(value), every))
        case int():
            yield from (value + 1, value - 1, -value, value + 1000)
        case uuid.UUID():
            yield uuid.uuid4()
        case None:
            yield uuid.uuid4()
        case _:  # a time
            yield value.replace(microsecond=value.microsecond ^ 1)


def test_whatever_is_changed_in_any_column_of_any_row_is_found(database, tenant_id, populated):
    """Every byte of every value on SQLite; what would make two rows of one is refused by the database itself."""
    every = 1 if database.engine.dialect.name == "sqlite" else 17
    with database.write() as session:
        other = given.tenant(session, "other")
    tried, missed = 0, []
    with database.engine.begin() as connection:
        for table in (AuditEntry.__table__, AuditHead.__table__, AuditCheckpoint.__table__):
            for row in connection.execute(select(table)).mappings().all():
                mine = [column == row[column] for column in table.primary_key]
                for column in table.columns:
                    if column.name == "altered_at":
                        continue  # a note of what the entries themselves say
                    for value in [other] if column.name == "tenant_id" else _changed(row[column], every):
                        tried += 1
                        savepoint = connection.begin_nested()
                        try:
                            connection.execute(update(table).where(*mine).values({column: value}))
                        except IntegrityError:
                            pass
                        else:
                            if not any(_finds_out(connection, each, populated) for each in (tenant_id, other)):
                                missed.append((table.name, column.name, value))
                        savepoint.rollback()
        assert not _finds_out(connection, tenant_id, populated)
    assert not missed
    assert tried > 1900 / every


def _finds_out(connection, tenant_id, keys):
    with Session(connection, join_transaction_mode="create_savepoint") as session:
        try:
            verify_all(session, tenant_id, keys)
        except Broken:
            return True
        return False


def _without(height):
    def cut(session, tenant_id):
        session.execute(delete(AuditEntry).where(AuditEntry.height == height))

    return cut


def _swapped(session, tenant_id):
    first, second = (session.get_one(AuditEntry, (tenant_id, at)) for at in (2, 3))
    for name in ("previous", "entry", "sha256", "about"):
        mine, its = getattr(first, name), getattr(second, name)
        setattr(first, name, its)
        setattr(second, name, mine)


def _shortened(session, tenant_id):
    """Up to before the last checkpoint, by somebody who knows how: the chain itself is whole."""
    session.execute(delete(AuditEntry).where(AuditEntry.height > 3))
    head = session.get_one(AuditHead, tenant_id)
    head.height, head.sha256 = 3, session.get_one(AuditEntry, (tenant_id, 3)).sha256


def _rewritten(session, tenant_id):
    """From the third on, by somebody who knows how: the chain itself is whole."""
    previous = session.get_one(AuditEntry, (tenant_id, 2)).sha256
    for height in range(3, 7):
        row = session.get_one(AuditEntry, (tenant_id, height))
        row.entry = row.entry.replace("key:1", "key:2")
        row.previous, row.sha256 = previous, digest(previous, row.entry)
        previous = row.sha256
    session.get_one(AuditHead, tenant_id).sha256 = previous


def _lengthened(session, tenant_id):
    row = session.get_one(AuditEntry, (tenant_id, 6))
    entry = row.entry.replace('"height":6', '"height":7')
    session.add(
        AuditEntry(
            tenant_id=tenant_id,
            height=7,
            previous=row.sha256,
            entry=entry,
            sha256=digest(row.sha256, entry),
            about=row.about,
        )
    )


@pytest.mark.parametrize(
    "harm", [*map(_without, range(1, 7)), _swapped, _shortened, _rewritten, _lengthened], ids=lambda harm: harm.__name__
)
def test_what_is_removed_moved_cut_off_or_rewritten_is_found(database, tenant_id, populated, harm):
    with database.read() as session:
        assert verify_all(session, tenant_id, populated).height == 6
    with database.write() as session:
        harm(session, tenant_id)
    with database.read() as session, pytest.raises(Broken):
        verify_all(session, tenant_id, populated)
