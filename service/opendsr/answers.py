"""What controllers are answered (OpenDSR 2.0, sections 6.3, 7.3, 8.3 and 9.2)."""

import base64
import uuid
from typing import Self

from fastapi import Response
from pydantic import BaseModel, Field

from service.opendsr.processor import Processor
from service.registry import tables
from service.registry.states import RequestStatus, State
from service.registry.training_data.affected_versions import Reach, Reached
from service.registry.webhooks.opendsr_status import outcome_of, timestamp


class SupportedIdentity(BaseModel):
    """A kind of identity."""

    identity_type: str
    identity_format: str


class DiscoveryAnswer(BaseModel):
    """What this processor can do."""

    api_version: str
    supported_identities: list[SupportedIdentity]
    supported_subject_request_types: list[str]
    processor_certificate: str


class ReceiptAnswer(BaseModel):
    """A request was accepted."""

    controller_id: str
    expected_completion_time: str
    received_time: str
    encoded_request: str = Field(description="The body as it was sent, in Base64. It names a person: do not store it.")
    subject_request_id: uuid.UUID

    @classmethod
    def of(cls, row: tables.SubjectRequest, body: bytes) -> Self:
        """From its row and the body, which is kept nowhere: the same body gives the same receipt."""
        return cls(
            controller_id=row.tenant.name,
            expected_completion_time=timestamp(row.due_at),
            received_time=timestamp(row.received_at),
            encoded_request=base64.b64encode(body).decode(),
            subject_request_id=row.subject_request_id,
        )


class ServingRequest(BaseModel):
    """A deletion request that serves this request."""

    id: uuid.UUID
    model: str
    state: State
    href: str


class Erasure(BaseModel):
    """Our extension of a status."""

    outcome: str | None = Field(
        description="`completed`; `nothing_to_do` where the newest version of no model has learned from the person; "
        "`failed`, and may be tried again; `needs_review`, `rejected`, `cancelled`. Nothing while it simply goes on."
    )
    deletion_requests: list[ServingRequest]
    needs_unlearning: int = Field(
        description="Versions that still know the person and that no request under way will replace: earlier ones, "
        "above all. To take them out of use is up to their owner."
    )
    failed_callbacks: int = Field(description="Callbacks of the last 30 days that were given up.")


class StatusAnswer(BaseModel):
    """How far a request is."""

    controller_id: str
    expected_completion_time: str
    subject_request_id: uuid.UUID
    request_status: RequestStatus
    api_version: str
    extensions: dict[str, Erasure]

    @classmethod
    def of(cls, row: tables.SubjectRequest, reached: list[Reached], *, failed_callbacks: int, api_version: str) -> Self:
        """From its row, loaded with the tenant and the deletion requests."""
        serving = row.deletion_requests
        erasure = Erasure(
            outcome=outcome_of([request.state for request in serving]),
            deletion_requests=[
                ServingRequest(
                    id=request.id,
                    model=request.model.name,
                    state=request.state,
                    href=f"/v1/deletion-requests/{request.id}",
                )
                for request in serving
            ],
            needs_unlearning=sum(found.state is Reach.NEEDS_UNLEARNING for found in reached),
            failed_callbacks=failed_callbacks,
        )
        return cls(
            controller_id=row.tenant.name,
            expected_completion_time=timestamp(row.due_at),
            subject_request_id=row.subject_request_id,
            request_status=row.status,
            api_version=api_version,
            extensions={row.domain: erasure},
        )


class CancellationAnswer(BaseModel):
    """A request was withdrawn."""

    controller_id: str
    subject_request_id: uuid.UUID
    received_time: str = Field(description="When the cancellation was received.")
    api_version: str

    @classmethod
    def of(cls, row: tables.SubjectRequest, *, api_version: str) -> Self:
        """From its row."""
        assert row.cancelled_at is not None
        return cls(
            controller_id=row.tenant.name,
            subject_request_id=row.subject_request_id,
            received_time=timestamp(row.cancelled_at),
            api_version=api_version,
        )


def signed(processor: Processor, document: BaseModel, status: int, **headers: str) -> Response:
    """The response, signed over the very bytes that are sent."""
    body = document.model_dump_json().encode()
    more = {"Cache-Control": "no-store", **processor.headers(body), **headers}
    return Response(body, status, more, "application/json")
