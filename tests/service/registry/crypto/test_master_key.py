import stat
import uuid
from concurrent.futures import ThreadPoolExecutor

import pytest

from service.registry.crypto.master_key import MasterKey, MasterKeyUnusable, OtherMasterKey
from service.registry.settings import RegistrySettings
from service.registry.tables import DeletionRequest

KEY, OWNER = bytes(range(32)), uuid.uuid4()


def test_one_is_made_that_only_its_owner_reads(tmp_path):
    """The next process finds it."""
    settings = RegistrySettings(data_dir=tmp_path / "data")
    wrapped = MasterKey(settings).wrap(KEY, OWNER)
    (made,) = settings.data_dir.iterdir()
    assert stat.S_IMODE(made.stat().st_mode) == 0o600
    assert MasterKey(settings).unwrap(wrapped, OWNER) == KEY


def test_processes_that_start_at_once_agree_on_one(tmp_path):
    """And leave nothing else behind."""
    settings = RegistrySettings(data_dir=tmp_path)
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda _: MasterKey(settings), range(8)))
    wrapped = made[0].wrap(KEY, OWNER)
    assert {each.unwrap(wrapped, OWNER) for each in made} == {KEY}
    assert [path.name for path in tmp_path.iterdir()] == ["master.key"]


def test_a_wrapped_key_tells_nothing_and_fits_its_column(tmp_path):
    """Not even that it is the same one."""
    master = MasterKey(RegistrySettings(data_dir=tmp_path))
    first, second = master.wrap(KEY, OWNER), master.wrap(KEY, OWNER)
    assert first != second
    assert KEY not in first
    assert len(first) == DeletionRequest.samples_key.type.length


def test_another_master_key_does_not_unwrap(tmp_path):
    """Nor the right one for another request: their rows cannot be exchanged."""
    mine, other = (MasterKey(RegistrySettings(data_dir=tmp_path / name)) for name in ("mine", "other"))
    wrapped = mine.wrap(KEY, OWNER)
    for master, owner in ((other, OWNER), (mine, uuid.uuid4())):
        with pytest.raises(OtherMasterKey):
            master.unwrap(wrapped, owner)


@pytest.mark.parametrize("content", [None, "", "00" * 31, "00" * 33, "x" * 64, b"\xff" * 32])
def test_a_file_that_is_no_key_is_refused(tmp_path, content):
    """Nothing is made in its place: somebody has named it."""
    file = tmp_path / "key"
    if content is not None:
        file.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(MasterKeyUnusable):
        MasterKey(RegistrySettings(data_dir=tmp_path, master_key_file=file))


def test_a_key_file_may_end_with_a_line(tmp_path):
    """As `openssl rand -hex 32` writes it."""
    (tmp_path / "key").write_text("0a" * 32 + "\n")
    settings = RegistrySettings(data_dir=tmp_path, master_key_file=tmp_path / "key")
    assert MasterKey(settings).unwrap(MasterKey(settings).wrap(KEY, OWNER), OWNER) == KEY
