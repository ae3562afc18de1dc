"""The processor that is checked, and how requests to it look."""

import contextlib
import hashlib
import json
import secrets
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from typing import Any

import httpx
from cryptography import x509

from service.cli.opendsr import signatures
from service.cli.opendsr.receiver import Receiver

_TIMEOUT = 30.0  # seconds


class Missed(Exception):
    """The processor does not do what the check asks for."""


class Skipped(Exception):
    """The check cannot be tried here."""


@dataclass
class Target:
    """One processor, at one address. `known` names a person whom it knows; everybody else is made up."""

    http: httpx.Client
    prefix: str
    authorization: Mapping[str, str] = field(repr=False)
    known: Mapping[str, str] | None = field(repr=False)
    receiver: Receiver | None
    is_self_signed_fine: bool
    authorities: bytes | None
    _created: list[str] = field(default_factory=list)

    def call(
        self, method: str, path: str, *, content: bytes | None = None, is_signed_in: bool = True
    ) -> httpx.Response:
        """Ask the processor something."""
        headers = {"Accept": "application/json"}
        if content is not None:
            headers["Content-Type"] = "application/json"
        return self.http.request(
            method, path, content=content, headers=headers | dict(self.authorization if is_signed_in else {})
        )

    def create(self, body: Mapping[str, Any], path: str | None = None) -> httpx.Response:
        """Send a request."""
        answer = self.call("POST", path or f"{self.prefix}/requests", content=json.dumps(body).encode())
        if answer.is_success:
            self._created.append(str(body.get("subject_request_id")))
        return answer

    def status(self, subject_request_id: str) -> httpx.Response:
        """Ask how far a request is."""
        return self.call("GET", f"{self.prefix}/requests/{subject_request_id}")

    def cancel(self, subject_request_id: str) -> httpx.Response:
        """Withdraw a request."""
        return self.call("DELETE", f"{self.prefix}/requests/{subject_request_id}")

    def request(self, *, names_known: bool = False, **changed: Any) -> dict[str, Any]:
        """A request that is right, but for what is changed; what is None is left out."""
        body = {
            "regulation": "gdpr",
            "subject_request_id": str(uuid.uuid4()),
            "subject_request_type": self.supported_type,
            "submitted_time": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "subject_identities": [dict(self.known) if names_known and self.known else self.nobody()],
            "api_version": "2.0",
        }
        return {name: value for name, value in (body | changed).items() if value is not None}

    def nobody(self) -> dict[str, str]:
        """A person whom nobody knows, of the first kind that the processor supports."""
        kind = {"identity_type": "controller_customer_id", "identity_format": "raw"}
        with contextlib.suppress(Skipped, KeyError, IndexError, TypeError):
            first = self.discovery["supported_identities"][0]
            kind = {name: first[name] for name in kind}
        value = f"opendsr-check-{secrets.token_hex(8)}"
        if kind["identity_format"] in {"md5", "sha1", "sha256"}:
            value = hashlib.new(kind["identity_format"], value.encode(), usedforsecurity=False).hexdigest()
        return kind | {"identity_value": value}

    @property
    def supported_type(self) -> str:
        """A type of request that the processor supports: `erasure`, if that is one of them."""
        with contextlib.suppress(Skipped, KeyError, IndexError, TypeError):
            types = self.discovery["supported_subject_request_types"]
            return "erasure" if "erasure" in types else str(types[0])
        return "erasure"

    @cached_property
    def discovery(self) -> dict[str, Any]:
        """The discovery document."""
        try:
            document = self.call("GET", f"{self.prefix}/discovery").json()
        except ValueError:
            document = None
        if not isinstance(document, dict):
            raise Skipped("there is no discovery document")
        return document

    @cached_property
    def certificates(self) -> list[x509.Certificate]:
        """The processor's certificate, and those that it was issued by."""
        try:
            answer = self.http.get(str(self.discovery.get("processor_certificate")))
            return signatures.certificates(answer.content)
        except (ValueError, httpx.HTTPError, httpx.InvalidURL) as error:
            raise Skipped("there is no certificate") from error

    def tidy_up(self) -> None:
        """Withdraw what was created and can be; what cannot be named nobody."""
        for subject_request_id in self._created:
            with contextlib.suppress(httpx.HTTPError):
                self.cancel(subject_request_id)


@contextmanager
def connected(url: str, **more: Any) -> Iterator[Target]:
    """The processor at this address."""
    host = httpx.URL(url).host
    # A company's proxy cannot reach a server on this machine.
    is_near = host in {"127.0.0.1", "localhost", "::1"}
    with httpx.Client(base_url=url.rstrip("/"), timeout=_TIMEOUT, trust_env=not is_near) as http:
        yield Target(http, **more)
