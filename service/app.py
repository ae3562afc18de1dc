"""The HTTP application."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version
from operator import attrgetter
from typing import TypedDict

from anyio.to_thread import current_default_thread_limiter
from cachetools import TTLCache
from fastapi import FastAPI

from service.access import routes as api_keys
from service.access.authentication import Authentication
from service.background.auditing import Auditor
from service.background.idempotency_leases import IdempotencyLeases
from service.background.sweeper import Sweeper
from service.dashboard import app as dashboard
from service.deletion_requests import job_routes, subject_routes
from service.deletion_requests import routes as deletion_requests
from service.deletion_requests.image_fetching import silence_stores
from service.evidence import audit_routes, report_routes
from service.evidence import routes as evidence
from service.models.routes import aliases, anchor_sets, architectures, evaluation_sets, manifests, models, versions
from service.openapi import TAGS, TEXT, describe
from service.opendsr import routes as opendsr
from service.opendsr.errors import OpenDsrErrors
from service.opendsr.processor import Processor
from service.operations import health, metrics_route, problem_pages
from service.operations.collector import InstallationCollector
from service.operations.process import ProcessMetrics
from service.registry.access.scopes import Caller
from service.registry.crypto import signing_keys
from service.registry.crypto.master_key import MasterKey
from service.registry.storage.artifacts import Artifacts
from service.registry.storage.database import Database
from service.settings import ServiceSettings
from service.web import problems
from service.web.dependencies import Resources
from service.web.fields import MAX_TEXT_PART
from service.web.middleware import BodyLimit, LingeringClose, RequestIdentity, UploadSlots
from service.webhooks import messages
from service.webhooks import routes as webhooks
from service.webhooks.sender import WebhookSender


class _State(TypedDict):
    resources: Resources
    processor: Processor


def create_app(settings: ServiceSettings) -> FastAPI:
    """The application with these settings. Database and data folder are opened when it starts (lifespan), not here."""
    metrics = ProcessMetrics(settings.max_concurrent_uploads)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[_State]:
        silence_stores()
        # Each upload keeps a thread while it is processed; all other requests have as many threads as without uploads.
        current_default_thread_limiter().total_tokens += settings.max_concurrent_uploads
        database = Database.of(settings)
        artifacts = Artifacts(settings.data_dir)
        master_key = MasterKey(settings)
        processor = Processor(settings)
        succeeded = metrics.last_success
        sweeper = Sweeper(database, artifacts, settings, succeeded)
        auditor = Auditor(database, settings, succeeded)
        webhook_sender = WebhookSender(database, settings, processor.headers, master_key, succeeded)
        idempotency_leases = IdempotencyLeases(database, succeeded)
        threads = (sweeper, auditor, webhook_sender, idempotency_leases)
        installation = InstallationCollector(database, settings.lease, settings.data_dir)
        signing_keys.signer(settings)  # fails now if the key cannot be used
        for thread in threads:
            thread.start()
        try:
            callers = TTLCache[str, Caller](maxsize=1000, ttl=1)
            resources = Resources(
                settings=settings,
                database=database,
                artifacts=artifacts,
                master_key=master_key,
                sweeper=sweeper,
                webhook_sender=webhook_sender,
                idempotency_leases=idempotency_leases,
                metrics=metrics.registry,
                callers=callers,
            )
            metrics.registry.register(installation)
            yield {"resources": resources, "processor": processor}
        finally:
            metrics.registry.unregister(installation)
            for thread in threads:
                thread.stop()
            database.close()

    app = FastAPI(
        title="StructGuard",
        summary="Deletion requests for image classifiers.",
        description=TEXT,
        openapi_tags=TAGS,
        generate_unique_id_function=attrgetter("name"),
        version=version("structguard"),
        lifespan=lifespan,
        redirect_slashes=False,
        redoc_url=None,
        form_limits={"max_files": settings.max_images, "max_fields": 8, "max_part_size": MAX_TEXT_PART},
        # Its logs would hold what callers sent, its spans their paths; `service.web.middleware` has spans of its own.
        telemetry={"logs": False, "tracing": False, "metrics": False, "auto_configure": False},
    )
    app.add_middleware(
        UploadSlots,
        slots=settings.max_concurrent_uploads,
        idle_timeout=settings.upload_idle_timeout,
        in_progress=metrics.uploads,
    )
    app.add_middleware(BodyLimit, limit=settings.max_upload_bytes)
    app.add_middleware(Authentication, settings=settings)
    app.add_middleware(OpenDsrErrors)
    app.add_middleware(RequestIdentity, durations=metrics.answered)
    app.add_middleware(LingeringClose)
    problems.install(app)
    for routes in (
        # First, because most requests are for them, and routes are tried in turn.
        *(deletion_requests, subject_routes, job_routes),
        *(evidence, report_routes),
        *(models, versions, manifests, aliases, evaluation_sets, anchor_sets, architectures),
        *(api_keys, webhooks, audit_routes),
    ):
        app.include_router(routes.router, responses=problems.documented(401, 403, 429, 503))
    for routes in (health, metrics_route, problem_pages):
        app.include_router(routes.router)
    app.include_router(opendsr.v1_discovery)
    for prefix, router in (("/v2", opendsr.v2), ("/v1", opendsr.v1)):
        app.include_router(router, prefix=prefix)
        app.include_router(router, generate_unique_id_function=lambda route: f"{route.name}_without_prefix")
    dashboard.install(app, settings)
    app.webhooks.include_router(messages.router)
    describe(app)
    return app
