"""A small OpenDSR processor in memory, right in everything but what a test asks it to get wrong."""

import base64
import json
import re
import urllib.request
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from tests.service.cli.scripted_server import Answer, Request

AUTHORIZATION = "Bearer small"
DAY = timedelta(days=1)
KNOWN = "4711"  # the only person there is
REQUIRED = ("regulation", "subject_request_id", "subject_request_type", "submitted_time", "subject_identities")


def now(**delta):
    return (datetime.now(UTC) + timedelta(**delta)).strftime("%Y-%m-%dT%H:%M:%SZ")


def key(owner, bits=2048):
    return _key(owner, bits)  # a cache takes a default for another argument


@cache
def _key(owner, bits):
    return generate_private_key(public_exponent=65537, key_size=bits)


@cache
def authority():
    """The certificate of an authority that signs for anybody."""
    subject = x509.SubjectKeyIdentifier.from_public_key(key("authority").public_key())
    return (
        _builder("authority", "authority")
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(x509.KeyUsage(*(False,) * 5, True, True, False, False), critical=True)
        .add_extension(subject, critical=False)
        .sign(key("authority"), SHA256())
    )


@cache
def certificate(host="localhost", days=1, bits=2048, is_self_signed=False):
    """For the small processor's key."""
    issuer = "processor" if is_self_signed else "authority"
    return (
        _builder("processor", issuer, days, bits)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=False)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(key(issuer).public_key()), critical=False)
        .sign(key(issuer), SHA256())
    )


def _builder(owner, issuer, days=1, bits=2048):
    subject_name, issuer_name = (x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]) for name in (owner, issuer))
    return x509.CertificateBuilder(
        issuer_name=issuer_name,
        subject_name=subject_name,
        public_key=key(owner, bits).public_key(),
        serial_number=x509.random_serial_number(),
        not_valid_before=datetime.now(UTC) - 9 * DAY,
        not_valid_after=datetime.now(UTC) + days * DAY,
    )


@dataclass
class Reply:
    """One answer before it is sent; `kind` says what it is about."""

    kind: str
    status: int
    document: dict
    headers: dict = field(default_factory=dict)


