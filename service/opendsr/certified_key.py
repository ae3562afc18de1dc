"""The RSA key that signs answers and callbacks of the OpenDSR processor, with the certificate for its domain.

What is signed are the bytes that are sent, by RSASSA-PKCS1-v1_5 with SHA-256 (FIPS 186-4, section 5; RFC 8017,
section 8.2): OpenDSR 2.0 leaves the padding open, and docs/opendsr.md settles it.
"""

from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key
from cryptography.x509.oid import NameOID

from service.registry.crypto.key_files import create_once
from service.settings import ServiceSettings

_BITS = 3072
_LOCALHOST = "localhost"
_SELF_SIGNED_FOR = timedelta(days=3650)


class CertifiedKey:
    """The configured key, or else one that is generated with a self-signed certificate and kept in the data folder.

    Raises:
        ValueError: the configured key and certificate do not fit each other, or the domain.
    """

    def __init__(self, settings: ServiceSettings) -> None:
        key_file = settings.opendsr_key or _generated_once(settings.data_dir, settings.opendsr_domain)
        self._key = _rsa_key(key_file)
        self._certificates = x509.load_pem_x509_certificates((settings.opendsr_certificate or key_file).read_bytes())
        _check(self._key, self._certificates, settings.opendsr_domain)

    def sign(self, body: bytes) -> bytes:
        """The signature over the bytes of a body."""
        return self._key.sign(body, PKCS1v15(), SHA256())

    @property
    def certificate(self) -> bytes:
        """The certificate and those that it was issued by, as PEM; the private key is not among them."""
        return b"".join(certificate.public_bytes(Encoding.PEM) for certificate in self._certificates)


def _rsa_key(file: Path) -> RSAPrivateKey:
    key = load_pem_private_key(file.read_bytes(), password=None)
    if not isinstance(key, RSAPrivateKey):
        raise ValueError("opendsr_key must be an RSA key")  # noqa: TRY004  (a setting is wrong)
    return key


def _generated_once(folder: Path, domain: str) -> Path:
    """PEM file with a key and a self-signed certificate."""
    return create_once(folder / "opendsr" / f"{domain}.pem", lambda: _self_signed(domain))


def _self_signed(domain: str) -> bytes:
    key = generate_private_key(public_exponent=65537, key_size=_BITS)
    name = x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, "StructGuard, self-signed")])
    now = datetime.now(UTC)
    hosts = [domain, "127.0.0.1", "::1"] if domain == _LOCALHOST else [domain]
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(minutes=5))
        .not_valid_after(now + _SELF_SIGNED_FOR)
        .add_extension(x509.SubjectAlternativeName([_general_name(host) for host in hosts]), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .sign(key, SHA256())
    )
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return private + certificate.public_bytes(Encoding.PEM)


def _general_name(domain: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(domain))
    except ValueError:
        return x509.DNSName(domain)


def _check(key: RSAPrivateKey, certificates: list[x509.Certificate], domain: str) -> None:
    leaf = certificates[0]
    if leaf.public_key() != key.public_key():
        raise ValueError("opendsr_certificate is not of opendsr_key; the processor's own certificate comes first")
    try:
        names = list(leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value)
    except x509.ExtensionNotFound:
        names = []
    acceptable = {_general_name(domain), _general_name("*." + domain.partition(".")[2])}
    if acceptable.isdisjoint(names):
        raise ValueError("opendsr_certificate is not for the host of opendsr_url")
