import base64
import json
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.registry.errors import MalformedCursor
from service.registry.models import models
from service.registry.storage import pagination
from service.registry.tables import Model
from tests.service.registry.given_rows import register_model, tenant

NOW = datetime(2026, 1, 1, tzinfo=UTC)
IDENTITY = "0f0f0f0f0f0f4f0f8f0f0f0f0f0f0f0f"


def add(database, *names, at=NOW):
    with database.write() as session:
        given = {"tenant_id": tenant(session), "description": "", "policy": {}, "approval_required": False}
        session.add_all(Model(name=name, created_at=at, **given) for name in names)


def page(database, cursor, limit=2):
    with database.write() as session:
        found = models.list_models(session, tenant(session), cursor=cursor, limit=limit)
        return [model.name for model in found.items], found.next


def test_pages_stay_stable_while_rows_arrive(database):
    """What comes after the first page was read shifts nothing; rows of one instant are neither lost nor doubled."""
    add(database, *"abcde")
    seen, cursor = page(database, None)
    arrivals = iter("vwxyz")
    while cursor:
        add(database, next(arrivals), at=NOW + timedelta(seconds=1))
        names, cursor = page(database, cursor)
        seen += names
    assert sorted(seen) == list("abcde")


def test_the_last_page_has_no_cursor(database):
    """Also when it is exactly full, and when there is nothing."""
    assert page(database, None) == ([], None)
    add(database, "a", "b")
    assert page(database, None)[1] is None


def forged(*parts):
    return base64.urlsafe_b64encode(json.dumps(parts).encode()).rstrip(b"=").decode()


@pytest.mark.parametrize(
    "cursor",
    [
        "",
        "x",
        "é",
        forged("jobs", NOW.isoformat(), IDENTITY),
        forged("models", "2026-01-01T00:00:00", IDENTITY),
        forged("models", "0001-01-01T00:00:00+23:59", IDENTITY),
        forged("models", NOW.astimezone(timezone(timedelta(hours=1))).isoformat(), IDENTITY),
        forged("models", 5, IDENTITY),
        forged("models", NOW.isoformat(), "x"),
        forged("models", NOW.isoformat(), None),
        forged("models", NOW.isoformat()),
        forged(None),
    ],
)
def test_a_forged_cursor_is_refused(sqlite, cursor):
    """Whatever it decodes to."""
    with pytest.raises(MalformedCursor):
        page(sqlite, cursor)


@given(st.text(max_size=200))
@settings(max_examples=200, deadline=None)
def test_no_text_breaks_the_decoder(text):
    """It is refused, and nothing else happens."""
    with pytest.raises(MalformedCursor):
        pagination._decode(text, "models")


def test_a_name_is_taken_once(database):
    """The second registration changes nothing, and the session goes on."""
    with database.write() as session:
        register_model(session, "a")
        with pytest.raises(models.ModelNameTaken):
            register_model(session, "a")
        register_model(session, "b")
    assert page(database, None)[0] == ["b", "a"]
