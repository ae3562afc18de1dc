"""The OpenAPI description of what is sent to webhooks. `service.registry.webhooks` writes the messages themselves."""

import uuid
from collections.abc import Callable
from datetime import datetime
from typing import Annotated, Literal

from fastapi import APIRouter, Header
from pydantic import BaseModel, Field

from service.registry.states import State
from service.registry.webhooks.endpoints import TEST_EVENT, Event


class SelfLink(BaseModel):
    """Link to the resource that the message is about."""

    self: str = Field(description="Path of what the message is about.")


class MovedRequest(BaseModel):
    """The deletion request, and its new state."""

    id: uuid.UUID
    model: str
    state: State
    links: SelfLink


class TestedWebhook(BaseModel):
    """The webhook itself."""

    id: uuid.UUID
    links: SelfLink


class DeletionRequestMessage(BaseModel):
    """A deletion request has changed its state. Names no person: read the request for the rest."""

    type: Event
    timestamp: datetime = Field(description="When it moved, UTC.")
    data: MovedRequest


class TestMessage(BaseModel):
    """A test message, sent on request."""

    type: Literal["webhook.test"]
    timestamp: datetime
    data: TestedWebhook


MessageId = Annotated[
    str, Header(alias="webhook-id", description="The same for every attempt and replay: do a thing once for each.")
]
Timestamp = Annotated[
    int,
    Header(alias="webhook-timestamp", description="Seconds since 1970 of this attempt; refuse it when it is old."),
]
Signature = Annotated[
    str,
    Header(
        alias="webhook-signature",
        description="`v1,` and base64 of HMAC-SHA256 of `webhook-id.webhook-timestamp.body` by the secret "
        "`whsec_…`, and `v1a,` and base64 of its Ed25519 signature, for the key `whpk_…`; with spaces between. For 24 "
        "hours after a rotation there are two `v1`.",
    ),
]

router = APIRouter(tags=["Webhooks"])


def _moved(message: DeletionRequestMessage, id_: MessageId, at: Timestamp, signature: Signature) -> None:
    """Any 2xx within 15 seconds is taken as received; anything else is tried again, for three days.

    By [Standard Webhooks 1.0.0](https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md).
    """


def _test(message: TestMessage, id_: MessageId, at: Timestamp, signature: Signature) -> None:
    """What `POST /v1/webhooks/{webhook_id}/test` sends."""


_RECEIVERS: dict[str, Callable[..., None]] = {event.value: _moved for event in Event} | {TEST_EVENT: _test}

for _type, _receive in _RECEIVERS.items():
    router.add_api_route(
        _type,
        _receive,
        methods=["POST"],
        operation_id=f"receive_{_type.replace('.', '_')}",
        summary=_type.partition(".")[2].replace("_", " ").capitalize(),
        status_code=204,
        response_description="Received; any other 2xx will do.",
        responses={410: {"description": "Send no more: the webhook is disabled."}},
    )
