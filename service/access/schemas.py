"""What is sent and answered about API keys."""

import uuid
from datetime import datetime
from typing import Any, Self

from pydantic import BaseModel, Field

from service.registry import tables
from service.registry.access.scopes import Scope
from service.web.fields import Moment, RequestBody, Text


class NewApiKey(RequestBody):
    """What a key is for, and what it may do."""

    name: Text = Field(min_length=1, max_length=100)
    scopes: list[Scope] = Field(min_length=1, max_length=len(Scope))
    expires_at: Moment | None = Field(default=None, description="Default: never.")


class ApiKeyAnswer(BaseModel):
    """An API key, without the secret."""

    id: uuid.UUID
    name: str
    prefix: str = Field(description="How the key begins.")
    last_four: str = Field(description="How it ends.")
    scopes: list[Scope]
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None

    @classmethod
    def of(cls, row: tables.ApiKey, **more: Any) -> Self:
        """From its row."""
        return cls(
            id=row.id,
            name=row.name,
            prefix=row.prefix,
            last_four=row.last_four,
            scopes=[Scope(scope) for scope in row.scopes],
            created_at=row.created_at,
            expires_at=row.expires_at,
            revoked_at=row.revoked_at,
            **more,
        )


class NewKeyAnswer(ApiKeyAnswer):
    """A key that was just made."""

    key: str = Field(description="The secret. It is shown here and never again.")
