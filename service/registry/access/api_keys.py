"""Tenants and their API keys."""

import hashlib
import hmac
import re
import secrets
import uuid
from collections.abc import Collection
from datetime import datetime

from sqlalchemy import bindparam, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from service.registry.access.scopes import Caller, Scope
from service.registry.audit import audit_log
from service.registry.audit.hash_chain import rfc3339
from service.registry.crypto.pseudonyms import Pseudonyms
from service.registry.errors import ApiKeyNotFound, TenantNotFound
from service.registry.storage.database import clock
from service.registry.storage.pagination import Page, paginate
from service.registry.tables import ApiKey, Tenant

KEY_PREFIX = "sg_"
"""Prefix of every key, by which secret scanners recognise one that leaked."""

_PREFIX_BYTES = 6  # 48 random bits: enough to be unique
_SECRET_BYTES = 32
_KEY = re.compile(rf"({KEY_PREFIX}[0-9a-f]{{{2 * _PREFIX_BYTES}}})_[0-9a-f]{{{2 * _SECRET_BYTES}}}")

# Runs with every request: selecting columns costs a third of loading objects.
_BY_PREFIX = (
    select(
        ApiKey.id,
        ApiKey.tenant_id,
        ApiKey.digest,
        ApiKey.scopes,
        ApiKey.expires_at,
        ApiKey.revoked_at,
        Tenant.pseudonym_key,
    )
    .join(Tenant, Tenant.id == ApiKey.tenant_id)
    .where(ApiKey.prefix == bindparam("prefix"))
)


def ensure_tenant(session: Session, name: str) -> Tenant:
    """The tenant of this name, created if there is none."""
    existing = session.scalar(select(Tenant).where(Tenant.name == name))
    if existing is not None:
        return existing
    tenant = Tenant(name=name, pseudonym_key=secrets.token_bytes(32), created_at=clock(session))
    try:
        with session.begin_nested():
            session.add(tenant)
    except IntegrityError:  # another process was faster
        return find_tenant(session, name)
    return tenant


def find_tenant(session: Session, name: str) -> Tenant:
    """The tenant of this name.

    Raises:
        TenantNotFound: there is none.
    """
    tenant = session.scalar(select(Tenant).where(Tenant.name == name))
    if tenant is None:
        raise TenantNotFound
    return tenant


def create_key(
    session: Session, tenant_id: uuid.UUID, *, name: str, scopes: Collection[Scope], expires_at: datetime | None
) -> tuple[ApiKey, str]:
    """Create a key; the row, and the secret, which is shown once and not stored."""
    prefix = f"{KEY_PREFIX}{secrets.token_hex(_PREFIX_BYTES)}"
    secret = f"{prefix}_{secrets.token_hex(_SECRET_BYTES)}"
    row = ApiKey(
        tenant_id=tenant_id,
        name=name,
        prefix=prefix,
        last_four=secret[-4:],
        digest=_digest(secret),
        scopes=sorted(scopes),
        created_at=clock(session),
        expires_at=expires_at,
    )
    session.add(row)
    session.flush()
    expiry = expires_at and rfc3339(expires_at)
    audit_log.append(session, tenant_id, "api_key.created", about=row.id, scopes=row.scopes, expires_at=expiry)
    return row, secret


def authenticate(session: Session, secret: str) -> Caller | None:
    """The caller that this API key belongs to; None if there is no such key, or it is expired or revoked."""
    match = _KEY.fullmatch(secret)
    if match is None:
        return None
    row = session.execute(_BY_PREFIX, {"prefix": match[1]}).one_or_none()
    if row is None or not hmac.compare_digest(row.digest, _digest(secret)) or row.revoked_at is not None:
        return None
    if row.expires_at is not None and row.expires_at <= clock(session):
        return None
    scopes = frozenset(Scope(scope) for scope in row.scopes)
    return Caller(row.tenant_id, f"key:{row.id}", scopes, Pseudonyms(row.pseudonym_key))


def has_keys(session: Session) -> bool:
    """Whether any key was ever created."""
    return session.scalar(select(ApiKey.id).limit(1)) is not None


def list_keys(session: Session, tenant_id: uuid.UUID, *, cursor: str | None, limit: int) -> Page[ApiKey]:
    """All keys of a tenant, newest first, the revoked ones too."""
    return paginate(
        session,
        select(ApiKey).where(ApiKey.tenant_id == tenant_id),
        newest=ApiKey.created_at,
        identity=ApiKey.id,
        listing="api-keys",
        cursor=cursor,
        limit=limit,
    )


def find_key(session: Session, tenant_id: uuid.UUID, key_id: uuid.UUID) -> ApiKey:
    """One key of a tenant.

    Raises:
        ApiKeyNotFound: there is none.
    """
    row = session.scalar(select(ApiKey).where(ApiKey.tenant_id == tenant_id, ApiKey.id == key_id))
    if row is None:
        raise ApiKeyNotFound
    return row


def revoke_key(session: Session, tenant_id: uuid.UUID, key_id: uuid.UUID) -> ApiKey:
    """Revoke a key with immediate effect. Revoking it again changes nothing.

    Raises:
        ApiKeyNotFound: there is none.
    """
    row = find_key(session, tenant_id, key_id)
    if row.revoked_at is None:
        row.revoked_at = clock(session)
        audit_log.append(session, tenant_id, "api_key.revoked", about=key_id)
    return row


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
