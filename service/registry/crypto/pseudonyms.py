"""What stands for people in the database."""

import hmac
import uuid
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Pseudonyms:
    """What stands for people, their records and their images in a tenant's rows: HMAC-SHA256 with the tenant's key.

    A subject and a record of the same name have different ones.
    """

    key: bytes = field(repr=False)

    def content(self, digest: bytes) -> str:
        """What stands for something that was sent, given its digest; in hex."""
        return hmac.digest(self.key, b"content\0" + digest, "sha256").hex()

    def text(self, said: str) -> str:
        """What stands for something that somebody wrote; in hex."""
        return hmac.digest(self.key, b"text\0" + said.encode(), "sha256").hex()

    def subject(self, identifier: str) -> bytes:
        """What stands for a person."""
        return hmac.digest(self.key, b"subject\0" + identifier.encode(), "sha256")

    def record(self, identifier: str) -> bytes:
        """What stands for a record of a manifest."""
        return hmac.digest(self.key, b"record\0" + identifier.encode(), "sha256")

    def commitment(self, request_id: uuid.UUID, samples_hmac: str) -> str:
        """What a certificate may say of the images that a request named; in hex.

        Whoever has the key and the images can show that it is of them, and nobody else can tell anything from it: not
        even that two requests were for the same images.
        """
        return hmac.digest(self.key, b"commitment\0" + request_id.bytes + bytes.fromhex(samples_hmac), "sha256").hex()
