"""Certificates as the service hands them out, in three forms."""

import hashlib
import uuid
from typing import Any

from fastapi import Request, Response

from service.evidence.renderings.facts import document
from service.evidence.renderings.page import SECURITY, page
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
    """The certificate of a tenant's request; if none was issued yet, it is now.

    Raises:
        DeletionRequestNotFound, CertificateMissing: there is none, and will be none as things are.
        SigningKeyUnusable: it cannot be signed.
    """
    with resources.database.read() as session:
        request = lifecycle.find(session, caller.tenant_id, request_id)
        known = certificates.find(session, request)
    if known is not None:
        return known
    with resources.database.write() as session:
        return certificates.issue(session, request_id, signer(resources.settings), resources.settings)


def answer(request: Request, certificate: Certificate) -> Response:
    """The certificate in the form that the caller likes best: the signed file, or a rendering of it.

    A certificate never changes, so neither does its ETag, nor those of its renderings.
    """
    kind = preferred(request.headers.get("accept", "*/*"))
    content, more = rendered(certificate, kind)
    tag = certificate.sha256 if kind == JSON else hashlib.sha256(content).hexdigest()
    headers = {
        "ETag": f'"sha256:{tag}"',
        "Vary": "Accept",
        "Cache-Control": "private, no-cache",
        "X-Content-Type-Options": "nosniff",
        **more,
    }
    if matches(request.headers.get("if-none-match"), headers["ETag"]):
        return Response(status_code=304, headers=headers)
    return Response(content, headers=headers, media_type=kind)


def rendered(certificate: Certificate, kind: str) -> tuple[bytes, dict[str, str]]:
    """The certificate in one form, and the headers that go with it."""
    if kind == JSON:
        return certificate.body, {}
    words = document(certificate, dsse.read(certificate.body))
    if kind == HTML:
        return page(words).encode(), dict(SECURITY)
    return pdf(words, certificate.issued_at), {}


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
"""How the answers are described."""
