"""Bodies of requests and answers about webhooks."""

import uuid
from datetime import datetime
from typing import Annotated, Any, Self

from pydantic import Field

from service.registry import tables
from service.registry.crypto.master_key import MasterKey
from service.registry.fields import Unique
from service.registry.states import DeliveryState
from service.registry.webhooks.endpoints import Event, unwrap_key
from service.web.fields import Answer, RequestBody, Text, WebhookUrl
from service.webhooks.signatures import shown_public_key, shown_secret

Events = Annotated[Unique[Event], Field(max_length=len(Event), description="What it hears of; empty means everything.")]
WebhookDescription = Annotated[Text, Field(max_length=2000, description="Name no person.")]


class NewWebhook(RequestBody):
    """A webhook to register: its URL, and the events it is called for."""

    url: WebhookUrl
    events: Events = Field(default=[])
    description: WebhookDescription = ""


class WebhookChange(RequestBody):
    """What is left out stays as it is."""

    url: WebhookUrl | None = None
    events: Events | None = None
    description: WebhookDescription | None = None
    enabled: Annotated[bool, Field(strict=True)] | None = None


class WebhookAnswer(Answer):
    """A webhook, without its secret."""

    id: uuid.UUID
    url: str
    events: list[Event] = Field(description="What it hears of; empty means everything.")
    description: str
    enabled: bool
    disabled_at: datetime | None
    disabled_reason: str | None
    public_key: str = Field(description="Verifies the `v1a` signatures (Ed25519).")
    previous_secret_until: datetime | None = Field(description="How long the secret before this one signs as well.")
    created_at: datetime
    links: dict[str, str]

    @classmethod
    def of(cls, row: tables.WebhookEndpoint, master_key: MasterKey, **values: Any) -> Self:
        """From its row."""
        here = f"/v1/webhooks/{row.id}"
        return cls.from_row(
            row,
            enabled=row.disabled_at is None,
            public_key=shown_public_key(unwrap_key(row.private_key, row.id, master_key)),
            links={"self": here, "deliveries": f"{here}/deliveries"},
            **values,
        )


class NewSecretAnswer(WebhookAnswer):
    """A webhook whose secret was just made."""

    secret: str = Field(description="Verifies the `v1` signatures. It is shown here and never again.")

    @classmethod
    def of(cls, row: tables.WebhookEndpoint, master_key: MasterKey, **values: Any) -> Self:
        """From its row."""
        return super().of(row, master_key, secret=shown_secret(unwrap_key(row.secret, row.id, master_key)), **values)


class AttemptAnswer(Answer):
    """One POST to the endpoint."""

    at: datetime
    status: int | None = Field(description="What it answered, if it did.")
    error: str | None = Field(
        description="Why it did not: `not_allowed` (the address is not public), `unknown_host`, `connection`, `tls`, "
        "`timeout`, or `internal`."
    )
    milliseconds: int


class DeliveryAnswer(Answer):
    """One message on its way to one endpoint."""

    id: uuid.UUID
    message: str = Field(description="The `webhook-id` of every attempt.")
    type: str
    state: DeliveryState
    created_at: datetime
    next_at: datetime | None = Field(description="When it is tried next.")
    attempts: list[AttemptAnswer] = Field(description="Oldest first.")
    links: dict[str, str]

    @classmethod
    def of(cls, row: tables.WebhookDelivery) -> Self:
        """From its row, loaded with the message and the attempts."""
        webhook = f"/v1/webhooks/{row.endpoint_id}"
        return cls.from_row(
            row,
            message=row.message_id,
            type=row.message.type,
            links={"webhook": webhook, "replay": f"{webhook}/deliveries/{row.id}/replay"},
        )
