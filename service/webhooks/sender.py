"""The background thread that sends callbacks."""

import logging
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cached_property
from importlib.metadata import version
from typing import TYPE_CHECKING

from prometheus_client import Gauge

from service.background.periodic import PeriodicThread
from service.registry.crypto.master_key import MasterKey
from service.registry.storage.database import Database
from service.registry.webhooks import endpoints, outbox
from service.registry.webhooks.outbox import DeliveryClaim, DeliveryOutcome
from service.settings import ServiceSettings
from service.webhooks.signatures import signed_headers

if TYPE_CHECKING:
    import ssl

logger = logging.getLogger(__name__)

_MAX_CONCURRENT = 16  # deliveries; a slow endpoint keeps one thread busy


class WebhookSender(PeriodicThread):
    """Sends the deliveries that are due every `settings.sweep_interval`, and whenever it is woken.

    Any number of processes may run one: a delivery is leased in its row. When a process dies, what it was sending is
    sent again, under the same identifier, once the lease has run out.

    Args:
        sign_status_callback: gives the headers that sign the body of an OpenDSR status callback.
    """

    def __init__(
        self,
        database: Database,
        settings: ServiceSettings,
        sign_status_callback: Callable[[bytes], dict[str, str]],
        master_key: MasterKey,
        last_success: Gauge,
    ) -> None:
        super().__init__("webhook_sender", (self._claim,), settings.sweep_interval, last_success)
        self._database = database
        self._settings = settings
        self._sign_status_callback = sign_status_callback
        self._master_key = master_key
        self._user_agent = {"User-Agent": f"StructGuard/{version('structguard')}"}
        self._sending: set[Future[None]] = set()
        self._pool = ThreadPoolExecutor(_MAX_CONCURRENT, "webhook")

    @cached_property
    def _tls(self) -> "ssl.SSLContext":
        import httpx  # noqa: PLC0415

        return httpx.create_ssl_context()

    def stop(self) -> None:
        """Wait until the deliveries in progress have ended, each by its timeout at the latest."""
        super().stop()
        self._pool.shutdown()

    def _claim(self) -> None:
        free = _MAX_CONCURRENT - len(self._sending)
        if not free:
            return
        with self._database.write() as session:
            claims = outbox.claim(session, limit=free)
        for claim in claims:
            future = self._pool.submit(self._deliver, claim)
            self._sending.add(future)
            future.add_done_callback(self._delivered)

    def _delivered(self, future: "Future[None]") -> None:
        self._sending.discard(future)
        self.wake()  # the endpoint may have more waiting

    def _deliver(self, claim: DeliveryClaim) -> None:
        try:
            outcome = self._send(claim)
            with self._database.write() as session:
                outbox.record(session, claim, outcome)
        except Exception:
            # The delivery stays leased, and is tried again once the lease has run out.
            logger.exception("the outcome of delivery %s could not be recorded", claim.delivery_id)

    def _send(self, claim: DeliveryClaim) -> DeliveryOutcome:
        from service.webhooks.http_post import post  # noqa: PLC0415

        body = claim.body.encode()
        try:
            headers = self._user_agent | self._signed(claim, body)
            return post(claim.url, headers, body, private=self._settings.webhook_private, tls=self._tls)
        except Exception:
            # An error in this service must count as an attempt, or it would be repeated without end.
            logger.exception("delivery %s could not be sent", claim.delivery_id)
            return DeliveryOutcome(error="internal", milliseconds=0)

    def _signed(self, claim: DeliveryClaim, body: bytes) -> dict[str, str]:
        if claim.is_status_callback:
            return self._sign_status_callback(body)
        private_key, *secrets = (
            endpoints.unwrap_key(stored, claim.endpoint_id, self._master_key)
            for stored in (claim.private_key, *claim.secrets)
        )
        return signed_headers(claim.message_id, int(time.time()), body, secrets=secrets, private_key=private_key)
