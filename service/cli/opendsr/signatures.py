"""Certificates and signatures, as docs/opendsr.md reads sections 4.1, 4.2 and 6.3."""

import base64
import warnings
from collections.abc import Mapping
from datetime import UTC, datetime
from ipaddress import ip_address

import httpx
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.padding import MGF1, PSS, PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.x509.verification import PolicyBuilder, Store, VerificationError

_PADDINGS = (PKCS1v15(), PSS(MGF1(SHA256()), PSS.AUTO))
_MIN_BITS = 2048


def certificates(content: bytes) -> list[x509.Certificate]:
    """Parse a certificate and the chain of its issuers in PEM, or one certificate in DER.

    Raises:
        ValueError: it is neither.
    """
    if b"-----BEGIN" in content:
        return x509.load_pem_x509_certificates(content)
    return [x509.load_der_x509_certificate(content)]


def fault_of_key(certificate: x509.Certificate) -> str | None:
    """What keeps the certificate from being used for signatures now, if anything."""
    key = certificate.public_key()
    if not isinstance(key, RSAPublicKey):
        return "its key is not RSA"
    if key.key_size < _MIN_BITS:
        return f"its key has {key.key_size} bits; {_MIN_BITS} are the least"
    if not certificate.not_valid_before_utc <= datetime.now(UTC) <= certificate.not_valid_after_utc:
        return "it is not valid at this time"
    return None


def is_issued_for(certificate: x509.Certificate, domain: str) -> bool:
    """Whether the certificate names the domain, or the wildcard of its parent domain."""
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return False
    try:
        return ip_address(domain) in names.get_values_for_type(x509.IPAddress)
    except ValueError:
        dns_names = {name.lower() for name in names.get_values_for_type(x509.DNSName)}
        return not dns_names.isdisjoint({domain.lower(), f"*.{domain.lower().partition('.')[2]}"})


def is_trusted(chain: list[x509.Certificate], domain: str, authorities: bytes | None) -> bool:
    """Whether the chain leads to one of these authorities (PEM), or by default to one that httpx trusts."""
    if authorities is not None:
        roots = x509.load_pem_x509_certificates(authorities)
    else:
        trusted = httpx.create_ssl_context().get_ca_certs(binary_form=True)
        with warnings.catch_warnings():  # about old roots with unusual encodings
            warnings.simplefilter("ignore")
            roots = [x509.load_der_x509_certificate(root) for root in trusted]
    try:
        PolicyBuilder().store(Store(roots)).build_server_verifier(x509.DNSName(domain)).verify(chain[0], chain[1:])
    except (VerificationError, ValueError):
        return False
    return True


def fault_of_signature(certificate: x509.Certificate, headers: Mapping[str, str], body: bytes, name: str) -> str | None:
    """What is wrong with the signature of a body, if anything; `name` is `OpenDSR` or `OpenGDPR`."""
    header = f"X-{name}-Signature"
    if header not in headers:
        return f"there is no {header}"
    try:
        signature = base64.b64decode("".join(headers[header].split()), validate=True)
    except ValueError:
        return f"{header} is not Base64"
    key = certificate.public_key()
    if not isinstance(key, RSAPublicKey):
        return "the certificate's key is not RSA"
    for padding in _PADDINGS:
        try:
            key.verify(signature, body, padding, SHA256())
        except InvalidSignature:
            continue
        return None
    return f"{header} is not the certificate's, over SHA-256 of the body"
