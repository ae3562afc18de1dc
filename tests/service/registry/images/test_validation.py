import io

import numpy as np
import pytest
from PIL import Image

from service.registry.errors import InvalidInput
from service.registry.images.archive import read
from service.registry.images.validation import ImageRejected, ReceivedImage, UploadLimits, check_images
from tests.service.registry.images.given_images import encoded

LIMITS = UploadLimits(images=4, pixels=100, bytes=1 << 22)


def received(content, label=0, at=0):
    return ReceivedImage(io.BytesIO(content).read, f"#/images/{at}", label, f"#/labels/{at}")


def checked(tmp_path, labels, *contents):
    """What is known of the images, and what is read of them afterwards."""
    images = [received(content, label, at) for at, (content, label) in enumerate(zip(contents, labels, strict=True))]
    summary = check_images(images, tmp_path / "stored", LIMITS)
    stored = [(np.asarray(image), label) for image, label in read(tmp_path / "stored")]
    assert len(stored) == summary.count
    return summary, stored


def refused(tmp_path, labels, *contents):
    with pytest.raises(InvalidInput) as caught:
        checked(tmp_path, labels, *contents)
    return [(fault.pointer, fault.detail) for fault in caught.value.faults]


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_images_keep_their_pixels_labels_and_order(tmp_path, kind):
    """Byte for byte, in the order in which they came."""
    contents = [encoded(kind, 200), encoded(kind, 10)]
    _, stored = checked(tmp_path, [1, 0], *contents)
    assert [label for _, label in stored] == [1, 0]
    for content, (pixels, _) in zip(contents, stored, strict=True):
        assert (pixels == np.asarray(Image.open(io.BytesIO(content)))).all()


@pytest.mark.parametrize("mode", ["L", "RGBA"])
def test_other_modes_are_kept_as_they_are(tmp_path, mode):
    """Converting them is the worker's."""
    _, ((pixels, _),) = checked(tmp_path, [0], encoded(mode=mode))
    assert pixels.shape == ((4, 4) if mode == "L" else (4, 4, 4))


def test_the_same_image_twice_with_one_label_is_fine(tmp_path):
    """It is sent twice, and kept twice."""
    assert checked(tmp_path, [1, 1], encoded(), encoded())[0].count == 2


def test_the_same_pixels_with_two_labels_contradict(tmp_path):
    """Also when they are compressed differently."""
    lossless = io.BytesIO()
    Image.new("RGB", (4, 4), (7, 7, 7)).save(lossless, "WEBP", lossless=True)
    assert refused(tmp_path, [0, 1], encoded(shade=7), lossless.getvalue()) == [
        ("#/labels/1", "the same image has another label earlier in this request")
    ]


def test_other_formats_are_refused(tmp_path):
    """Pillow reads dozens, some of them with programs inside."""
    faults = refused(tmp_path, [0, 0, 0], encoded("GIF"), encoded("TIFF"), encoded("BMP"))
    assert faults == [(f"#/images/{at}", "is not a PNG, JPEG or WebP image") for at in range(3)]


def test_an_image_with_a_huge_appendix_is_not_read_to_its_end(tmp_path):
    """It may have gigabytes that no image needs."""
    content = encoded() + bytes(LIMITS.encoded)
    assert refused(tmp_path, [0], content) == [("#/images/0", f"the file has more than {LIMITS.encoded} bytes")]


def test_an_image_that_cannot_be_fetched_is_told_with_the_others_that_are_wrong(tmp_path):
    """Each with its context before."""

    def fetch(_):
        raise ImageRejected("cannot be fetched")

    images = [
        ReceivedImage(fetch, "#/sample_ids/0", 0, "#/sample_ids/0", "row 5: "),
        ReceivedImage(io.BytesIO(b"").read, "#/sample_ids/1", 0, "#/sample_ids/1", "row 7: "),
    ]
    with pytest.raises(InvalidInput) as caught:
        check_images(images, tmp_path / "stored", LIMITS)
    assert [(fault.pointer, fault.detail) for fault in caught.value.faults] == [
        ("#/sample_ids/0", "row 5: cannot be fetched"),
        ("#/sample_ids/1", "row 7: the file is empty"),
    ]


def test_the_fingerprint_is_of_pixels_and_labels_in_no_order(tmp_path):
    """Its HMAC stands in rows, the audit log and certificates, so it is the same in every release."""
    first, second = encoded(shade=1), encoded(shade=2)
    fingerprint = checked(tmp_path, [0, 1], first, second)[0].fingerprint
    assert fingerprint.hex() == "e5fd493d885a932f5def4a2fb0e4e6702e61ff728674f2c32ec618b6b576ca56"
    assert checked(tmp_path, [1, 0, 1], second, first, second)[0].fingerprint == fingerprint
    assert checked(tmp_path, [1, 0], first, second)[0].fingerprint != fingerprint
