"""What a run of the worker needs that is nobody's subject: anchors, and a request with its encrypted images."""

import io
import uuid

import numpy as np

from service.registry.crypto.encrypted_files import EncryptedWriter
from service.registry.crypto.master_key import MasterKey
from service.registry.deletion_requests import lifecycle
from service.registry.images.archive import ImageArchiveWriter
from service.registry.models import anchor_sets

#: Of the method's settings: enough for a network that is about nothing.
FEW = {
    "mixup": 32,
    "cutmix": 32,
    "bent": 32,
    "inverted": 32,
    "importance_images": 32,
    "surrogate_batch": 32,
    "settling": 10,
}


def add_anchors(session, artifacts, tenant_id, classes):
    """One axis for each class."""
    with artifacts.stage() as staged:
        with staged.path.open("wb") as file:
            np.savez(file, emb=np.eye(len(classes)), names=np.array(classes))
        sha256, _ = staged.digest()
        staged.keep("anchor-sets/1")
    anchor_sets.add(
        session,
        tenant_id,
        cache_key="1",
        encoder="by hand",
        encoder_digest="",
        classes=classes,
        descriptions=[],
        dimension=len(classes),
        anchors="anchor-sets/1",
        sha256=sha256,
    )


def submit(database, artifacts, settings, model, images, options):
    """Ask for these images, each with its label, to be forgotten, with the tenant's anchors."""
    request_id = uuid.uuid4()
    with artifacts.stage() as staged:
        with EncryptedWriter(staged.path) as encrypted, ImageArchiveWriter(encrypted) as kept:
            for image, label in images:
                file = io.BytesIO()
                image.save(file, "PNG")
                kept.add(file.getvalue(), int(label))
        staged.keep(f"samples/{request_id}")
    with database.write() as session:
        (anchors,) = anchor_sets.list_anchor_sets(session, model.tenant_id, cursor=None, limit=2).items
        return lifecycle.submit(
            session,
            model,
            request_id=request_id,
            regulation="gdpr",
            samples=f"samples/{request_id}",
            samples_key=MasterKey(settings).wrap(encrypted.key, request_id),
            sample_count=len(images),
            samples_hmac="0" * 64,
            submitted_by="key:1",
            options=options.model_copy(update={"encoder": "precomputed", "anchor_set": anchors.id}),
        )
