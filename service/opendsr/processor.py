"""The service as an OpenDSR processor: its domain, and the headers that sign answers and callbacks."""

import base64
from functools import cached_property

from service.opendsr.certified_key import CertifiedKey
from service.settings import ServiceSettings


class Processor:
    """Signs answers and callbacks. Without a configured key, one is generated when it is first needed.

    Raises:
        ValueError: the configured key and certificate do not fit each other, or the domain.
    """

    def __init__(self, settings: ServiceSettings) -> None:
        self.domain = settings.opendsr_domain
        self._settings = settings
        if settings.opendsr_key is not None:
            _ = self._key  # raises now what is wrong with it

    def headers(self, body: bytes) -> dict[str, str]:
        """The headers that sign a body, by the names of version 2 and of version 1."""
        signature = base64.b64encode(self._key.sign(body)).decode()
        return {
            f"X-{name}-{header}": value
            for name in ("OpenDSR", "OpenGDPR")
            for header, value in (("Processor-Domain", self.domain), ("Signature", signature))
        }

    @property
    def certificate(self) -> bytes:
        """The certificate and those that it was issued by, as PEM; the private key is not among them."""
        return self._key.certificate

    @cached_property
    def _key(self) -> CertifiedKey:
        return CertifiedKey(self._settings)
