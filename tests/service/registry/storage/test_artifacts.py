import errno
import hashlib
import io

import pytest
from sqlalchemy.exc import OperationalError

from service.registry.errors import StorageFull
from service.registry.storage.artifacts import Artifacts


@pytest.fixture
def artifacts(tmp_path):
    return Artifacts(tmp_path)


def files(tmp_path):
    return [path for path in tmp_path.rglob("*") if path.is_file()]


def test_a_kept_file_is_under_its_key(artifacts, tmp_path):
    """Whole, with its digest, and nothing in the staging folder."""
    with artifacts.stage() as staged:
        staged.fill(io.BytesIO(b"weights"))
        digest = staged.digest()
        staged.keep("checkpoints/a")
    assert artifacts.path("checkpoints/a").read_bytes() == b"weights"
    assert digest == (hashlib.sha256(b"weights").hexdigest(), 7)
    assert files(tmp_path) == [artifacts.path("checkpoints/a")]


def test_what_is_not_kept_vanishes(artifacts, tmp_path):
    """At the end of its block."""
    with artifacts.stage() as staged:
        staged.fill(io.BytesIO(b"weights"))
    assert files(tmp_path) == []


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, OSError])
def test_a_block_that_fails_leaves_nothing(artifacts, tmp_path, error):
    """Not even what it had kept: the transaction around it was rolled back."""

    def upload():
        with artifacts.stage() as staged:
            staged.fill(io.BytesIO(b"weights"))
            staged.keep("checkpoints/a")
            raise error

    with pytest.raises(error):
        upload()
    assert files(tmp_path) == []


def test_a_file_is_kept_while_something_else_happens(artifacts, tmp_path):
    """It is durable when the block ends, not later."""
    with artifacts.stage() as staged:
        staged.fill(io.BytesIO(b"images"))
        with staged.keeping("samples/a"):
            pass
        assert files(tmp_path) == [artifacts.path("samples/a")]


def test_a_block_that_fails_beside_the_disk_leaves_nothing(artifacts, tmp_path):
    """The file does not appear after it was discarded. No COMMIT was tried, so no row can name it."""

    def upload():
        with artifacts.stage() as staged:
            staged.fill(io.BytesIO(b"images"))
            with staged.keeping("samples/a"):
                raise OperationalError("", None, Exception())

    with pytest.raises(OperationalError):
        upload()
    assert files(tmp_path) == []


def test_a_disk_that_fails_beside_the_block_is_heard_of(artifacts, tmp_path):
    """Or the request would be committed without its images."""
    (tmp_path / "samples").write_bytes(b"")  # no folder can be made here

    def upload():
        with artifacts.stage() as staged, staged.keeping("samples/a"):
            pass

    with pytest.raises(FileExistsError):
        upload()


def test_what_a_row_may_name_is_kept(artifacts, tmp_path):
    """When the connection breaks during COMMIT nobody knows on which side of it: a version must not lose its file."""

    def publish():
        with artifacts.stage() as staged:
            staged.fill(io.BytesIO(b"weights"))
            staged.keep("checkpoints/a")
            raise OperationalError("COMMIT", {}, Exception("server closed the connection"))

    with pytest.raises(OperationalError):
        publish()
    assert files(tmp_path) == [artifacts.path("checkpoints/a")]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_is_a_fact(artifacts, tmp_path, number):
    """Whoever caused it is told so, and nothing is left."""
    with pytest.raises(StorageFull), artifacts.stage():
        raise OSError(number, "no room")
    assert files(tmp_path) == []


def test_deleting_twice_does_no_harm(artifacts):
    """A crash may repeat it."""
    with artifacts.stage() as staged:
        staged.keep("samples/a")
    artifacts.delete("samples/a")
    artifacts.delete("samples/a")
    assert not artifacts.path("samples/a").exists()


def test_a_folder_that_can_be_written_passes_the_check(artifacts, tmp_path):
    """And nothing stays of the check."""
    artifacts.check_writable()
    assert files(tmp_path) == []
