"""The periodic sweep, which finishes what processes that died have left. Any number of processes may run it."""

from service.registry.access import idempotency_keys
from service.registry.deletion_requests import image_retention, subject_requests
from service.registry.job_queue import claims
from service.registry.models import dispositions
from service.registry.operations import retention
from service.registry.settings import RegistrySettings
from service.registry.storage.artifacts import Artifacts
from service.registry.storage.database import Database
from service.registry.telemetry import counters
from service.registry.webhooks import deliveries, endpoints


def sweep(database: Database, artifacts: Artifacts, settings: RegistrySettings) -> None:
    """Return expired leases to the queue, and remove what is no longer needed: images, answers, messages, records."""
    with database.write() as session:
        claims.reap(session, max_attempts=settings.max_attempts)
        idempotency_keys.forget_expired(session)
        deliveries.delete_old(session)
        subject_requests.delete_unneeded_callbacks(session)
        endpoints.delete_expired_secrets(session)
        counters.fold(session)
    destroy_samples(database, artifacts, settings)
    destroy_checkpoints(database, artifacts)
    retention.remove_old_records(database, settings)


def destroy_checkpoints(database: Database, artifacts: Artifacts) -> None:
    """Destroy the checkpoints of deleted versions."""
    with database.read() as session:
        version_ids = dispositions.versions_to_destroy(session)
    for version_id in version_ids:
        with database.write() as session:
            checkpoint = dispositions.forget_checkpoint(session, version_id)
            if checkpoint is not None:
                artifacts.delete(checkpoint)  # before the COMMIT, as below


def destroy_samples(database: Database, artifacts: Artifacts, settings: RegistrySettings) -> None:
    """Destroy the images of ended requests, and the keys that they were encrypted with."""
    with database.read() as session:
        request_ids = image_retention.requests_with_expired_samples(session, settings)
    for request_id in request_ids:
        with database.write() as session:
            samples = image_retention.forget_samples(session, request_id, settings)
            # The file goes before the COMMIT that forgets its key and its name: a crash in between repeats all of it.
            # In the other order a crash would leave a file that no row names, and a row that says it is destroyed.
            if samples is not None:
                artifacts.delete(samples)
