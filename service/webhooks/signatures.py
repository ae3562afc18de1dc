"""Signatures by Standard Webhooks 1.0.0, as pure functions.

https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md, "Verifying webhook
authenticity": what is signed is `id.timestamp.body`. `v1` is HMAC-SHA256 by a shared secret, `v1a` is
Ed25519, for which a receiver needs only the public key. Several signatures stand side by side, so that a secret can be
rotated.
"""

import base64
import hmac
from collections.abc import Sequence

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey


def signed_headers(
    message_id: str, timestamp: int, body: bytes, *, secrets: Sequence[bytes], private_key: bytes
) -> dict[str, str]:
    """The three headers of one attempt; `timestamp` is its time, in seconds since 1970."""
    content = b".".join((message_id.encode(), str(timestamp).encode(), body))
    signatures = [f"v1,{_base64(hmac.digest(secret, content, 'sha256'))}" for secret in secrets]
    signatures.append(f"v1a,{_base64(_ed25519(private_key).sign(content))}")
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": " ".join(signatures),
    }


def shown_secret(secret: bytes) -> str:
    """The symmetric secret as the API shows it: `whsec_` and base64."""
    return f"whsec_{_base64(secret)}"


def shown_public_key(private_key: bytes) -> str:
    """The public half of the Ed25519 key as the API shows it: `whpk_` and base64."""
    return f"whpk_{_base64(_ed25519(private_key).public_key().public_bytes_raw())}"


def _ed25519(private_key: bytes) -> Ed25519PrivateKey:
    return Ed25519PrivateKey.from_private_bytes(private_key)


def _base64(content: bytes) -> str:
    return base64.b64encode(content).decode()
