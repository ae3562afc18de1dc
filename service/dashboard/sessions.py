"""Sessions of the dashboard. The cookie holds a random secret; a row maps its hash to an API key."""

import hashlib
import hmac
import secrets
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from service.registry.access import api_keys
from service.registry.access.scopes import Caller, Scope
from service.registry.audit import audit_log
from service.registry.crypto.pseudonyms import Pseudonyms
from service.registry.storage.database import clock
from service.registry.tables import ApiKey, DashboardSession, Tenant


@dataclass(frozen=True)
class Visitor:
    """A signed-in user of the dashboard."""

    caller: Caller
    key_name: str
    csrf: str  #: the token that their forms have to send

    def may(self, scope: str) -> bool:
        """Whether their key has this scope."""
        return self.caller.may((scope,))


def sign_in(session: Session, key: str, lifetime: timedelta) -> str | None:
    """Begin a session with an API key; the secret for the cookie, or `None` if the key is not valid."""
    caller = api_keys.authenticate(session, key)
    if caller is None:
        return None
    now = clock(session)
    session.execute(delete(DashboardSession).where(DashboardSession.expires_at <= now))
    token = secrets.token_urlsafe(32)
    key_id = session.scalars(select(ApiKey.id).where(ApiKey.prefix == key.rpartition("_")[0])).one()
    audit_log.append(session, caller.tenant_id, "api_key.signed_in", about=key_id, by=caller.subject)
    session.add(DashboardSession(digest=_digest(token), key_id=key_id, expires_at=now + lifetime))
    return token


def visitor_of(session: Session, token: str) -> Visitor | None:
    """The user of a session; `None` if it or its key has expired, or the key was revoked."""
    row = session.execute(
        select(DashboardSession.expires_at.label("ends_at"), ApiKey, Tenant.pseudonym_key)
        .join(ApiKey, ApiKey.id == DashboardSession.key_id)
        .join(Tenant, Tenant.id == ApiKey.tenant_id)
        .where(DashboardSession.digest == _digest(token))
    ).one_or_none()
    if row is None:
        return None
    now, key = clock(session), row.ApiKey
    if row.ends_at <= now or key.revoked_at is not None or (key.expires_at is not None and key.expires_at <= now):
        return None
    scopes = frozenset(Scope(scope) for scope in key.scopes)
    caller = Caller(key.tenant_id, f"key:{key.id}", scopes, Pseudonyms(row.pseudonym_key))
    return Visitor(caller, key.name, csrf_of(token))


def sign_out(session: Session, token: str) -> None:
    """End a session."""
    session.execute(delete(DashboardSession).where(DashboardSession.digest == _digest(token)))


def csrf_of(token: str) -> str:
    """The CSRF token of a session's forms: an HMAC under the cookie's secret, which no other site can compute."""
    return hmac.digest(token.encode(), b"form", "sha256").hex()


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
