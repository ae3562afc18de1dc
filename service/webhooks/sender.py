"""The background thread that sends callbacks."""

import logging
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cached_property
from importlib.metadata import version
from typing import TYPE_CHECKING

from service.opendsr.processor import Processor
from service.registry.crypto.master_key import MasterKey
from service.registry.storage.database import Database
from service.registry.webhooks import endpoints, outbox
from service.registry.webhooks.outbox import Claim, Outcome
from service.settings import ServiceSettings
from service.webhooks.signatures import signed_headers

if TYPE_CHECKING:
    import ssl

logger = logging.getLogger(__name__)

_AT_ONCE = 16  # endpoints; one that is slow keeps one thread


class WebhookSender:
    """Sends what is due every `settings.sweep_interval`, and whenever it is woken.

    Any number of processes may run one: a delivery is leased in its row. One that dies sends nothing more, and what it
    was sending is sent again, under the same identifier, once the lease has run out.
    """

    def __init__(
        self, database: Database, settings: ServiceSettings, processor: Processor, master_key: MasterKey
    ) -> None:
        self._database = database
        self._settings = settings
        self._processor = processor
        self._master_key = master_key
        self._user_agent = {"User-Agent": f"StructGuard/{version('structguard')}"}
        self._sending: set[Future[None]] = set()
        self._woken = threading.Event()
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="webhooks", daemon=True)

    @cached_property
    def _tls(self) -> "ssl.SSLContext":
        import httpx  # noqa: PLC0415  (as in `_send`)

        return httpx.create_ssl_context()

    def start(self) -> None:
        """Begin; the first turn comes at once."""
        self._thread.start()

    def wake(self) -> None:
        """Something was committed that somebody may want to hear of."""
        self._woken.set()

    def stop(self) -> None:
        """Finish what is being sent, which takes no longer than its timeout."""
        self._stopping = True
        self._woken.set()
        self._thread.join()

    def _run(self) -> None:
        with ThreadPoolExecutor(_AT_ONCE, "webhook") as pool:
            while not self._stopping:
                try:
                    self._turn(pool)
                except Exception:
                    # The database may come back; a thread that gave up would not.
                    logger.exception("the webhook sender could not finish its turn")
                self._woken.wait(self._settings.sweep_interval.total_seconds())
                # Before both looks, at the flag and at the table: what comes after one must wake the next turn.
                self._woken.clear()

    def _turn(self, pool: ThreadPoolExecutor) -> None:
        free = _AT_ONCE - len(self._sending)
        if not free:
            return
        with self._database.write() as session:
            claims = outbox.claim(session, limit=free)
        for claim in claims:
            future = pool.submit(self._deliver, claim)
            self._sending.add(future)
            future.add_done_callback(self._delivered)

    def _delivered(self, future: "Future[None]") -> None:
        self._sending.discard(future)
        self._woken.set()  # the endpoint may have more waiting

    def _deliver(self, claim: Claim) -> None:
        try:
            outcome = self._send(claim)
            with self._database.write() as session:
                outbox.record(session, claim, outcome)
        except Exception:
            # It stays leased, and is tried again afterwards.
            logger.exception("the outcome of delivery %s could not be recorded", claim.delivery_id)

    def _send(self, claim: Claim) -> Outcome:
        # Here, because httpx takes a tenth of the time that the service takes to start, and not everybody has webhooks.
        from service.webhooks.http_post import post  # noqa: PLC0415

        body = claim.body.encode()
        try:
            headers = self._user_agent | self._signed(claim, body)
            return post(claim.url, headers, body, private=self._settings.webhook_private, tls=self._tls)
        except Exception:
            # A mistake of ours must count as an attempt, or it would be repeated without end.
            logger.exception("delivery %s could not be sent", claim.delivery_id)
            return Outcome(error="internal", milliseconds=0)

    def _signed(self, claim: Claim, body: bytes) -> dict[str, str]:
        if claim.is_status_callback:
            return self._processor.headers(body)
        opened = [
            endpoints.opened(stored, claim.endpoint_id, self._master_key)
            for stored in (claim.private_key, *claim.secrets)
        ]
        return signed_headers(claim.message_id, int(time.time()), body, secrets=opened[1:], private_key=opened[0])
