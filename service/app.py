"""The HTTP application."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version
from operator import attrgetter
from typing import TypedDict

from anyio.to_thread import current_default_thread_limiter
from cachetools import TTLCache
from fastapi import FastAPI

from service import problems
from service.auditor import Auditor
from service.authentication import Authentication
from service.dashboard import app as dashboard
from service.dependencies import Resources
from service.description import TAGS, TEXT, describe
from service.fetching import silence_stores
from service.metrics.collector import InstallationCollector
from service.metrics.process import ProcessMetrics
from service.middleware import BodyLimit, Lingering, RequestIdentity, UploadSlots
from service.opendsr.errors import OpenDsrErrors
from service.opendsr.processor import Processor
from service.registry import signing_keys
from service.registry.artifacts import Artifacts
from service.registry.database import Database
from service.registry.master_key import MasterKey
from service.registry.scopes import Caller
from service.relay import Relay
from service.reservations import Reservations
from service.routes import (
    aliases,
    anchor_sets,
    api_keys,
    architectures,
    audit,
    deletion_requests,
    documentation,
    evaluation_sets,
    evidence,
    health,
    jobs,
    manifests,
    metrics,
    models,
    opendsr,
    reports,
    subjects,
    versions,
    webhooks,
)
from service.schemas import MAX_TEXT_PART
from service.settings import ServiceSettings
from service.webhooks import messages
from service.webhooks.sender import WebhookSender


class _State(TypedDict):
    resources: Resources


def create_app(settings: ServiceSettings) -> FastAPI:
    """The application with these settings; it opens database and folders when it starts, not here."""
    measured = ProcessMetrics(settings.max_concurrent_uploads)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[_State]:
        silence_stores()
        # Each upload keeps a thread while it is worked on, and all others shall find as many as if there were none.
        current_default_thread_limiter().total_tokens += settings.max_concurrent_uploads
        database = Database.of(settings)
        artifacts = Artifacts(settings.data_dir)
        master_key = MasterKey(settings)
        relay = Relay(database, artifacts, settings)
        processor = Processor(settings)
        sender = WebhookSender(database, settings, processor, master_key)
        installation = InstallationCollector(database, settings.lease, settings.data_dir)
        auditor = Auditor(database, settings)
        signing_keys.signer(settings)  # who cannot sign shall not start
        relay.start()
        auditor.start()
        sender.start()
        reservations = Reservations(database)
        reservations.start()
        try:
            callers = TTLCache[str, Caller](maxsize=1000, ttl=1)
            resources = Resources(
                settings=settings,
                database=database,
                artifacts=artifacts,
                master_key=master_key,
                relay=relay,
                sender=sender,
                processor=processor,
                metrics=measured.registry,
                reservations=reservations,
                callers=callers,
            )
            measured.registry.register(installation)
            yield {"resources": resources}
        finally:
            measured.registry.unregister(installation)
            relay.stop()
            auditor.stop()
            sender.stop()
            reservations.stop()
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
        # Its logs would hold what callers sent, its spans their paths; `service.middleware` has spans of its own.
        telemetry={"logs": False, "tracing": False, "metrics": False, "auto_configure": False},
    )
    app.add_middleware(
        UploadSlots,
        slots=settings.max_concurrent_uploads,
        patience=settings.upload_idle_timeout,
        in_progress=measured.uploads,
    )
    app.add_middleware(BodyLimit, limit=settings.max_upload_bytes)
    app.add_middleware(Authentication, settings=settings)
    app.add_middleware(OpenDsrErrors)
    app.add_middleware(RequestIdentity, answered=measured.answered)
    app.add_middleware(Lingering)
    problems.install(app)
    for routes in (
        *(deletion_requests, subjects, jobs),  # first, because they are asked for most, and each is tried in turn
        *(evidence, reports),
        *(models, versions, manifests, aliases, evaluation_sets, anchor_sets, architectures),
        *(api_keys, webhooks, audit),
    ):
        app.include_router(routes.router, responses=problems.documented(401, 403, 429, 503))
    for routes in (health, metrics, documentation):
        app.include_router(routes.router)
    app.include_router(opendsr.v1_discovery)
    for prefix, router in (("/v2", opendsr.v2), ("/v1", opendsr.v1)):
        app.include_router(router, prefix=prefix)
        app.include_router(router, generate_unique_id_function=lambda route: f"{route.name}_without_prefix")
    dashboard.install(app, settings)
    app.webhooks.include_router(messages.router)
    describe(app)
    return app
