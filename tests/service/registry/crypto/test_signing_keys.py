import hashlib
import stat
from concurrent.futures import ThreadPoolExecutor

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_public_key,
)

from service.registry.crypto.signing_keys import (
    PublicKey,
    PublicKeyUnusable,
    SignatureInvalid,
    SigningKeyUnusable,
    public_keys,
    rotate,
    signer,
)
from service.registry.settings import RegistrySettings

SAID = b"what was said"


@pytest.fixture
def settings(tmp_path):
    return RegistrySettings(data_dir=tmp_path / "data")


def _pem(key, encryption):
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption)


def test_a_key_is_made_once_and_for_its_owner_only(settings):
    """Processes that start at once agree on one, and leave nothing else behind."""
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda _: signer(settings), range(8)))
    assert len({each.key_id for each in made}) == 1
    folder = settings.data_dir / "signing"
    assert sorted(path.name for path in folder.rglob("*")) == [f"{made[0].key_id}.pem", "private.pem", "public"]
    assert stat.S_IMODE((folder / "private.pem").stat().st_mode) == 0o600


def test_what_is_signed_is_verified_by_the_public_key_and_by_no_other(settings):
    """And for no other bytes."""
    mine = signer(settings)
    signature = mine.sign(SAID)
    PublicKey.read(mine.public.pem.encode()).verify(signature, SAID)
    following = rotate(settings)
    for key, what in ((mine.public, SAID + b"."), (following, SAID)):
        with pytest.raises(SignatureInvalid):
            key.verify(signature, what)


def test_the_name_of_a_key_is_the_digest_of_its_public_half(settings):
    """As openssl computes it."""
    public = signer(settings).public
    key = load_pem_public_key(public.pem.encode())
    der = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    assert public.key_id == hashlib.sha256(der).hexdigest()


def test_a_rotation_counts_at_once_and_keeps_the_public_keys_before_it(settings):
    """The private one is gone."""
    first = signer(settings).public
    second, third = rotate(settings), rotate(settings)
    assert signer(settings).public == third
    assert public_keys(settings)[0] == third
    assert set(public_keys(settings)) == {first, second, third}
    assert len(list((settings.data_dir / "signing").glob("*.pem"))) == 1


def test_a_configured_key_is_rotated_where_it_lies(settings, tmp_path):
    """Its public half is kept, too."""
    file = tmp_path / "key.pem"
    configured = settings.model_copy(update={"signing_key_file": file})
    file.write_bytes(_pem(Ed25519PrivateKey.generate(), NoEncryption()))
    first = signer(configured).public
    with pytest.raises(SigningKeyUnusable, match="replace it there"):
        rotate(configured)
    file.write_bytes(_pem(Ed25519PrivateKey.generate(), NoEncryption()))
    assert public_keys(configured) == [signer(configured).public, first]


@pytest.mark.parametrize(
    "content",
    [
        None,
        b"",
        b"\xff" * 40,
        _pem(generate_private_key(SECP256R1()), NoEncryption()),
        _pem(Ed25519PrivateKey.generate(), BestAvailableEncryption(b"secret")),
    ],
    ids=["missing", "empty", "noise", "another kind", "with a password"],
)
def test_a_file_that_is_no_key_is_refused(settings, tmp_path, content):
    """Nothing is made in its place: somebody has named it."""
    file = tmp_path / "key.pem"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(SigningKeyUnusable):
        signer(settings.model_copy(update={"signing_key_file": file}))


def test_only_an_ed25519_public_key_is_read(settings):
    """Neither another kind, nor noise, nor the private half."""
    other = generate_private_key(SECP256R1()).public_key()
    signer(settings)
    private = (settings.data_dir / "signing" / "private.pem").read_bytes()
    for pem in (b"", private, other.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)):
        with pytest.raises(PublicKeyUnusable):
            PublicKey.read(pem)
