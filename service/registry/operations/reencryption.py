"""Encryption of what earlier releases stored in plaintext, and re-encryption under another master key."""

import shutil
import uuid
from collections.abc import Iterable

from sqlalchemy import select
from sqlalchemy.orm import Session

from service.registry.audit import audit_log
from service.registry.crypto.encrypted_files import EncryptedWriter
from service.registry.crypto.master_key import MasterKey
from service.registry.storage.artifacts import Artifacts
from service.registry.storage.database import AUDIT_KEY, Database
from service.registry.tables import DeletionRequest, Manifest, WebhookEndpoint
from service.registry.training_data import manifests
from service.registry.webhooks import endpoints

_WRAPPED_BYTES = 60  # length of a wrapped key of 32 bytes; plaintext is shorter
_WRAPPED: dict[type[DeletionRequest | Manifest | WebhookEndpoint], tuple[str, ...]] = {
    DeletionRequest: ("samples_key",),
    Manifest: ("uris_key",),
    WebhookEndpoint: ("secret", "previous_secret", "private_key"),
}


def encrypt_plaintext(database: Database, artifacts: Artifacts, master_key: MasterKey) -> None:
    """Encrypt plaintext secrets, and the URIs of a few manifests. Concurrent runs and crashes are safe."""
    with database.read() as session:
        has_plaintext_secrets, plaintext_manifests = (
            endpoints.has_plaintext_secrets(session),
            manifests.unencrypted(session),
        )
    if has_plaintext_secrets:
        with database.write() as session:
            endpoints.wrap_plaintext_secrets(session, master_key)
    for manifest in plaintext_manifests:
        if artifacts.path(manifest.uris).exists():
            _encrypt_uris(database, artifacts, master_key, manifest)


def _encrypt_uris(database: Database, artifacts: Artifacts, master_key: MasterKey, manifest: Manifest) -> None:
    file_key = f"manifests/{uuid.uuid4()}"
    with artifacts.stage() as staged:
        with artifacts.path(manifest.uris).open("rb") as source, EncryptedWriter(staged.path) as target:
            shutil.copyfileobj(source, target)
        with database.write() as session:
            wrapped = master_key.wrap(target.key, manifest.id)
            if manifests.replace_uris(session, manifest, uris=file_key, uris_key=wrapped):
                staged.keep(file_key)
    # A crash here leaves a file that no row names, which `orphaned_files` removes after a day.
    artifacts.delete(manifest.uris)


def rewrap(session: Session, old: MasterKey, new: MasterKey) -> int:
    """Wrap all keys and secrets with the new master key instead of the old one; how many.

    Raises:
        OtherMasterKey: something was not wrapped by the old one; the caller rolls back.
    """
    count = 0
    for table, columns in _WRAPPED.items():
        rows: Iterable[DeletionRequest | Manifest | WebhookEndpoint] = session.scalars(select(table).with_for_update())
        for row in rows:
            for name in columns:
                stored = getattr(row, name)
                if stored is not None and len(stored) == _WRAPPED_BYTES:
                    setattr(row, name, new.wrap(old.unwrap(stored, row.id), row.id))
                    count += 1
    session.info[AUDIT_KEY] = old.audit_key  # MACs of events that are not chained yet depend on the old master key
    while tenants := audit_log.unchained_tenants(session):
        for tenant_id in tenants:
            audit_log.chain(session, tenant_id)
    return count
