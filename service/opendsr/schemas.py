"""What controllers send (OpenDSR 2.0, sections 5.3 and 7.1). What they add for others is let be."""

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

from service.registry.fields import NAME, Unique
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
        """Type and format, as `opendsr_identities` has them."""
        return f"{self.identity_type}:{self.identity_format}"

    @property
    def subject_id(self) -> str:
        """What training manifests have for the person; digests there are in lower case."""
        return self.identity_value if self.identity_format == "raw" else self.identity_value.lower()


class Erasing(BaseModel):
    """Our extension of a request."""

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

    def erasing(self, domain: str) -> Erasing | None:
        """Our extension, if there is one.

        Raises:
            RequestValidationError: it is not valid.
        """
        if domain not in self.extensions:
            return None
        try:
            return Erasing.model_validate(self.extensions[domain])
        except ValidationError as error:
            found = error.errors(include_url=False, include_context=False, include_input=False)
            place = ("body", "extensions", domain)
            raise RequestValidationError([{**item, "loc": (*place, *item["loc"])} for item in found]) from error


class SubjectRequestBodyV1(SubjectRequestBody):
    """A data subject request, as of version 1, which knew one regulation."""

    regulation: Literal["gdpr", "ccpa"] = "gdpr"
    api_version: str | None = Field(default=None, pattern=r"^[01](\.[0-9]{1,3}){0,2}$")
