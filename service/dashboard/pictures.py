"""The images to forget, decrypted and made small enough to look at, and who has looked at them."""

import base64
import io
import uuid
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session

from service.registry.audit import audit_log
from service.registry.errors import ImagesDestroyed
from service.registry.images import archive
from service.registry.settings import RegistrySettings
from service.registry.storage.artifacts import Artifacts
from service.registry.storage.database import clock
from service.registry.tables import ApiKey, DeletionRequest, ImageView

ON_A_PAGE = 24
_SIDE = 256  # pixels; what is smaller stays as it is


@dataclass(frozen=True)
class Picture:
    """One image, as a `data:` URI: it exists in the answer and nowhere else."""

    position: int
    label: int
    width: int  #: pixels of the original
    height: int
    source: str


def view(session: Session, request: DeletionRequest, *, by: str, first: int) -> ImageView:
    """Write down who looks at which images, before they do.

    Raises:
        ImagesDestroyed: there are none any more.
    """
    if request.samples is None:
        raise ImagesDestroyed
    last = max(first, min(first + ON_A_PAGE, request.sample_count) - 1)
    seen = ImageView(request_id=request.id, at=clock(session), by=by, first=first, last=last)
    session.add(seen)
    session.flush()
    audit_log.append(
        session, request.tenant_id, "deletion_request.images_viewed", about=request.id, by=by, first=first, last=last
    )
    return seen


def pictures(
    request: DeletionRequest, artifacts: Artifacts, settings: RegistrySettings, first: int
) -> Sequence[Picture]:
    """Decrypt a page of images, in memory.

    Raises:
        ImagesMissing, MasterKeyUnusable, OtherMasterKey, SealBroken: they cannot be decrypted.
    """
    assert request.samples is not None
    found = []
    with archive.open_images(request, artifacts.path(request.samples), settings) as source:
        for at, (image, label) in enumerate(archive.read(source, range(first, first + ON_A_PAGE)), first):
            width, height = image.size
            small = image if image.mode in ("L", "RGB", "RGBA") else image.convert("RGB")
            small.thumbnail((_SIDE, _SIDE))
            file = io.BytesIO()
            small.save(file, "PNG")
            source_ = f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"
            found.append(Picture(at, label, width, height, source_))
    return found


def views(session: Session, request_id: uuid.UUID) -> Sequence[tuple[ImageView, str]]:
    """Who has looked, newest first, each with the name of their key."""
    seen = session.scalars(
        select(ImageView).where(ImageView.request_id == request_id).order_by(ImageView.id.desc()).limit(50)
    ).all()
    keys = {one.by: uuid.UUID(one.by.removeprefix("key:")) for one in seen if one.by.startswith("key:")}
    names = {f"key:{row.id}": row.name for row in session.scalars(select(ApiKey).where(ApiKey.id.in_(keys.values())))}
    return [(one, names.get(one.by, one.by)) for one in seen]
