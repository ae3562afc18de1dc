"""Answers with a certificate: as the signed JSON, as HTML or as PDF."""

import hashlib
import uuid
from typing import Any

from fastapi import Request, Response

from service.evidence.renderings.facts import document
from service.evidence.renderings.page import SECURITY_HEADERS, page
from service.evidence.renderings.pdf import pdf
from service.registry.access.scopes import Caller
from service.registry.crypto import dsse
from service.registry.crypto.signing_keys import signer
from service.registry.deletion_requests import lifecycle
from service.registry.evidence import certificates
from service.registry.tables import Certificate
from service.web.dependencies import Resources
from service.web.negotiation import HTML, JSON, PDF, matches, preferred

PEM, ZIP = "application/x-pem-file", "application/zip"


def certificate_of(resources: Resources, caller: Caller, request_id: uuid.UUID) -> Certificate:
    """The certificate of a tenant's request; issues it if that was not done yet.

    Raises:
        DeletionRequestNotFound: the tenant has no such request.
        CertificateMissing: the request has made no version, so there is nothing to certify.
        SigningKeyUnusable: it cannot be signed.
    """
    with resources.database.read() as session:
        request = lifecycle.find(session, caller.tenant_id, request_id)
        existing = certificates.find(session, request)
    if existing is not None:
        return existing
    with resources.database.write() as session:
        return certificates.issue(session, request_id, signer(resources.settings), resources.settings)


def answer(request: Request, certificate: Certificate) -> Response:
    """Answer with the signed file or a rendering of it, by the caller's `Accept`.

    A certificate never changes, so neither does its ETag, nor those of its renderings.
    """
    media_type = preferred(request.headers.get("accept", "*/*"))
    content, extra_headers = render(certificate, media_type)
    tag = certificate.sha256 if media_type == JSON else hashlib.sha256(content).hexdigest()
    headers = {
        "ETag": f'"sha256:{tag}"',
        "Vary": "Accept",
        "Cache-Control": "private, no-cache",
        "X-Content-Type-Options": "nosniff",
        **extra_headers,
    }
    if matches(request.headers.get("if-none-match"), headers["ETag"]):
        return Response(status_code=304, headers=headers)
    return Response(content, headers=headers, media_type=media_type)


def render(certificate: Certificate, media_type: str) -> tuple[bytes, dict[str, str]]:
    """The certificate as JSON, HTML or PDF, and the headers that go with it."""
    if media_type == JSON:
        return certificate.body, {}
    contents = document(certificate, dsse.read(certificate.body))
    if media_type == HTML:
        return page(contents).encode(), dict(SECURITY_HEADERS)
    return pdf(contents, certificate.issued_at), {}


CERTIFICATE_RESPONSES: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The certificate, or a rendering of it.",
        "content": {
            HTML: {"schema": {"type": "string"}},
            PDF: {"schema": {"type": "string", "format": "binary"}},
        },
        "headers": {
            "ETag": {"description": "Strong; one for each form.", "required": True, "schema": {"type": "string"}}
        },
    },
    304: {"description": "The caller has it already, says `If-None-Match`."},
}
"""OpenAPI descriptions of the answers."""
