"""OpenDSR 2.0, and the routes of version 1: a controller asks the service, its processor, to erase a person.

docs/opendsr.md says how the specification is read where it is silent or contradicts itself.
"""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request, Response
from pydantic import BaseModel

from service.opendsr import erasure
from service.opendsr.errors import documented
from service.opendsr.processor import Processor
from service.opendsr.schemas import (
    CancellationAnswer,
    DiscoveryAnswer,
    ReceiptAnswer,
    StatusAnswer,
    SubjectRequestBody,
    SubjectRequestBodyV1,
    SupportedIdentity,
)
from service.registry.deletion_requests import subject_requests
from service.registry.training_data import affected_versions
from service.web.dependencies import (
    Canceller,
    Creator,
    Identifier,
    ReadSession,
    RequestReader,
    ResourcesDep,
    WriteSession,
)

v2 = APIRouter(tags=["OpenDSR 2.0"])
"""Served under `/v2`, as the specification demands, and without a prefix, as in its examples."""

v1 = APIRouter(tags=["OpenDSR 1"])
"""Served under `/v1` and without a prefix: version 2 keeps these routes (section 10.1)."""

v1_discovery = APIRouter(prefix="/v1", tags=["OpenDSR 1"])
"""Only under `/v1`: `/discovery` is that of version 2."""

_ID = "/{subject_request_id}"
_CREATE: dict[str, Any] = {
    "status_code": 201,
    "response_model": ReceiptAnswer,
    "responses": documented(400, 401, 403, 409, 413, 429, 503, 507),
}
_STATUS: dict[str, Any] = {"response_model": StatusAnswer, "responses": documented(401, 403, 404, 429, 503)}
_CANCEL: dict[str, Any] = {
    "status_code": 202,
    "response_model": CancellationAnswer,
    "responses": documented(401, 403, 404, 409, 429, 503),
}


async def _raw_body(request: Request) -> bytes:
    return await request.body()


Body = Annotated[bytes, Depends(_raw_body)]
"""The body as it was sent: the receipt repeats it byte for byte."""


def _api_version(request: Request) -> str:
    is_first = request.url.path.startswith(("/v1/", "/opengdpr_requests"))
    return "1.0" if is_first else "2.0"


ApiVersion = Annotated[str, Depends(_api_version)]
"""The version of OpenDSR that the path belongs to: `1.0` or `2.0`."""


async def _processor(request: Request) -> Processor:
    processor: Processor = request.state.processor
    return processor


ProcessorDep = Annotated[Processor, Depends(_processor)]
"""Signs the answers."""


@v1_discovery.get("/discovery", name="discover_processor_v1", summary="Discover this processor (v1)")
@v2.get("/discovery", summary="Discover this processor")
def discover_processor(request: Request, resources: ResourcesDep, api_version: ApiVersion) -> DiscoveryAnswer:
    """Which identities and types of requests are supported, and where the certificate is. Anybody may ask."""
    origin = resources.settings.opendsr_url or str(request.base_url).rstrip("/")
    kinds = (kind.split(":") for kind in sorted(resources.settings.opendsr_identities))
    return DiscoveryAnswer(
        api_version=api_version,
        supported_identities=[
            SupportedIdentity(identity_type=type_, identity_format=format_) for type_, format_ in kinds
        ],
        supported_subject_request_types=[erasure.ERASURE],
        processor_certificate=f"{origin}/v2/cert.pem",
    )


@v2.get("/cert.pem", summary="Read the processor's certificate", response_class=Response)
def read_processor_certificate(processor: ProcessorDep) -> Response:
    """The X.509 certificate that answers and callbacks are signed by, as PEM. Anybody may ask."""
    return Response(processor.certificate, media_type="application/pem-certificate-chain")


@v2.post("/requests", summary="Ask to erase a person", **_CREATE)
def create_subject_request(
    content: SubjectRequestBody,
    caller: Creator,
    request: Request,
    body: Body,
    resources: ResourcesDep,
    processor: ProcessorDep,
) -> Response:
    """Accept a request of the type `erasure`: a deletion request for each model that has learned from the person.

    After the 201 it cannot be lost. The same body again gets the same answer.
    """
    subject_request = erasure.accept(resources, caller, content, body)
    location = f"{request.url.path}/{subject_request.subject_request_id}"
    return _signed(processor, ReceiptAnswer.of(subject_request, body), 201, Location=location)


@v1.post("/opengdpr_requests", summary="Ask to erase a person (v1)", **_CREATE)
def create_subject_request_v1(
    content: SubjectRequestBodyV1,
    caller: Creator,
    request: Request,
    body: Body,
    resources: ResourcesDep,
    processor: ProcessorDep,
) -> Response:
    """As of version 1, which has no `regulation`."""
    return create_subject_request(content, caller, request, body, resources, processor)


@v1.get(f"/opengdpr_requests{_ID}", name="read_subject_request_v1", summary="Read the status (v1)", **_STATUS)
@v2.get(f"/status{_ID}", name="read_subject_request_status", summary="Read the status, by its other name", **_STATUS)
@v2.get(f"/requests{_ID}", summary="Read the status", **_STATUS)
def read_subject_request(
    subject_request_id: Identifier,
    caller: RequestReader,
    session: ReadSession,
    processor: ProcessorDep,
    api_version: ApiVersion,
) -> Response:
    """How far a request is, and in `extensions` which deletion requests serve it."""
    subject_request = subject_requests.find(session, caller.tenant_id, subject_request_id)
    answer = StatusAnswer.of(
        subject_request,
        affected_versions.of_subject_request(session, subject_request),
        failed_callbacks=subject_requests.failed_callbacks(session, subject_request),
        api_version=api_version,
    )
    return _signed(processor, answer, 200)


@v1.delete(f"/opengdpr_requests{_ID}", name="cancel_subject_request_v1", summary="Withdraw a request (v1)", **_CANCEL)
@v2.delete(f"/requests{_ID}", summary="Withdraw a request", **_CANCEL)
def cancel_subject_request(
    subject_request_id: Identifier,
    caller: Canceller,
    session: WriteSession,
    processor: ProcessorDep,
    api_version: ApiVersion,
) -> Response:
    """Withdraw a request that is still `pending`, with all its deletion requests."""
    subject_request = subject_requests.withdraw(
        session, subject_requests.find(session, caller.tenant_id, subject_request_id)
    )
    return _signed(processor, CancellationAnswer.of(subject_request, api_version=api_version), 202)


def _signed(processor: Processor, document: BaseModel, status: int, **headers: str) -> Response:
    """The response, signed over the very bytes that are sent."""
    body = document.model_dump_json().encode()
    all_headers = {"Cache-Control": "no-store", **processor.headers(body), **headers}
    return Response(body, status, all_headers, "application/json")
