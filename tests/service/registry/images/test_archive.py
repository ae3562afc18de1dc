import io
import uuid

import numpy as np
import pytest
from PIL import Image

from service.registry.crypto.encrypted_files import CHUNK, EncryptedWriter, SealBroken
from service.registry.crypto.master_key import MasterKey, OtherMasterKey
from service.registry.images import archive
from service.registry.settings import RegistrySettings
from service.registry.tables import DeletionRequest

PICTURES = np.random.default_rng(0).integers(0, 256, (3, 40, 200, 3), np.uint8)  # as PNG more than a chunk together


@pytest.fixture
def settings(tmp_path):
    return RegistrySettings(data_dir=tmp_path)


@pytest.fixture
def request_of(settings, tmp_path):
    """Keep the pictures as a deletion request does, or as one did before they were encrypted."""

    def keep(sealed):
        request = DeletionRequest(id=uuid.uuid4(), samples=f"{uuid.uuid4()}", samples_key=None)
        target = EncryptedWriter(tmp_path / request.samples) if sealed else (tmp_path / request.samples).open("wb")
        with target, archive.ImageArchiveWriter(target) as kept:
            for at, picture in enumerate(PICTURES):
                file = io.BytesIO()
                Image.fromarray(picture).save(file, "PNG")
                kept.add(file.getvalue(), at)
        if sealed:
            request.samples_key = MasterKey(settings).wrap(target.key, request.id)
        assert (tmp_path / request.samples).stat().st_size > CHUNK
        return request

    return keep


def read(request, tmp_path, settings):
    with archive.open_images(request, tmp_path / request.samples, settings) as file:
        return [(np.asarray(image), label) for image, label in archive.read(file)]


@pytest.mark.parametrize("sealed", [True, False])
def test_the_images_of_a_request_are_read_as_they_were_kept(request_of, tmp_path, settings, sealed):
    """Those of a release that did not encrypt, too: an upgrade finds them waiting."""
    images = read(request_of(sealed), tmp_path, settings)
    assert [label for _, label in images] == [0, 1, 2]
    assert (np.stack([image for image, _ in images]) == PICTURES).all()


def test_images_of_an_npz_are_read_from_where_they_are(tmp_path, settings):
    """NumPy goes back and forth in the file."""
    request = DeletionRequest(id=uuid.uuid4())
    with EncryptedWriter(tmp_path / "a") as target:
        np.savez_compressed(target, images=PICTURES, labels=np.array([2, 1, 0]))
    request.samples, request.samples_key = "a", MasterKey(settings).wrap(target.key, request.id)
    images = read(request, tmp_path, settings)
    assert [label for _, label in images] == [2, 1, 0]
    assert (np.stack([image for image, _ in images]) == PICTURES).all()


def test_images_of_another_request_are_not_taken_for_its_own(request_of, tmp_path, settings):
    """Neither by their file, nor by their file and their key."""
    altered, other = request_of(True), request_of(True)
    altered.samples = other.samples
    with pytest.raises(SealBroken):
        read(altered, tmp_path, settings)
    altered.samples_key = other.samples_key
    with pytest.raises(OtherMasterKey):
        read(altered, tmp_path, settings)


def test_images_that_are_gone_are_a_fact_and_a_disk_that_is_away_is_none(request_of, tmp_path, settings):
    """The job fails for the one, and is tried again after the other."""
    request = request_of(True)
    (tmp_path / request.samples).unlink()
    with pytest.raises(archive.ImagesMissing):
        read(request, tmp_path, settings)
    with pytest.raises(FileNotFoundError):
        read(request, tmp_path / "unmounted", settings)
