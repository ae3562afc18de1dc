"""Pseudonyms of people, records and texts in the database."""

import hmac
import uuid
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Pseudonyms:
    """Pseudonyms in a tenant's rows: HMAC-SHA256 with the tenant's key.

    A subject and a record with the same identifier have different pseudonyms.
    """

    key: bytes = field(repr=False)

    def content(self, digest: bytes) -> str:
        """The pseudonym of an uploaded content, given its digest; in hex."""
        return hmac.digest(self.key, b"content\0" + digest, "sha256").hex()

    def text(self, content: str) -> str:
        """The pseudonym of a text that a person wrote; in hex."""
        return hmac.digest(self.key, b"text\0" + content.encode(), "sha256").hex()

    def subject(self, identifier: str) -> bytes:
        """The pseudonym of a data subject, 32 bytes."""
        return hmac.digest(self.key, b"subject\0" + identifier.encode(), "sha256")

    def record(self, identifier: str) -> bytes:
        """The pseudonym of a record of a manifest, 32 bytes."""
        return hmac.digest(self.key, b"record\0" + identifier.encode(), "sha256")

    def commitment(self, request_id: uuid.UUID, samples_hmac: str) -> str:
        """The commitment of a certificate to the images of a request; in hex.

        With the key and the images it can be shown to be of them. Without the key it reveals nothing, not even that
        two requests were for the same images.
        """
        return hmac.digest(self.key, b"commitment\0" + request_id.bytes + bytes.fromhex(samples_hmac), "sha256").hex()
