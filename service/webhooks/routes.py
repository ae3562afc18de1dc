"""Routes of webhooks: endpoints that are called when a deletion request changes its state, and their deliveries."""

from fastapi import APIRouter, Response

from service.registry.errors import Fault, InvalidInput
from service.registry.webhooks import deliveries, endpoints
from service.settings import ServiceSettings
from service.web.dependencies import Admin, Cursor, Identifier, Limit, ReadSession, ResourcesDep, WriteSession
from service.web.fields import Listing
from service.web.problems import documented
from service.webhooks import addresses
from service.webhooks.schemas import DeliveryAnswer, NewSecretAnswer, NewWebhook, WebhookAnswer, WebhookChange

router = APIRouter(prefix="/v1/webhooks", tags=["Webhooks"])

_NO_STORE = {"Cache-Control": "no-store"}


@router.post("", summary="Register a webhook", status_code=201, responses=documented(400, 413, 422))
def create_webhook(
    new: NewWebhook, caller: Admin, resources: ResourcesDep, session: WriteSession, response: Response
) -> NewSecretAnswer:
    """The secret is in this answer and never again, which is why no `Idempotency-Key` can bring the answer back."""
    _check(new.url, resources.settings)
    row = endpoints.create(
        session,
        caller.tenant_id,
        resources.master_key,
        url=new.url,
        events=new.events,
        description=new.description,
    )
    response.headers.update({"Location": f"/v1/webhooks/{row.id}", **_NO_STORE})
    return NewSecretAnswer.of(row, resources.master_key)


@router.get("", summary="List webhooks", responses=documented(422))
def list_webhooks(
    caller: Admin, resources: ResourcesDep, session: ReadSession, cursor: Cursor = None, limit: Limit = 50
) -> Listing[WebhookAnswer]:
    """All webhooks of the tenant, newest first, the disabled ones too."""
    page = endpoints.list_webhooks(session, caller.tenant_id, cursor=cursor, limit=limit)
    return Listing.of(page, lambda row: WebhookAnswer.of(row, resources.master_key))


@router.get("/{webhook_id}", summary="Read a webhook", responses=documented(404))
def read_webhook(webhook_id: Identifier, caller: Admin, resources: ResourcesDep, session: ReadSession) -> WebhookAnswer:
    """One webhook, without its secret."""
    return WebhookAnswer.of(endpoints.find(session, caller.tenant_id, webhook_id), resources.master_key)


@router.patch("/{webhook_id}", summary="Change a webhook", responses=documented(400, 404, 413, 422))
def change_webhook(
    webhook_id: Identifier, change: WebhookChange, caller: Admin, resources: ResourcesDep, session: WriteSession
) -> WebhookAnswer:
    """Change what is given. One that was disabled, by hand or by its failures, can be enabled again."""
    row = endpoints.find(session, caller.tenant_id, webhook_id, lock=True)
    if change.url is not None:
        _check(change.url, resources.settings)
    endpoints.change(
        session, row, url=change.url, events=change.events, description=change.description, enabled=change.enabled
    )
    return WebhookAnswer.of(row, resources.master_key)


@router.delete("/{webhook_id}", summary="Remove a webhook", status_code=204, responses=documented(404))
def remove_webhook(webhook_id: Identifier, caller: Admin, session: WriteSession) -> None:
    """Remove it with its deliveries, those that wait too."""
    endpoints.remove(session, caller.tenant_id, webhook_id)


@router.post("/{webhook_id}/rotate-secret", summary="Make a new secret", responses=documented(404))
def rotate_webhook_secret(
    webhook_id: Identifier, caller: Admin, resources: ResourcesDep, session: WriteSession, response: Response
) -> NewSecretAnswer:
    """For 24 hours messages are signed with both secrets; the new one is in this answer and never again."""
    row = endpoints.find(session, caller.tenant_id, webhook_id, lock=True)
    endpoints.rotate_secret(session, row, resources.master_key)
    response.headers.update(_NO_STORE)
    return NewSecretAnswer.of(row, resources.master_key)


@router.post("/{webhook_id}/test", summary="Send a test message", status_code=202, responses=documented(404, 409))
def test_webhook(webhook_id: Identifier, caller: Admin, session: WriteSession) -> DeliveryAnswer:
    """A message of the type `webhook.test`, whatever the webhook listens to."""
    return DeliveryAnswer.of(
        endpoints.send_test(session, endpoints.find(session, caller.tenant_id, webhook_id, lock=True))
    )


@router.get("/{webhook_id}/deliveries", summary="List deliveries", responses=documented(404, 422))
def list_webhook_deliveries(
    webhook_id: Identifier, caller: Admin, session: ReadSession, cursor: Cursor = None, limit: Limit = 50
) -> Listing[DeliveryAnswer]:
    """What was sent to a webhook in the last 30 days, or will be, newest first, with every attempt."""
    row = endpoints.find(session, caller.tenant_id, webhook_id)
    return Listing.of(deliveries.list_deliveries(session, row, cursor=cursor, limit=limit), DeliveryAnswer.of)


@router.post(
    "/{webhook_id}/deliveries/{delivery_id}/replay",
    summary="Send a message again",
    status_code=202,
    responses=documented(404, 409),
)
def replay_webhook_delivery(
    webhook_id: Identifier, delivery_id: Identifier, caller: Admin, session: WriteSession
) -> DeliveryAnswer:
    """Begin again, now: the same message under the same `webhook-id`, whether it had arrived or not."""
    row = endpoints.find(session, caller.tenant_id, webhook_id, lock=True)
    return DeliveryAnswer.of(deliveries.replay(session, row, delivery_id))


def _check(url: str, settings: ServiceSettings) -> None:
    try:
        addresses.check(url, private=settings.webhook_private)
    except addresses.NotAllowed as error:
        raise InvalidInput(Fault("#/url", str(error))) from error
