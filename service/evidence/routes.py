"""Routes of certificates, of evidence bundles, and of the public keys to check them with."""

from typing import Annotated

from fastapi import APIRouter, Path, Request, Response

from service.evidence import bundle, certificates
from service.evidence.certificates import CERTIFICATE_RESPONSES, PEM, ZIP
from service.evidence.schemas import CertificateAnswer, SigningKeyAnswer
from service.registry.crypto import signing_keys
from service.registry.errors import SigningKeyNotFound
from service.web.dependencies import Auditor, Identifier, ResourcesDep
from service.web.fields import Everything
from service.web.problems import documented

router = APIRouter(prefix="/v1", tags=["Evidence"])

KeyId = Annotated[str, Path(pattern="^[0-9a-f]{64}$", description="The key's identifier.")]


@router.get(
    "/deletion-requests/{request_id}/certificate",
    summary="Read a certificate",
    response_model=CertificateAnswer,
    responses={**CERTIFICATE_RESPONSES, **documented(404)},
)
def read_certificate(request_id: Identifier, request: Request, caller: Auditor, resources: ResourcesDep) -> Response:
    """The signed certificate of a request that ended with a version.

    With `Accept: text/html` or `application/pdf` a rendering of the same facts for people; what is signed is the JSON.
    """
    return certificates.answer(request, certificates.certificate_of(resources, caller, request_id))


@router.get(
    "/deletion-requests/{request_id}/evidence",
    summary="Download the evidence of a request",
    response_class=Response,
    responses={
        200: {"description": "The zip.", "content": {ZIP: {"schema": {"type": "string", "format": "binary"}}}},
        **documented(404),
    },
)
def download_evidence(request_id: Identifier, caller: Auditor, resources: ResourcesDep) -> Response:
    """Everything about a request in one zip: what happened, what was measured, the certificate, and how to check it.

    `README.txt` in it says what each file is. Nothing in it names a person.
    """
    return bundle.answer(resources, caller, request_id)


@router.get("/signing-keys", summary="List signing keys")
def list_signing_keys(_: Auditor, resources: ResourcesDep) -> Everything[SigningKeyAnswer]:
    """The public keys of all keys that ever signed a certificate, the current one first."""
    current, *former = signing_keys.public_keys(resources.settings)
    return Everything(items=[SigningKeyAnswer.of(key, current) for key in (current, *former)])


@router.get(
    "/signing-keys/{key_id}",
    summary="Download a signing key",
    response_class=Response,
    responses={
        200: {"description": "The public key.", "content": {PEM: {"schema": {"type": "string"}}}},
        **documented(404),
    },
)
def read_signing_key(key_id: KeyId, _: Auditor, resources: ResourcesDep) -> Response:
    """A public key as a PEM file, for `structguard verify --key`."""
    for key in signing_keys.public_keys(resources.settings):
        if key.key_id == key_id:
            return Response(key.pem, media_type=PEM)
    raise SigningKeyNotFound
