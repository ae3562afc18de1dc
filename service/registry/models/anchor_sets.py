"""Semantic anchors, stored under a hash of everything that they were computed from."""

import hashlib
import json
import uuid
from collections.abc import Sequence
from typing import Any

from sqlalchemy import Select, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from service.registry.audit import audit_log
from service.registry.errors import AnchorSetNotFound
from service.registry.storage.database import clock
from service.registry.storage.pagination import Page, paginate
from service.registry.tables import AnchorSet


def cache_key(encoder: str, encoder_digest: str, classes: Sequence[str], descriptions: Sequence[str]) -> str:
    """SHA-256, in hex, over all that the anchors depend on. The order of the classes is the order of the rows."""
    canonical = json.dumps(
        {
            "encoder": encoder,
            "digest": encoder_digest,
            "classes": list(classes),
            "descriptions": list(descriptions),
        },
        sort_keys=True,
        separators=(",", ":"),
    )
    return hashlib.sha256(canonical.encode()).hexdigest()


def find(session: Session, tenant_id: uuid.UUID, anchor_set_id: uuid.UUID) -> AnchorSet:
    """One anchor set of a tenant.

    Raises:
        AnchorSetNotFound: there is none.
    """
    anchor_set = session.get(AnchorSet, anchor_set_id)
    if anchor_set is None or anchor_set.tenant_id != tenant_id:
        raise AnchorSetNotFound
    return anchor_set


def cached(session: Session, tenant_id: uuid.UUID, cache_key: str) -> AnchorSet | None:
    """The tenant's anchor set of this key; `None` if it was not computed yet."""
    return session.scalar(_of_key(tenant_id, cache_key))


def add(session: Session, tenant_id: uuid.UUID, *, cache_key: str, **columns: Any) -> tuple[AnchorSet, bool]:
    """Store an anchor set; returns it and `True`, or the one that is stored under the key already and `False`."""
    anchor_set = AnchorSet(tenant_id=tenant_id, cache_key=cache_key, created_at=clock(session), **columns)
    try:
        with session.begin_nested():
            session.add(anchor_set)
    except IntegrityError:
        return session.scalars(_of_key(tenant_id, cache_key)).one(), False
    audit_log.append(session, tenant_id, "anchor_set.added", about=anchor_set.id, sha256=anchor_set.sha256)
    return anchor_set, True


def list_anchor_sets(session: Session, tenant_id: uuid.UUID, *, cursor: str | None, limit: int) -> Page[AnchorSet]:
    """All anchor sets of a tenant, newest first."""
    return paginate(
        session,
        select(AnchorSet).where(AnchorSet.tenant_id == tenant_id),
        newest=AnchorSet.created_at,
        identity=AnchorSet.id,
        listing="anchor-sets",
        cursor=cursor,
        limit=limit,
    )


def _of_key(tenant_id: uuid.UUID, cache_key: str) -> Select[AnchorSet]:
    return select(AnchorSet).where(AnchorSet.tenant_id == tenant_id, AnchorSet.cache_key == cache_key)
