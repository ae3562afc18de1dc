"""The processor that is checked, and the requests that are sent to it."""

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


class CheckFailed(Exception):
    """The processor does not do what the check asks for."""


class CheckSkipped(Exception):
    """The check cannot be tried here."""


@dataclass
class Target:
    """One processor, at one address. `known_identity` is of a person whom it knows; all others are made up."""

    http: httpx.Client
    prefix: str
    authorization: Mapping[str, str] = field(repr=False)
    known_identity: Mapping[str, str] | None = field(repr=False)
    receiver: Receiver | None
    allow_self_signed: bool
    authorities: bytes | None
    _created: list[str] = field(default_factory=list)

    def call(
        self, method: str, path: str, *, content: bytes | None = None, is_authenticated: bool = True
    ) -> httpx.Response:
        """Send an HTTP request to the processor."""
        headers = {"Accept": "application/json"}
        if content is not None:
            headers["Content-Type"] = "application/json"
        return self.http.request(
            method, path, content=content, headers=headers | dict(self.authorization if is_authenticated else {})
        )

    def create(self, body: Mapping[str, Any], path: str | None = None) -> httpx.Response:
        """Send an OpenDSR request, to be cancelled by `tidy_up`."""
        response = self.call("POST", path or f"{self.prefix}/requests", content=json.dumps(body).encode())
        if response.is_success:
            self._created.append(str(body.get("subject_request_id")))
        return response

    def status(self, subject_request_id: str) -> httpx.Response:
        """Fetch the status of a request."""
        return self.call("GET", f"{self.prefix}/requests/{subject_request_id}")

    def cancel(self, subject_request_id: str) -> httpx.Response:
        """Cancel a request."""
        return self.call("DELETE", f"{self.prefix}/requests/{subject_request_id}")

    def request(self, *, with_known_identity: bool = False, **overrides: Any) -> dict[str, Any]:
        """A valid request but for `overrides`; fields that are None are left out."""
        identity = self.known_identity if with_known_identity and self.known_identity else self.unknown_identity()
        body = {
            "regulation": "gdpr",
            "subject_request_id": str(uuid.uuid4()),
            "subject_request_type": self.supported_type,
            "submitted_time": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "subject_identities": [dict(identity)],
            "api_version": "2.0",
        }
        return {name: value for name, value in (body | overrides).items() if value is not None}

    def unknown_identity(self) -> dict[str, str]:
        """An identity that no processor knows, of the first type and format that discovery lists."""
        kind = {"identity_type": "controller_customer_id", "identity_format": "raw"}
        with contextlib.suppress(CheckSkipped, KeyError, IndexError, TypeError):
            first = self.discovery["supported_identities"][0]
            kind = {name: first[name] for name in kind}
        value = f"opendsr-check-{secrets.token_hex(8)}"
        if kind["identity_format"] in {"md5", "sha1", "sha256"}:
            value = hashlib.new(kind["identity_format"], value.encode(), usedforsecurity=False).hexdigest()
        return kind | {"identity_value": value}

    @property
    def supported_type(self) -> str:
        """A type of request that the processor supports: `erasure`, if that is one of them."""
        with contextlib.suppress(CheckSkipped, KeyError, IndexError, TypeError):
            types = self.discovery["supported_subject_request_types"]
            return "erasure" if "erasure" in types else str(types[0])
        return "erasure"

    @cached_property
    def discovery(self) -> dict[str, Any]:
        """The discovery document.

        Raises:
            CheckSkipped: there is none.
        """
        try:
            document = self.call("GET", f"{self.prefix}/discovery").json()
        except ValueError:
            document = None
        if not isinstance(document, dict):
            raise CheckSkipped("there is no discovery document")
        return document

    @cached_property
    def certificates(self) -> list[x509.Certificate]:
        """The processor's certificate and the chain of its issuers.

        Raises:
            CheckSkipped: there is none.
        """
        try:
            response = self.http.get(str(self.discovery.get("processor_certificate")))
            return signatures.certificates(response.content)
        except (ValueError, httpx.HTTPError, httpx.InvalidURL) as error:
            raise CheckSkipped("there is no certificate") from error

    def tidy_up(self) -> None:
        """Cancel the requests that were created, where the processor still can."""
        for subject_request_id in self._created:
            with contextlib.suppress(httpx.HTTPError):
                self.cancel(subject_request_id)


@contextmanager
def connect(url: str, **fields: Any) -> Iterator[Target]:
    """The processor at this address; `fields` are those of `Target`."""
    host = httpx.URL(url).host
    # A company's proxy cannot reach a server on this machine.
    is_near = host in {"127.0.0.1", "localhost", "::1"}
    with httpx.Client(base_url=url.rstrip("/"), timeout=_TIMEOUT, trust_env=not is_near) as http:
        yield Target(http, **fields)
