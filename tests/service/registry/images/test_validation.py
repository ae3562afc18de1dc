import io
import zipfile

import numpy as np
import pytest
from PIL import Image

from service.registry.errors import InvalidInput
from service.registry.images.archive import read
from service.registry.images.validation import Limits, Upload, keep

CLASSES = ["cat", "dog"]
LIMITS = Limits(images=4, pixels=100, bytes=1 << 22)


def encoded(kind="PNG", shade=0, size=(4, 4), mode="RGB"):
    file = io.BytesIO()
    Image.new(mode, size, shade if mode == "L" else (shade,) * len(mode)).save(file, kind)
    return file.getvalue()


def archive(**members):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as target:
        for name, content in members.items():
            target.writestr(name, content)
    return file.getvalue()


def kept(tmp_path, labels, *contents):
    uploads = [Upload(f"#/images/{at}", io.BytesIO(content)) for at, content in enumerate(contents)]
    target = tmp_path / "kept"
    count = keep(uploads, labels, target, classes=CLASSES, limits=LIMITS).count
    found = [(np.asarray(image), label) for image, label in read(target)]
    assert len(found) == count
    return found


def refused(tmp_path, labels, *contents):
    with pytest.raises(InvalidInput) as caught:
        kept(tmp_path, labels, *contents)
    return [(fault.pointer, fault.detail) for fault in caught.value.faults]


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_images_keep_their_pixels_labels_and_order(tmp_path, kind):
    """Byte for byte, in the order in which they came."""
    contents = [encoded(kind, 200), encoded(kind, 10)]
    found = kept(tmp_path, ["dog", 0], *contents)
    assert [label for _, label in found] == [1, 0]
    for content, (pixels, _) in zip(contents, found, strict=True):
        assert (pixels == np.asarray(Image.open(io.BytesIO(content)))).all()


@pytest.mark.parametrize("mode", ["L", "RGBA"])
def test_other_modes_are_kept_as_they_are(tmp_path, mode):
    """Converting them is the worker's."""
    ((pixels, _),) = kept(tmp_path, [0], encoded(mode=mode))
    assert pixels.shape == ((4, 4) if mode == "L" else (4, 4, 4))


def test_a_zip_is_read_in_the_order_of_its_names(tmp_path):
    """So that labels can be given for it."""
    found = kept(tmp_path, [1, 0], archive(**{"b.png": encoded(shade=2), "a.png": encoded(shade=1)}))
    assert [(int(pixels[0, 0, 0]), label) for pixels, label in found] == [(1, 1), (2, 0)]


def test_folders_of_a_zip_are_labels(tmp_path):
    """As in torchvision's ImageFolder."""
    found = kept(tmp_path, None, archive(**{"x/dog/1.png": encoded(shade=1), "x/cat/1.png": encoded(shade=2)}))
    assert [(int(pixels[0, 0, 0]), label) for pixels, label in found] == [(2, 0), (1, 1)]


@pytest.mark.parametrize("shape", [(3, 4, 5), (3, 4, 5, 1), (3, 4, 5, 3)])
def test_an_npz_is_kept_as_it_came(tmp_path, shape):
    """Grey or coloured, with one label each."""
    pixels = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    file = io.BytesIO()
    np.savez_compressed(file, images=pixels, labels=np.array([0, 1, 0]))
    found = kept(tmp_path, None, file.getvalue())
    assert [label for _, label in found] == [0, 1, 0]
    assert (np.stack([image for image, _ in found]) == (pixels[..., 0] if shape[3:] == (1,) else pixels)).all()


def test_the_same_image_twice_with_one_label_is_fine(tmp_path):
    """It is sent twice, and kept twice."""
    assert len(kept(tmp_path, [1, 1], encoded(), encoded())) == 2


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
    """A zip of a few kilobytes may unpack to gigabytes that no image needs."""
    content = encoded() + bytes(LIMITS.encoded)
    assert refused(tmp_path, [0], content) == [("#/images/0", f"the file has more than {LIMITS.encoded} bytes")]
    assert refused(tmp_path, [0], archive(**{"a.png": content}))[0][0] == "#/images/0/0"


def test_too_many_images_are_refused_before_they_are_read(tmp_path):
    """By their number alone."""
    assert refused(tmp_path, [0] * 5, *[b"x"] * 5) == [("#/images", "at most 4 images are allowed")]
    assert refused(tmp_path, [0], *[]) == [("#/images", "at least one image is needed")]


def test_an_encrypted_zip_is_refused(tmp_path):
    """There is no password to give."""
    content = bytearray(archive(**{"cat/a.png": encoded()}))
    for signature, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        content[content.index(signature) + offset] |= 1
    assert refused(tmp_path, None, bytes(content))[0][0] == "#/images/0"


def test_names_in_a_zip_are_not_paths(tmp_path):
    """Nothing is written to where they point."""
    kept(tmp_path, [0], archive(**{"/etc/evil.png": encoded()}))
    assert [path.name for path in tmp_path.iterdir()] == ["kept"]
