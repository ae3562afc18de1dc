"""Scopes of callers."""

import uuid
from collections.abc import Collection
from dataclasses import dataclass
from enum import StrEnum

from service.registry.crypto.pseudonyms import Pseudonyms

DEFAULT_TENANT = "default"
"""The tenant of an installation that has only one."""


class Scope(StrEnum):
    """What a caller may do."""

    REQUESTS_CREATE = "requests:create"  #: ask for deletion, and retry
    REQUESTS_READ = "requests:read"  #: requests, jobs, progress
    REQUESTS_CANCEL = "requests:cancel"
    REQUESTS_APPROVE = "requests:approve"  #: agree to somebody else's request, or decline it
    REQUESTS_IMAGES = "requests:images"  #: look at the images to forget, on the dashboard; each look is written down
    MODELS_REGISTER = "models:register"  #: models, versions, sets, manifests, aliases
    MODELS_READ = "models:read"
    MODELS_DOWNLOAD = "models:download"  #: checkpoints
    EVIDENCE_READ = "evidence:read"
    ADMIN = "admin"  #: keys and webhooks; implies all others


@dataclass(frozen=True)
class Caller:
    """An authenticated caller."""

    tenant_id: uuid.UUID
    subject: str  #: stable and not secret: `key:` and an identifier, or `jwt:` and a digest
    scopes: frozenset[Scope]
    pseudonyms: Pseudonyms  #: of the tenant

    def may(self, required: Collection[str]) -> bool:
        """Whether the caller has all these scopes; `admin` implies them."""
        return Scope.ADMIN in self.scopes or self.scopes.issuperset(required)
