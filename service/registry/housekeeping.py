"""What must happen even if every process that was responsible for it has died. Any number of processes may run it."""

from service.registry import claims, creations, deletion_requests, deliveries, subject_requests, webhooks
from service.registry.artifacts import Artifacts
from service.registry.database import Database
from service.registry.settings import RegistrySettings


def sweep(database: Database, artifacts: Artifacts, settings: RegistrySettings) -> None:
    """Return expired leases to the queue, and remove what is no longer needed: images, stored answers, old messages."""
    with database.write() as session:
        claims.reap(session, max_attempts=settings.max_attempts)
        creations.forget_expired(session)
        deliveries.forget_old(session)
        subject_requests.forget_callbacks(session)
        webhooks.forget_previous_secrets(session)
    destroy_samples(database, artifacts)


def destroy_samples(database: Database, artifacts: Artifacts) -> None:
    """Remove the images of ended requests: first the file, then its mention, so that a crash repeats the removal."""
    with database.read() as session:
        doomed = [(request.id, request.samples) for request in deletion_requests.with_samples_to_destroy(session)]
    for request_id, samples in doomed:
        if samples is not None:
            artifacts.delete(samples)
        with database.write() as session:
            deletion_requests.samples_destroyed(session, request_id)
