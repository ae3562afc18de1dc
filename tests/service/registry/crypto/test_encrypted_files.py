import io
import os
import zipfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.registry.crypto.encrypted_files import CHUNK, EncryptedWriter, SealBroken, open_encrypted

SEALED = CHUNK + 16  # bytes of a whole chunk in the file
SIZES = [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK, 3 * CHUNK + 5]


def seal(path, *pieces):
    with EncryptedWriter(path) as target:
        for piece in pieces:
            assert target.write(piece) == len(piece)
    return target.key


def unsealed(path, key):
    with open_encrypted(path, key) as file:
        return file.read()


@pytest.mark.parametrize("size", SIZES)
def test_what_was_written_is_read(tmp_path, size):
    """Around the ends of chunks, too; and nothing of it stands in the file."""
    content = os.urandom(size)
    key = seal(tmp_path / "a", content)
    assert unsealed(tmp_path / "a", key) == content
    sealed = (tmp_path / "a").read_bytes()
    assert len(sealed) == size + 16 * max(1, -(-size // CHUNK))
    assert size < 16 or content[:16] not in sealed
    assert key not in sealed


def test_it_does_not_matter_in_which_pieces_it_is_written(tmp_path):
    """Nor whether they are bytes or something like them."""
    key = seal(tmp_path / "a", b"x" * (CHUNK - 1), b"", memoryview(b"yz" * CHUNK), bytearray(b"."))
    assert unsealed(tmp_path / "a", key) == b"x" * (CHUNK - 1) + b"yz" * CHUNK + b"."


def test_every_file_has_a_key_of_its_own(tmp_path):
    """The same content is another file; one does not open the other."""
    first, second = seal(tmp_path / "a", b"same"), seal(tmp_path / "b", b"same")
    assert (tmp_path / "a").read_bytes() != (tmp_path / "b").read_bytes()
    with pytest.raises(SealBroken):
        open_encrypted(tmp_path / "a", second)
    assert unsealed(tmp_path / "a", first) == b"same"


@pytest.fixture(scope="module")
def sealed(tmp_path_factory):
    """Three chunks and a bit: their content, the file and its key."""
    path = tmp_path_factory.mktemp("sealed") / "a"
    content = os.urandom(3 * CHUNK + 100)
    return content, path, seal(path, content)


@given(at=st.integers(0, 3 * SEALED + 115), bit=st.integers(0, 7))
def test_a_flipped_bit_is_noticed(sealed, at, bit):
    """Wherever it is."""
    _, path, key = sealed
    altered = bytearray(path.read_bytes())
    altered[at] ^= 1 << bit
    other = path.with_name("altered")
    other.write_bytes(altered)
    with pytest.raises(SealBroken):
        unsealed(other, key)


@pytest.mark.parametrize(
    "order",
    [
        [],
        [0],
        [0, 1],
        [0, 1, 2],
        [1, 0, 2, 3],
        [0, 2, 1, 3],
        [0, 1, 3],
        [0, 2, 3],
        [0, 1, 1, 2, 3],
        [0, 1, 2, 3, 3],
        [3],
    ],
)
def test_chunks_that_are_missing_moved_or_doubled_are_noticed(sealed, order):
    """Also when what is left ends with a whole chunk."""
    _, path, key = sealed
    whole = path.read_bytes()
    other = path.with_name("reordered")
    other.write_bytes(b"".join(whole[at * SEALED : (at + 1) * SEALED] for at in order))
    with pytest.raises(SealBroken):
        unsealed(other, key)


@given(cut=st.integers(1, 3 * SEALED + 116))
def test_a_file_that_was_cut_off_does_not_open(sealed, cut):
    """Whoever reads only its beginning must not take it for whole."""
    _, path, key = sealed
    other = path.with_name("cut")
    other.write_bytes(path.read_bytes()[:-cut])
    with pytest.raises(SealBroken):
        open_encrypted(other, key)


@given(st.lists(st.tuples(st.integers(0, 3 * CHUNK + 200), st.integers(0, CHUNK + 5)), max_size=8))
def test_it_is_read_from_anywhere(sealed, reads):
    """As any file is, beyond its end, too."""
    content, path, key = sealed
    plain = io.BytesIO(content)
    with open_encrypted(path, key) as file:
        for at, size in reads:
            assert file.seek(at) == plain.seek(at)
            assert file.read(size) == plain.read(size)
            assert file.tell() == plain.tell()
        assert file.seek(-5, os.SEEK_END) == plain.seek(-5, os.SEEK_END)
        assert file.read() == plain.read()


def test_a_zip_can_be_written_and_read(tmp_path):
    """Although it is written without going back."""
    with EncryptedWriter(tmp_path / "a") as target, zipfile.ZipFile(target, "w") as archive:
        archive.writestr("one", b"1" * CHUNK)
        with archive.open("two", "w", force_zip64=True) as member:
            member.write(b"2" * CHUNK)
    with open_encrypted(tmp_path / "a", target.key) as file, zipfile.ZipFile(file) as archive:
        assert archive.testzip() is None
        assert archive.read("two") == b"2" * CHUNK


def test_a_disk_without_room_is_heard_of(tmp_path):
    """Once; the file is closed all the same."""
    target = EncryptedWriter(tmp_path / "a")
    target._file.close()
    with pytest.raises(ValueError, match="closed"):
        target.close()
    target.close()
    assert target.closed