@dataclass
class SmallProcessor:
    """Answers `scripted`. `change` alters what is signed afterwards, `spoil` what was signed already."""

    change: Callable[[Reply], None] = lambda _: None
    spoil: Callable[[Reply], None] = lambda _: None
    certificate: x509.Certificate = field(default_factory=certificate)
    bits: int = 2048
    routes: str = r"(/v2)?/(discovery|requests|status)|/opengdpr_requests"
    believes: bool = False  # everything that it is sent
    guards_discovery: bool = False
    guards_requests: bool = True
    forgets: bool = False  # that it was sent a request before
    minds_extensions: bool = False  # of others
    calls_back: bool = True
    address: str = ""
    _requests: dict = field(default_factory=dict)

    def __call__(self, request: Request) -> Answer:
        if request.path == "/cert.pem":
            reply = Reply("certificate", 200, {})
            self.change(reply)
            return Answer(reply.headers.get("body") or self.certificate.public_bytes(Encoding.PEM), reply.status)
        path, _, identifier = request.path.partition("?")[0].rpartition("/")
        if re.fullmatch(self.routes, request.path):
            path, identifier = request.path, ""
        if not re.fullmatch(self.routes, path):
            return self._send(Reply("error", 404, _error(404, "nothing is here")))
        if path.endswith("/discovery"):
            if self.guards_discovery and not _is_signed_in(request):
                return self._send(Reply("error", 401, _error(401, "who is there?")))
            return self._send(self._discovery())
        if self.guards_requests and not _is_signed_in(request):
            return self._send(Reply("error", 401, _error(401, "who is there?")))
        if request.method == "POST":
            return self._send(self._create(request.body, is_first="gdpr" in path))
        if identifier not in self._requests:
            if self.believes:
                self._requests[identifier] = (b"", [], "pending")
            else:
                return self._send(Reply("error", 404, _error(404, "nothing is here")))
        return self._send(self._status(identifier) if request.method == "GET" else self._cancel(identifier))

    def _discovery(self):
        return Reply(
            "discovery",
            200,
            {
                "api_version": "2.0",
                "supported_identities": [{"identity_type": "controller_customer_id", "identity_format": "raw"}],
                "supported_subject_request_types": ["erasure"],
                "processor_certificate": f"{self.address}/cert.pem",
            },
        )

    def _create(self, body, *, is_first):
        try:
            document = json.loads(body)
        except ValueError:
            document = None
        if not self.believes and (wrong := _wrong(document, is_first=is_first)):
            return Reply("error", 400, _error(400, wrong))
        document = document or {}
        if self.minds_extensions and "extensions" in document:
            return Reply("error", 400, _error(400, "extensions are unknown"))
        identifier = document.get("subject_request_id")
        known = self._requests.get(identifier)
        if known and known[0] != body and not self.forgets:
            return Reply("error", 409, _error(409, "that was another request"))
        if not known or self.forgets:
            is_known = any(person.get("identity_value") == KNOWN for person in document.get("subject_identities") or ())
            self._requests[identifier] = (body, document, "pending" if is_known else "completed")
            if not is_known:
                self._call(identifier)
        times = {"received_time": now(), "expected_completion_time": now(days=30)}
        if not self.forgets:
            self._requests.setdefault(("times", identifier), times)
            times = self._requests["times", identifier]
        receipt = {"controller_id": "7", "encoded_request": base64.b64encode(body).decode(), **times}
        if self.forgets:
            receipt["receipt_id"] = uuid.uuid4().hex
        return Reply("receipt", 201, receipt | {"subject_request_id": identifier})

    def _status(self, identifier):
        return Reply("status", 200, self._told(identifier) | {"api_version": "2.0"})

    def _told(self, identifier):
        return {
            "controller_id": "7",
            "expected_completion_time": now(days=30),
            "subject_request_id": identifier,
            "request_status": self._requests[identifier][2],
        }

    def _cancel(self, identifier):
        body, document, status = self._requests[identifier]
        if status != "pending" and not self.believes:
            return Reply("error", 409, _error(409, "it has ended"))
        self._requests[identifier] = (body, document, "cancelled")
        self._call(identifier)
        return Reply(
            "cancellation", 202, {"controller_id": "7", "received_time": now(), "subject_request_id": identifier}
        )

    def _call(self, identifier):
        document = self._requests[identifier][1]
        for url in (document or {}).get("status_callback_urls") or () if self.calls_back else ():
            reply = Reply("callback", 0, self._told(identifier) | {"status_callback_url": url})
            sent = self._send(reply)
            with urllib.request.urlopen(urllib.request.Request(url, sent.body, sent.headers)) as answer:
                assert answer.status == 202

    def _send(self, reply):
        self.change(reply)
        body = json.dumps(reply.document).encode()
        signature = base64.b64encode(key("processor", self.bits).sign(body, PKCS1v15(), SHA256())).decode()
        reply.headers |= {"Content-Type": "application/json", "Cache-Control": "no-store"}
        if reply.kind in ("receipt", "status", "cancellation", "callback"):
            for name in ("OpenDSR", "OpenGDPR"):
                reply.headers |= {f"X-{name}-Processor-Domain": "localhost", f"X-{name}-Signature": signature}
        self.spoil(reply)
        return Answer(body, reply.status, reply.headers)


def _is_signed_in(request):
    return request.headers.get("Authorization") == AUTHORIZATION


def _error(code, message):
    return {"error": {"code": code, "message": message}}


def _wrong(document, *, is_first):
    if not isinstance(document, dict):
        return "that is no JSON object"
    missing = [name for name in REQUIRED if not document.get(name) and not (is_first and name == "regulation")]
    if missing:
        return f"{missing[0]} field is required"
    if document.get("regulation", "gdpr") not in ("gdpr", "ccpa"):
        return "regulation is unknown"
    try:
        if uuid.UUID(document["subject_request_id"]).version != 4:
            return "subject_request_id is of another version"
        datetime.fromisoformat(document["submitted_time"])
    except ValueError:
        return "subject_request_id or submitted_time is malformed"
    if document["subject_request_type"] != "erasure":
        return "subject_request_type is not supported"
    for person in document["subject_identities"]:
        if person.get("identity_type") not in ("controller_customer_id", "email") or not person.get("identity_value"):
            return "an identity is malformed"
        if person.get("identity_format") not in ("raw", "sha1", "md5", "sha256"):
            return "an identity has a format that is unknown"
    return None
