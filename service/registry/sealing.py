"""Encrypts what earlier releases have stored as it was: secrets of webhooks, and the URIs of training manifests."""

import shutil
import uuid

from service.registry import manifests, webhooks
from service.registry.artifacts import Artifacts
from service.registry.database import Database
from service.registry.master_key import MasterKey
from service.registry.sealed_files import SealedWriter
from service.registry.tables import Manifest


def seal_plain(database: Database, artifacts: Artifacts, master_key: MasterKey) -> None:
    """Encrypt all secrets, and the URIs of some manifests. Any number of processes may do so, and die meanwhile."""
    with database.read() as session:
        are_plain, plain = webhooks.are_plain(session), manifests.plain(session)
    if are_plain:
        with database.write() as session:
            webhooks.seal_plain(session, master_key)
    for manifest in plain:
        if artifacts.path(manifest.uris).exists():
            _seal(database, artifacts, master_key, manifest)


def _seal(database: Database, artifacts: Artifacts, master_key: MasterKey, manifest: Manifest) -> None:
    key = f"manifests/{uuid.uuid4()}"
    with artifacts.stage() as staged:
        with artifacts.path(manifest.uris).open("rb") as source, SealedWriter(staged.path) as target:
            shutil.copyfileobj(source, target)
        with database.write() as session:
            wrapped = master_key.wrap(target.key, manifest.id)
            if manifests.replace_uris(session, manifest, uris=key, uris_key=wrapped):
                staged.keep(key)
    # Whoever dies here leaves a file that no row names, which is removed after a day.
    artifacts.delete(manifest.uris)
