"""Training manifests as they are uploaded: check them, keep the URIs, and write the rows, all of it or nothing."""

import uuid
from typing import BinaryIO

from fastapi import Response

from service.models.record_answers import ManifestAnswer
from service.registry.access.scopes import Caller
from service.registry.audit import audit_log
from service.registry.crypto.encrypted_files import SealedWriter
from service.registry.models import models
from service.registry.training_data import manifest_files, manifests
from service.web.dependencies import Resources
from service.web.fields import NewManifest
from service.web.idempotency import Creation


def add_manifest(
    resources: Resources,
    creation: Creation,
    caller: Caller,
    model_name: str,
    reference: int | str,
    given: NewManifest,
    manifest: BinaryIO,
) -> Response:
    """Register what a version was trained on; the answer.

    Raises:
        InvalidInput: with a fault for every cell that is wrong.
    """
    settings = resources.settings
    with resources.database.read() as session:
        model = models.find_model(session, caller.tenant_id, model_name)
        version = models.find_version(session, model, reference)
    limits = manifest_files.Limits(rows=settings.max_manifest_rows, bytes=settings.max_manifest_bytes)
    with resources.artifacts.stage() as staged:
        with SealedWriter(staged.path) as target:
            rows = manifest_files.keep(
                manifest, target, classes=version.classes, pseudonyms=caller.pseudonyms, limits=limits
            )
        manifest_id = uuid.uuid4()
        key = f"manifests/{uuid.uuid4()}"
        with resources.database.write() as session:
            audit_log.acting(session, caller.subject)
            row = manifests.add(
                session,
                caller.tenant_id,
                version,
                rows,
                manifest_id=manifest_id,
                name=given.name,
                uris=key,
                uris_key=resources.master_key.wrap(target.key, manifest_id),
            )
            answer = ManifestAnswer.of(model, version, row)
            response = creation.answer(session, answer, 201, location=answer.links["self"])
            staged.keep(key)
    return response
