import io
import zipfile

import numpy as np
import pytest

from service.registry.errors import InvalidInput
from service.registry.images.archive import read
from service.registry.images.upload_formats import check_upload
from service.registry.images.validation import UploadLimits
from tests.service.registry.images.given_images import encoded

CLASSES = ["cat", "dog"]
LIMITS = UploadLimits(images=4, pixels=100, bytes=1 << 22)


def archive(**members):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as target:
        for name, content in members.items():
            target.writestr(name, content)
    return file.getvalue()


def checked(tmp_path, labels, *contents):
    """What is known of the upload, and what is read of it afterwards."""
    files = [io.BytesIO(content) for content in contents]
    summary = check_upload(files, labels, tmp_path / "stored", classes=CLASSES, limits=LIMITS)
    stored = [(np.asarray(image), label) for image, label in read(tmp_path / "stored")]
    assert len(stored) == summary.count
    return summary, stored


def refused(tmp_path, labels, *contents):
    with pytest.raises(InvalidInput) as caught:
        checked(tmp_path, labels, *contents)
    return [(fault.pointer, fault.detail) for fault in caught.value.faults]


def test_files_are_labelled_by_position_or_by_name(tmp_path):
    """In the order in which they came."""
    _, stored = checked(tmp_path, ["dog", 0], encoded(shade=1), encoded(shade=2))
    assert [(int(pixels[0, 0, 0]), label) for pixels, label in stored] == [(1, 1), (2, 0)]


@pytest.mark.parametrize(
    ("label", "position"),
    [("1", 0), (1, 1), ("10", 1), ("2", 2), ("0", 0), ("02", 2)],
)
def test_a_text_is_a_name_and_only_else_a_position(tmp_path, label, position):
    """Classes that are called by numbers lie in the order of their texts, as torchvision's ImageFolder sorts them."""
    target = tmp_path / "stored"
    check_upload([io.BytesIO(encoded())], [label], target, classes=["1", "10", "2"], limits=LIMITS)
    assert [label for _, label in read(target)] == [position]


@pytest.mark.parametrize("label", ["3", "-1", "1.0", "1" * 5000, "\u0661", ""])
def test_a_text_that_is_neither_name_nor_position_is_refused(tmp_path, label):
    """At its place."""
    assert refused(tmp_path, [label], encoded()) == [
        ("#/labels/0", "must be a class of the model: its name, or 0 to 1"),
    ]


def test_a_folder_of_a_zip_is_a_name_only(tmp_path):
    """Folders 1 and 2 may count classes from one."""
    assert refused(tmp_path, None, archive(**{"1/a.png": encoded()})) == [
        ("#/labels/0", "must be a class of the model: its name, or 0 to 1"),
    ]


def test_the_form_makes_no_difference_to_the_fingerprint(tmp_path):
    """Whoever sends the same images again, packed otherwise, is recognised."""
    files = encoded(shade=1), encoded(shade=2)
    npz = io.BytesIO()
    np.savez(npz, images=np.stack([np.full((4, 4, 3), shade, np.uint8) for shade in (1, 2)]), labels=np.array([0, 1]))
    fingerprints = {
        checked(tmp_path, labels, *contents)[0].fingerprint
        for labels, contents in (
            ([0, 1], files),
            (None, [archive(**dict(zip(("cat/b.png", "dog/a.png"), files, strict=True)))]),
            (None, [npz.getvalue()]),
        )
    }
    assert len(fingerprints) == 1


def test_a_zip_is_read_in_the_order_of_its_names(tmp_path):
    """So that labels can be given for it."""
    _, stored = checked(tmp_path, [1, 0], archive(**{"b.png": encoded(shade=2), "a.png": encoded(shade=1)}))
    assert [(int(pixels[0, 0, 0]), label) for pixels, label in stored] == [(1, 1), (2, 0)]


def test_folders_of_a_zip_are_labels(tmp_path):
    """As in torchvision's ImageFolder."""
    _, stored = checked(tmp_path, None, archive(**{"x/dog/1.png": encoded(shade=1), "x/cat/1.png": encoded(shade=2)}))
    assert [(int(pixels[0, 0, 0]), label) for pixels, label in stored] == [(2, 0), (1, 1)]


@pytest.mark.parametrize("shape", [(3, 4, 5), (3, 4, 5, 1), (3, 4, 5, 3)])
def test_an_npz_is_kept_as_it_came(tmp_path, shape):
    """Grey or coloured, with one label each."""
    pixels = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    file = io.BytesIO()
    np.savez_compressed(file, images=pixels, labels=np.array([0, 1, 0]))
    _, stored = checked(tmp_path, None, file.getvalue())
    assert [label for _, label in stored] == [0, 1, 0]
    assert (np.stack([image for image, _ in stored]) == (pixels[..., 0] if shape[3:] == (1,) else pixels)).all()


def test_an_image_with_a_huge_appendix_is_not_read_to_its_end(tmp_path):
    """A zip of a few kilobytes may unpack to gigabytes that no image needs."""
    content = archive(**{"a.png": encoded() + bytes(LIMITS.encoded)})
    assert refused(tmp_path, [0], content) == [("#/images/0/0", f"the file has more than {LIMITS.encoded} bytes")]


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
    checked(tmp_path, [0], archive(**{"/etc/evil.png": encoded()}))
    assert [path.name for path in tmp_path.iterdir()] == ["stored"]
