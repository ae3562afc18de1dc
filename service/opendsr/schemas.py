"""Bodies of OpenDSR 2.0: requests of controllers (sections 5.3 and 7.1), and answers (sections 6.3, 7.3, 8.3 and 9.2).

Unknown fields, such as extensions for other processors, are ignored.
"""

import base64
import re
import uuid
from typing import Annotated, Any, Literal, Self

from fastapi.exceptions import RequestValidationError
from pydantic import (
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    model_validator,
)

from service.registry import tables
from service.registry.fields import NAME, Unique
from service.registry.states import RequestStatus, State
from service.registry.training_data.affected_versions import AffectedVersion, Reach
from service.registry.webhooks.opendsr_status import outcome_of, timestamp
from service.web.fields import RecordIdentifier, WebhookUrl

_GUID = "[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}"
_HEX_DIGITS = {"md5": 32, "sha1": 40, "sha256": 64}


def _rfc3339(value: object) -> object:
    if not isinstance(value, str) or not re.match(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d", value):
        raise ValueError("must be a date and time with its offset, as of RFC 3339")
    return value


def _guid(value: object) -> object:
    if not isinstance(value, str) or not re.fullmatch(_GUID, value):
        raise ValueError("must be a UUID of version 4, in lower case")
    return value


class Identity(BaseModel):
    """One way of naming the person."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    identity_type: Literal[
        "controller_customer_id",
        "android_advertising_id",
        "android_id",
        "email",
        "fire_advertising_id",
        "ios_advertising_id",
        "ios_vendor_id",
        "microsoft_advertising_id",
        "microsoft_publisher_id",
        "roku_publisher_id",
        "roku_advertising_id",
    ]
    identity_value: RecordIdentifier
    identity_format: Literal["raw", "sha1", "md5", "sha256"]

    @model_validator(mode="after")
    def _digests_are_hex(self) -> Self:
        digits = _HEX_DIGITS.get(self.identity_format)
        if digits is not None and not re.fullmatch(f"[0-9a-fA-F]{{{digits}}}", self.identity_value):
            raise ValueError(f"identity_value must have {digits} hexadecimal digits in this format")
        return self

    @property
    def kind(self) -> str:
        """`type:format`, as in the setting `opendsr_identities`."""
        return f"{self.identity_type}:{self.identity_format}"

    @property
    def subject_id(self) -> str:
        """The `subject_id` of the person in training manifests; digests are in lower case there."""
        return self.identity_value if self.identity_format == "raw" else self.identity_value.lower()


class RequestExtension(BaseModel):
    """This processor's extension of a request: the only models that are meant."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    models: Annotated[Unique[Annotated[str, Field(pattern=NAME)]], Field(min_length=1, max_length=100)]


class SubjectRequestBody(BaseModel):
    """A data subject request, as of version 2."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    regulation: Literal["gdpr", "ccpa"] = Field(description="Sets the deadline.")
    subject_request_id: Annotated[uuid.UUID, BeforeValidator(_guid)] = Field(
        description="The controller's own. Sent again with the same body, it is the same request.",
        json_schema_extra={"pattern": f"^{_GUID}$"},
    )
    subject_request_type: Literal["access", "portability", "erasure"] = Field(
        description="Only those that the discovery document lists are accepted."
    )
    submitted_time: Annotated[AwareDatetime, BeforeValidator(_rfc3339)]
    subject_identities: list[Identity] = Field(
        min_length=1, max_length=50, description="All of one person. Those of a kind that is not supported are ignored."
    )
    api_version: str | None = Field(default=None, pattern=r"^2(\.[0-9]{1,3}){0,2}$")
    status_callback_urls: Annotated[Unique[WebhookUrl], Field(max_length=10)] = Field(
        default=[], description="Each is told of every change of the status."
    )
    extensions: dict[str, Any] = Field(
        default={},
        description="By the processor's domain. Ours may hold `models`, names of the only models that are meant.",
    )

    def extension(self, domain: str) -> RequestExtension | None:
        """The extension for the processor of `domain`, if there is one.

        Raises:
            RequestValidationError: it is not valid.
        """
        if domain not in self.extensions:
            return None
        try:
            return RequestExtension.model_validate(self.extensions[domain])
        except ValidationError as error:
            items = error.errors(include_url=False, include_context=False, include_input=False)
            location = ("body", "extensions", domain)
            raise RequestValidationError([{**item, "loc": (*location, *item["loc"])} for item in items]) from error


class SubjectRequestBodyV1(SubjectRequestBody):
    """A data subject request, as of version 1, which knew one regulation."""

    regulation: Literal["gdpr", "ccpa"] = "gdpr"
    api_version: str | None = Field(default=None, pattern=r"^[01](\.[0-9]{1,3}){0,2}$")


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
        """From its row and the body, which is not stored: the same body gives the same receipt."""
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
    def of(
        cls, row: tables.SubjectRequest, affected: list[AffectedVersion], *, failed_callbacks: int, api_version: str
    ) -> Self:
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
            needs_unlearning=sum(version.state is Reach.NEEDS_UNLEARNING for version in affected),
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
