"""The master key: whether it can be read, by its owner only, and decrypts the stored images."""

from pathlib import Path

from sqlalchemy import select

from service.cli.doctor.finding import Finding, ok, problem, warning
from service.registry.crypto.master_key import MasterKey, MasterKeyUnusable, OtherMasterKey
from service.registry.errors import RegistryError
from service.registry.images import archive
from service.registry.settings import RegistrySettings
from service.registry.storage.artifacts import Artifacts
from service.registry.storage.database import Database
from service.registry.tables import DeletionRequest

_MAX_TRIED = 10  # encrypted files, the newest
_MEND = "Put the key that the images were stored with back into its place, then retry what has failed."


def opens(settings: RegistrySettings, database: Database) -> Finding:
    """Try the key on the newest encrypted images. A missing key is reported, and not created."""
    file = settings.master_key_file or settings.data_dir / "master.key"
    encrypted = select(DeletionRequest).where(DeletionRequest.samples_key.is_not(None))
    with database.read() as session:
        waiting = session.scalars(encrypted.order_by(DeletionRequest.received_at.desc()).limit(_MAX_TRIED)).all()
    if not (file.exists() or settings.master_key_file or waiting):
        return ok("master key", "none yet: the service makes one when it first starts")
    undecryptable = (_images_problem(request, settings, file) for request in waiting)
    fault = _key_problem(file, settings) or next(filter(None, undecryptable), None)
    if fault is not None:
        return fault
    if file.stat().st_mode & 0o077:
        mend = f"Run `chmod 600 {file}`, as the owner that the service runs as."
        return warning("master key", f"others than its owner may read {file}", mend)
    return ok("master key", f"it decrypts the kept images ({len(waiting)} tried)" if waiting else "no images are kept")


def _key_problem(file: Path, settings: RegistrySettings) -> Finding | None:
    if not file.exists():
        return problem("master key", f"{file} is not there", _MEND)
    try:
        MasterKey(settings)
    except MasterKeyUnusable:
        return problem("master key", f"{file} cannot be read, or does not hold 64 hexadecimal digits", _MEND)
    return None


def _images_problem(request: DeletionRequest, settings: RegistrySettings, file: Path) -> Finding | None:
    """The problem with decrypting the images of a request, if any."""
    try:
        archive.open_images(request, Artifacts(settings.data_dir).path(request.samples or ""), settings).close()
    except OtherMasterKey:
        return problem("master key", f"{file} is not the one that images were stored with", _MEND)
    except (RegistryError, OSError) as error:
        mend = "Restore the file from a backup and retry the request, or have the images sent again."
        return problem("master key", f"the images of request {request.id} do not open: {type(error).__name__}", mend)
    return None
