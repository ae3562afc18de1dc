"""Who is signed in. The browser holds a random secret and nothing else; the row says whose key it stands for."""

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
    """Somebody who is signed in."""

    caller: Caller
    key_name: str
    csrf: str  #: what their forms have to bring along

    def may(self, scope: str) -> bool:
        """Has their key this scope?"""
        return self.caller.may((scope,))


def sign_in(session: Session, key: str, lifetime: timedelta) -> str | None:
    """Begin a session with an API key; the cookie's secret, or nothing if the key is not good."""
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
    """Whose session it is; nobody's once it has expired, or its key has, or was revoked."""
    found = session.execute(
        select(DashboardSession.expires_at.label("ends_at"), ApiKey, Tenant.pseudonym_key)
        .join(ApiKey, ApiKey.id == DashboardSession.key_id)
        .join(Tenant, Tenant.id == ApiKey.tenant_id)
        .where(DashboardSession.digest == _digest(token))
    ).one_or_none()
    if found is None:
        return None
    now, key = clock(session), found.ApiKey
    if found.ends_at <= now or key.revoked_at is not None or (key.expires_at is not None and key.expires_at <= now):
        return None
    scopes = frozenset(Scope(scope) for scope in key.scopes)
    caller = Caller(key.tenant_id, f"key:{key.id}", scopes, Pseudonyms(found.pseudonym_key))
    return Visitor(caller, key.name, csrf_of(token))


def sign_out(session: Session, token: str) -> None:
    """End a session."""
    session.execute(delete(DashboardSession).where(DashboardSession.digest == _digest(token)))


def csrf_of(token: str) -> str:
    """What a form has to bring along to come from a page of ours: no other site can read it, or compute it."""
    return hmac.digest(token.encode(), b"form", "sha256").hex()


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
