"""Bodies of requests and answers about API keys."""

import uuid
from datetime import datetime

from pydantic import Field

from service.registry.access.scopes import Scope
from service.web.fields import Answer, Moment, RequestBody, Text


class NewApiKey(RequestBody):
    """What a key is for, and what it may do."""

    name: Text = Field(min_length=1, max_length=100)
    scopes: list[Scope] = Field(min_length=1, max_length=len(Scope))
    expires_at: Moment | None = Field(default=None, description="Default: never.")


class ApiKeyAnswer(Answer):
    """An API key, without the secret."""

    id: uuid.UUID
    name: str
    prefix: str = Field(description="How the key begins.")
    last_four: str = Field(description="How it ends.")
    scopes: list[Scope]
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None


class NewKeyAnswer(ApiKeyAnswer):
    """A key that was just made."""

    key: str = Field(description="The secret. It is shown here and never again.")
